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
from collections.abc import Callable, Iterator
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
            self._make_directory(target.parent)
            try:
                fill(temporary)
                self._operations.sync_file(temporary)
                with _names_taken(path):
                    put(temporary, target)
            finally:
                self._operations.remove(temporary)
            self._operations.sync_directory(target.parent)

    def _make_directory(self, directory: Path) -> None:
        """Make a directory and those above it, each synced into its parent before anything is put into it."""
        if directory.is_dir():
            return
        if directory != directory.parent:
            self._make_directory(directory.parent)
        self._operations.make_directory(directory)
        self._operations.sync_directory(directory.parent)

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
def _names_taken(path: str) -> Iterator[None]:
    """Map what the last step of a write says."""
    try:
        yield
    except FileExistsError:
        raise ObjectExists(f"{path}: is there already") from None
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise StorageError(f"{path}: this file system has no hard links, which commits need") from None
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
