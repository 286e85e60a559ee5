"""A log's file on a disk that loses what was not synced, and may be cut off at any step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flameduck.engine.head.log import LogFile
from tests.engine.storage.lossy_disk import PowerLoss


@dataclass
class _File:
    """What was written to one file, how much of that was synced, and whether its name was."""

    data: bytes = b""
    durable: bytes = b""
    is_named: bool = False


def lossy_log(skipped: frozenset[str] = frozenset()) -> type[LossyLog]:
    """A class of its own, so that each test has its own disk. `skipped` steps are not done, to see them missed."""
    return type("LossyLog", (LossyLog,), {"files": {}, "steps_left": None, "steps": 0, "skipped": skipped})


class LossyLog(LogFile):
    """Remembers what was synced. After `steps_left` steps the power is gone."""

    files: dict[Path, _File]
    steps_left: int | None
    steps: int
    skipped: frozenset[str]

    def __init__(self, path: Path) -> None:
        self._step()
        super().__init__(path)
        self.files[path] = _File()

    @property
    def _file(self) -> _File:
        return self.files[self._path]

    def write(self, data: bytes) -> None:
        """Append; all of it or, where the power goes, half of it."""
        try:
            self._step()
        except PowerLoss:
            self._file.data += data[: len(data) // 2]
            raise
        super().write(data)
        self._file.data += data

    def sync(self) -> None:
        """Make durable what was written."""
        self._step()
        if "sync" not in self.skipped:
            self._file.durable = self._file.data

    def sync_name(self) -> None:
        """Make the name durable."""
        self._step()
        if "sync_name" not in self.skipped:
            self._file.is_named = True

    def truncate(self, size_bytes: int) -> None:
        """Cut."""
        self._step()
        super().truncate(size_bytes)
        self._file.data = self._file.data[:size_bytes]

    @classmethod
    def _step(cls) -> None:
        if cls.steps_left is not None:
            if cls.steps_left == 0:
                raise PowerLoss
            cls.steps_left -= 1
        cls.steps += 1

    @classmethod
    def after_loss(cls) -> Iterator[dict[str, bytes]]:
        """Sets of files, by name, that the disk may hold now: none, half or all of what was not synced."""
        for share in (0.0, 0.5, 1.0):
            for keeps_names in (False, True):
                yield {
                    path.name: file.durable + file.data[len(file.durable) :][: int(share * len(file.data))]
                    for path, file in cls.files.items()
                    if file.is_named or keeps_names
                }
