"""The files in a zip archive, read into memory within a byte limit. Nothing is written, so no path can escape."""

from __future__ import annotations

import io
import zipfile
import zlib

from ...schema.errors import CorruptProfile, LimitExceeded

ZIP_MAGIC = b"PK\x03\x04"
MAX_ENTRIES = 10_000

_STEP_BYTES = 1 << 20
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)
"""What the library raises for an archive that is broken, encrypted, or packed in a way that it does not know."""


class ZipArchive:
    """An archive's files by name, without hidden ones. Raises `CorruptProfile` and `LimitExceeded`.

    All that is read may take `limit_bytes` together.
    """

    def __init__(self, data: bytes, limit_bytes: int) -> None:
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        except _BROKEN as error:
            raise CorruptProfile(f"zip: {error}") from None
        found = [one for one in self._archive.infolist() if not one.is_dir() and not _is_hidden(one.filename)]
        if len(found) > MAX_ENTRIES:
            raise LimitExceeded(f"zip: {len(found)} files; limit {MAX_ENTRIES}")
        self._files = {_shown(one.filename): one for one in found}
        self._limit_bytes = self._left = limit_bytes

    @property
    def names(self) -> list[str]:
        """The names, in order."""
        return list(self._files)

    def read(self, name: str) -> bytes:
        """A file's bytes."""
        pieces: list[bytes] = []
        try:
            with self._archive.open(self._files[name]) as file:
                while self._left >= 0 and (piece := file.read(_STEP_BYTES)):
                    pieces.append(piece)
                    self._left -= len(piece)
        except _BROKEN as error:
            raise CorruptProfile(f"zip: {name}: {error}") from None
        if self._left < 0:
            raise LimitExceeded(f"zip: inflated size: more than the limit of {self._limit_bytes} bytes")
        return b"".join(pieces)


def _is_hidden(name: str) -> bool:
    """What macOS adds, and files that begin with a dot."""
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/") if part not in (".", ".."))


def _shown(name: str) -> str:
    return name if name.isprintable() else name.encode("unicode_escape").decode()
