"""A disk that can lose power at any step, and then forgets what was not synced.

After a loss, any of the changes to a directory that were not synced may have reached the disk or not, each by
itself, and a file that was not synced may hold nothing, a part or all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from flameduck.engine.storage.objects_local import DiskOperations

_DIRECTORY = 0


class PowerLoss(BaseException):
    """The power is gone; no code of the process runs on, so none may catch it."""


@dataclass(frozen=True)
class _Change:
    """What one step did to the names of a directory."""

    directory: Path
    added: Mapping[Path, int]
    removed: frozenset[Path] = frozenset()

    def apply(self, names: dict[Path, int]) -> None:
        """Make the change."""
        for name in self.removed:
            names.pop(name, None)
        names.update(self.added)


class LossyDisk(DiskOperations):
    """Works below `base` and remembers what was synced. `skipped` steps are not done, to see them missed."""

    def __init__(self, base: Path, skipped: frozenset[str] = frozenset()) -> None:
        self._base = base
        self._skipped = skipped
        self._data: dict[int, bytes] = {}
        self._synced: set[int] = set()
        self._names: dict[Path, int] = {}
        self._durable: dict[Path, int] = {}
        self._pending: list[_Change] = []
        self.steps = 0
        self.steps_left: int | None = None

    def make_directory(self, path: Path) -> None:
        """Make a directory."""
        self._step()
        super().make_directory(path)
        self._change(_Change(path.parent, {path: _DIRECTORY}))

    def write(self, path: Path, data: bytes) -> None:
        """Make a new file with these bytes."""
        self._step()
        super().write(path, data)
        self._data[len(self._data) + 1] = data
        self._change(_Change(path.parent, {path: len(self._data)}))

    def copy(self, source: Path, path: Path) -> None:
        """Make a new file with the bytes of another."""
        self.write(path, source.read_bytes())

    def sync_file(self, path: Path) -> None:
        """Return once the bytes of a file outlive a power failure."""
        self._step()
        if "sync_file" not in self._skipped:
            self._synced.add(self._names[path])

    def sync_directory(self, path: Path) -> None:
        """Return once the names in a directory outlive a power failure."""
        self._step()
        if "sync_directory" in self._skipped:
            return
        for change in self._pending:
            if change.directory == path:
                change.apply(self._durable)
        self._pending = [change for change in self._pending if change.directory != path]

    def rename(self, source: Path, target: Path) -> None:
        """Move a file over another or to a free name."""
        self._step()
        super().rename(source, target)
        self._change(_Change(target.parent, {target: self._names[source]}, frozenset({source})))

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name, which must be free."""
        self._step()
        super().link(source, target)
        self._change(_Change(target.parent, {target: self._names[source]}))

    def remove(self, path: Path) -> None:
        """Remove a name."""
        self._step()
        super().remove(path)
        if path in self._names:
            self._change(_Change(path.parent, {}, frozenset({path})))

    def after_loss(self) -> Iterator[dict[Path, bytes]]:
        """Every set of files, by path below the base, that the disk may hold now."""
        seen: set[frozenset[tuple[Path, bytes]]] = set()
        for kept in itertools.product((False, True), repeat=len(self._pending)):
            names = dict(self._durable)
            for change in itertools.compress(self._pending, kept):
                change.apply(names)
            for share in (0.0, 0.5, 1.0):
                files = self._files(names, share)
                if frozenset(files.items()) not in seen:
                    seen.add(frozenset(files.items()))
                    yield files

    def _files(self, names: Mapping[Path, int], share: float) -> dict[Path, bytes]:
        """The files that can be reached; of those not synced, a share of their bytes."""
        files = {}
        for path, inode in names.items():
            above = itertools.takewhile(lambda parent: parent != self._base, path.parents)
            if inode != _DIRECTORY and all(parent in names for parent in above):
                data = self._data[inode]
                length = len(data) if inode in self._synced else int(len(data) * share)
                files[path.relative_to(self._base)] = data[:length]
        return files

    def _change(self, change: _Change) -> None:
        change.apply(self._names)
        self._pending.append(change)

    def _step(self) -> None:
        """Count a step; lose power instead of doing it when none are left."""
        if self.steps_left is not None:
            if self.steps_left == 0:
                raise PowerLoss
            self.steps_left -= 1
        self.steps += 1
