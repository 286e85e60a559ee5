"""Objects as files below a directory: written under another name, synced, then put in place.

A temporary file starts with `.` and is never listed; one that a crash left behind can be removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ...schema.errors import ObjectExists, ObjectMissing, StorageError
from .objects_protocol import ObjectInfo, checked_new_path, checked_path, checked_range


class DiskOperations:
    """The steps that change a disk; tests put another one in, which loses or interrupts them."""

    def make_directory(self, path: Path) -> None:
        """Make a directory; one that is there is no error."""
        path.mkdir(exist_ok=True)

    def write(self, path: Path, data: bytes) -> None:
        """Make a new file with these bytes."""
        with path.open("xb") as file:
            file.write(data)

    def copy(self, source: Path, path: Path) -> None:
        """Make a new file with the bytes of another."""
        with source.open("rb") as read, path.open("xb") as file:
            shutil.copyfileobj(read, file, 1 << 20)

    def sync_file(self, path: Path) -> None:
        """Return once the bytes of a file outlive a power failure."""
        _sync(path)

    def sync_directory(self, path: Path) -> None:
        """Return once the names in a directory outlive a power failure."""
        _sync(path)

    def rename(self, source: Path, target: Path) -> None:
        """Move a file over another or to a free name, atomically."""
        source.replace(target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name, which must be free, atomically."""
        os.link(source, target)

    def remove(self, path: Path) -> None:
        """Remove a name; one that is not there is no error."""
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LocalObjects:
    """Files below a directory, which is made when first written to. `Objects` says the rest.

    `write` and `put_file` are one rename, `create` is one hard link: the kernel lets one caller win.
    """

    def __init__(self, root: Path, operations: DiskOperations | None = None) -> None:
        self._root = root.absolute()
        self._operations = operations or DiskOperations()
        # Directories whose names are synced.
        self._durable: set[Path] = set()

    @property
    def url(self) -> str:
        """The directory."""
        return str(self._root)

    def read(self, path: str, start: int | None = None, stop: int | None = None) -> bytes:
        """All bytes of an object, or those in `[start, stop)`."""
        first, last = checked_range(path, start, stop)
        with self._errors(path), self._file(path).open("rb") as file:
            file.seek(first)
            return file.read() if last is None else file.read(last - first)

    def write(self, path: str, data: bytes) -> None:
        """Replace or make an object."""
        self._place(path, lambda file: self._operations.write(file, data), self._operations.rename)

    def create(self, path: str, data: bytes) -> None:
        """Make an object that is not there yet."""
        self._place(path, lambda file: self._operations.write(file, data), self._operations.link)

    def put_file(self, path: str, local_path: str) -> None:
        """Replace or make an object with the bytes of a file."""
        source = Path(local_path)
        if not source.is_file():
            raise StorageError(f"{local_path}: no such file to store as {path}")
        self._place(path, lambda file: self._operations.copy(source, file), self._operations.rename)

    def list(self, prefix: str) -> list[ObjectInfo]:
        """The objects below a directory, sorted by name."""
        base = self._file(prefix) if prefix else self._root
        with self._errors(prefix):
            found = [
                ObjectInfo(file.relative_to(self._root).as_posix(), size_bytes)
                for file, size_bytes in _files(base)
            ]
        return sorted(found, key=lambda info: info.path)

    def directories(self) -> Sequence[str]:
        """The directories of the root, by name; also empty ones."""
        with self._errors(""):
            if not self._root.is_dir():
                return ()
            with os.scandir(self._root) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())

    def size(self, path: str) -> int:
        """The size of an object in bytes."""
        file = self._file(path)
        with self._errors(path):
            if not file.is_file():
                raise FileNotFoundError
            return file.stat().st_size

    def delete(self, path: str) -> None:
        """Remove an object; one that is not there is no error."""
        file = self._file(path)
        with self._errors(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._operations.remove(file)
            self._operations.sync_directory(file.parent)

    def local_path(self, path: str) -> str | None:
        """The file."""
        return str(self._file(path))

    def _place(self, path: str, fill: Callable[[Path], None], put: Callable[[Path, Path], None]) -> None:
        """Fill a temporary file, sync it, put it in place and sync the directory."""
        target = self._root / checked_new_path(path)
        temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
        with self._errors(path):
            self._make_durable(target.parent)
            try:
                fill(temporary)
                self._operations.sync_file(temporary)
                with _names_taken(posixpath.join(self.url, path)):
                    put(temporary, target)
            finally:
                self._operations.remove(temporary)
            self._operations.sync_directory(target.parent)

    def _make_durable(self, directory: Path) -> None:
        """Make a directory and those above it, each synced into its parent before anything is put into it.

        One that is there may just have been made by another, who has not synced it yet: so each is synced once
        by everybody, from the root on.
        """
        if not directory.is_dir():
            self._durable.clear()
        for folder in reversed(list(self._not_durable(directory))):
            there = folder.is_dir()
            if not there:
                self._operations.make_directory(folder)
            # The directory above a root that was there need not be ours to read.
            with contextlib.suppress(*([PermissionError] if there else [])):
                self._operations.sync_directory(folder.parent)
            self._durable.add(folder)

    def _not_durable(self, directory: Path) -> Iterator[Path]:
        """The directory and those above it up to one that is known to be durable, or is there above the root."""
        for folder in (directory, *directory.parents):
            below = folder == self._root or self._root in folder.parents
            if folder in self._durable or (not below and folder.is_dir()):
                return
            yield folder

    def _file(self, path: str) -> Path:
        return self._root / checked_path(path)

    @contextlib.contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        """Map what the operating system says."""
        where = posixpath.join(self.url, path)
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise ObjectMissing(f"{where}: is not there") from None
        except OSError as error:
            raise StorageError(f"{where}: {error.strerror or error}") from None


@contextlib.contextmanager
def _names_taken(where: str) -> Iterator[None]:
    """Map what the last step of a write says."""
    try:
        yield
    except FileExistsError:
        raise ObjectExists(f"{where}: is there already") from None
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise StorageError(f"{where}: this file system has no hard links, which commits need") from None
        raise


def _files(base: Path) -> Iterator[tuple[Path, int]]:
    """The files below a directory that are not temporary, with their sizes."""
    for folder, _, names in os.walk(base):
        for name in names:
            if not name.startswith("."):
                file = Path(folder, name)
                # Another process may just have removed it.
                with contextlib.suppress(FileNotFoundError):
                    yield file, file.stat().st_size
