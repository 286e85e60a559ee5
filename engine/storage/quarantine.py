"""Blocks that were found corrupt, so that compaction leaves them alone without reading them again each time.

`<tenant>/quarantine/<ULID>.json`, a small object a block: why, when, and what found it. It says nothing of what is live:
the catalog does. A record that is lost costs reading the block once more.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ...schema.errors import CorruptBlock, ObjectMissing
from .block_directories import is_ulid
from .objects_protocol import Objects

_FORMAT = 1


@dataclass(frozen=True)
class QuarantinedBlock:
    """A block that does not hold: the reason, since when (nanoseconds), and what found it, such as `compact`."""

    ulid: str
    reason: str
    time_ns: int
    found_by: str
    format: int = _FORMAT


class Quarantine:
    """The blocks of one tenant that were set aside. Any number of processes may each have their own."""

    def __init__(self, objects: Objects, tenant: str, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._objects = objects
        self._prefix = f"{tenant}/quarantine"
        self._clock_ns = clock_ns

    def blocks(self) -> Mapping[str, QuarantinedBlock]:
        """The records by ULID. Raises `StorageError`. One that is unreadable keeps its block set aside; names that are no
        block's are not looked at.
        """
        names = [info.path.rpartition("/")[2] for info in self._objects.list(self._prefix)]
        ulids = [name.removesuffix(".json") for name in names if name.endswith(".json")]
        records = [self._read(ulid) for ulid in ulids if is_ulid(ulid)]
        return {record.ulid: record for record in records if record is not None}

    def add(self, ulid: str, reason: str, found_by: str) -> None:
        """Set a block aside. Raises `StorageError`."""
        record = QuarantinedBlock(ulid, reason, self._clock_ns(), found_by)
        self._objects.write(self._path(ulid), json.dumps(asdict(record), sort_keys=True).encode())

    def release(self, ulid: str) -> None:
        """Set a block aside no more; one that was not is no error."""
        self._objects.delete(self._path(ulid))

    def _read(self, ulid: str) -> QuarantinedBlock | None:
        path = self._path(ulid)
        try:
            return _record(self._objects.read(path), path, ulid)
        except ObjectMissing:
            return None
        except CorruptBlock as error:
            return QuarantinedBlock(ulid, str(error), 0, "")

    def _path(self, ulid: str) -> str:
        return f"{self._prefix}/{ulid}.json"


def _record(data: bytes, path: str, ulid: str) -> QuarantinedBlock:
    try:
        fields: dict[str, Any] = json.loads(data)
        record = QuarantinedBlock(**fields)
        if record.ulid == ulid and isinstance(record.reason, str) and isinstance(record.time_ns, int):
            return record
    except (ValueError, TypeError):
        pass
    raise CorruptBlock(f"{path}: not the record of this block")
