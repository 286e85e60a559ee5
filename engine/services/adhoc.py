"""Ad-hoc profiles: single files that a person uploads to look at, kept as they came."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ulid import ULID

from ...schema.errors import InputError, ObjectMissing, RequestError
from ...schema.profile import Upload
from ..embedded import FilesDatabase, open_files
from ..settings import Settings
from ..storage.objects import Objects

MAX_BYTES = 64 << 20
MAX_NAME_LETTERS = 128

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}-[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True)
class AdhocProfile:
    """One upload; its id is a ULID, which says when, and its name."""

    id: str

    @property
    def name(self) -> str:
        """What the uploader called it."""
        return self.id.partition("-")[2]

    @property
    def uploaded_ms(self) -> int:
        """When it came, in milliseconds since 1970."""
        return int(ULID.from_str(self.id.partition("-")[0]).milliseconds)


class AdhocProfiles:
    """The ad-hoc profiles of a store, by tenant."""

    def __init__(self, objects: Objects, settings: Settings) -> None:
        self._objects = objects
        self._settings = settings

    def add(self, tenant: str, name: str, data: bytes) -> tuple[AdhocProfile, FilesDatabase]:
        """Keep a file, and open it. Raises `InputError` for one that is no profile, or too large."""
        if not name:
            raise RequestError("name is required")
        if len(data) > MAX_BYTES:
            raise InputError(f"profile has {len(data)} bytes; limit {MAX_BYTES}")
        safe = _UNSAFE.sub("_", name)[-MAX_NAME_LETTERS:]
        kept = AdhocProfile(f"{ULID()}-{safe}")
        opened = self._open(kept, data)
        self._objects.write(_path(tenant, kept.id), data)
        return kept, opened

    def open(self, tenant: str, profile_id: str) -> tuple[AdhocProfile, FilesDatabase]:
        """Open a file. Raises `RequestError` for an id that is none, `ObjectMissing` when there is none of it."""
        data = self._read(tenant, profile_id)
        kept = AdhocProfile(profile_id)
        return kept, self._open(kept, data)

    def _read(self, tenant: str, profile_id: str) -> bytes:
        if not _ID.fullmatch(profile_id):
            raise RequestError(f"id {profile_id[:64]!r}: expected that of an ad-hoc profile")
        try:
            return self._objects.read(_path(tenant, profile_id))
        except ObjectMissing:
            raise ObjectMissing(f"ad-hoc profile {profile_id!r} not found") from None

    def open_both(self, tenant: str, left_id: str, right_id: str) -> FilesDatabase:
        """Two files as one database, told apart by the label `side`: `left` or `right`."""
        sides = {"left": self._read(tenant, left_id), "right": self._read(tenant, right_id)}
        uploads = [Upload(data, {"side": side}, side, time.time_ns()) for side, data in sides.items()]
        return open_files(uploads, self._settings)

    def list(self, tenant: str) -> Sequence[AdhocProfile]:
        """Every file, newest first."""
        found = [info.path.rpartition("/")[2] for info in self._objects.list(f"{tenant}/adhoc")]
        return [AdhocProfile(one) for one in sorted(found, reverse=True) if _ID.fullmatch(one)]

    def _open(self, kept: AdhocProfile, data: bytes) -> FilesDatabase:
        return open_files([Upload(data, {}, kept.name, time.time_ns())], self._settings)


def _path(tenant: str, profile_id: str) -> str:
    return f"{tenant}/adhoc/{profile_id}"
