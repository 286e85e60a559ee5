"""The profile files that paths, directories, globs, URLs and standard input name, read one at a time.

A zip archive stands for the files in it. The labels of a JFR recording go with it, and are no profile of their own.
What cannot be read is set aside with its reason, and the rest goes on.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ..schema.errors import FlameduckError, InputError, LimitExceeded, StorageError
from ..schema.labels import without_empty
from ..schema.profile import Rules, Upload
from ..schema.request import Refused
from .companions import LABELS, labels_beside, pair_labels
from .formats.zip_archive import ZIP_MAGIC, ZipArchive

STDIN = "-"
HTTP = ("http://", "https://")
HTTP_TIMEOUT_S = 60

Pathish = str | os.PathLike[str]
What = Pathish | bytes | Upload


@dataclass(frozen=True)
class UploadOptions:
    """What is said about every file of one ingest.

    `time_ns` stands in for profiles without a time; 0: the file's modification time does, and where there is
    no file, `untimed_ns`. With `file_label`, each upload carries its origin as the label `file`. A file of
    more than `max_bytes` is refused before it is read to its end.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    time_ns: int = 0
    untimed_ns: int = 0
    rules: Rules = "verbatim"
    input_format: str = ""
    file_label: bool = False
    raw_names: bool = False
    max_bytes: int = 1 << 30

    def upload(self, data: bytes, origin: str, time_ns: int = 0) -> Upload:
        """One upload; `time_ns` is what its origin knows of its time."""
        return Upload(
            data=data,
            labels=without_empty(self.labels),
            origin=origin,
            time_ns=self.time_ns or time_ns or self.untimed_ns,
            name=self.name,
            rules=self.rules,
            input_format=self.input_format,
            raw_names=self.raw_names,
        )


NOTHING_SAID = UploadOptions()


class Uploads:
    """The uploads of some files, bytes and ready uploads, one in memory at a time; iterate once.

    The files of an archive are called `archive.zip!file`.

    `refused` grows with what could not be read.
    """

    def __init__(self, items: Iterable[What], options: UploadOptions = NOTHING_SAID) -> None:
        found = find_items(items)
        self._labels = pair_labels(item for item in found if isinstance(item, str))
        companions = set(self._labels.values())
        self.items = [item for item in found if not isinstance(item, str) or item not in companions]
        self.options = options
        self.refused: list[Refused] = []

    def __len__(self) -> int:
        return len(self.items)

    @property
    def origins(self) -> set[str]:
        """What messages call the items."""
        return {_origin(item) for item in self.items}

    def __iter__(self) -> Iterator[Upload]:
        for item in self.items:
            try:
                yield from self._read(item)
            except FlameduckError as error:
                self.refused.append(Refused(_origin(item), str(error)))

    def _read(self, item: str | bytes | Upload) -> Iterator[Upload]:
        if isinstance(item, Upload):
            yield item
            return
        data, time_ns = (item, 0) if isinstance(item, bytes) else read_origin(item, self.options.max_bytes)
        upload = self.options.upload(data, _origin(item), time_ns)
        if isinstance(item, str):
            if self.options.file_label:
                upload = replace(upload, labels={**upload.labels, "file": item})
            upload = replace(upload, attachments=self._attachments(item))
        if data.startswith(ZIP_MAGIC):
            yield from _unpacked(upload, self.options.max_bytes)
        else:
            yield upload

    def _attachments(self, item: str) -> dict[str, bytes]:
        path = self._labels.get(item) or ("" if is_url(item) else labels_beside(item))
        return {LABELS: read_origin(path, self.options.max_bytes)[0]} if path else {}


def _unpacked(archive: Upload, max_bytes: int) -> Iterator[Upload]:
    """The files of an archive, as uploads. Raises `InputError`."""
    files = ZipArchive(archive.data, max_bytes)
    labels = pair_labels(files.names)
    if not files.names:
        raise InputError("zip: it holds no files")
    for name in files.names:
        if name not in labels.values():
            attached = {LABELS: files.read(labels[name])} if name in labels else archive.attachments
            origin = f"{archive.origin}!{name}"
            yield replace(archive, data=files.read(name), origin=origin, attachments=attached)


def _origin(item: str | bytes | Upload) -> str:
    if isinstance(item, Upload):
        return item.origin
    return "<bytes>" if isinstance(item, bytes) else "<stdin>" if item == STDIN else item


def find_items(items: Iterable[What]) -> list[str | bytes | Upload]:
    """Everything that `items` name: directories recursively, globs expanded, each file once, in stable order.

    Hidden files inside directories are left out. A path that is not there stays in the list, so that reading
    it says why.
    """
    found: list[str | bytes | Upload] = []
    seen: set[str] = set()
    for item in items:
        if isinstance(item, (bytes, Upload)):
            found.append(item)
            continue
        new = [file for file in _files_of(os.fspath(item)) if file not in seen]
        seen.update(new)
        found.extend(new)
    return found


def _files_of(path: str) -> list[str]:
    if is_url(path):
        return _files_of_url(path)
    if path == STDIN:
        return [path]
    if os.path.isdir(path):
        return directory_files(path)
    if not os.path.lexists(path) and glob.has_magic(path):
        matched = sorted(glob.glob(path, recursive=True))
        return [file for match in matched for file in _files_of(match)] or [path]
    return [path]


def _files_of_url(url: str) -> list[str]:
    """The objects that a pattern in the last part of a URL, or a directory, names; else the URL itself."""
    if url.startswith(HTTP):
        return [url]
    from .storage.objects import open_objects

    bucket, path = _split_url(url)
    folder, _, name = path.rpartition("/")
    pattern = path if glob.has_magic(name) else ""
    try:
        paths = [found.path for found in open_objects(bucket).list(folder if pattern else path)]
    except StorageError:
        return [url]
    return [f"{bucket}/{found}" for found in paths if not pattern or PurePosixPath(found).match(pattern)] or [
        url
    ]


def _split_url(url: str) -> tuple[str, str]:
    """The bucket's URL, and the path in it without a slash at its ends."""
    scheme, _, rest = url.partition("://")
    bucket, _, path = rest.partition("/")
    return f"{scheme}://{bucket}", path.strip("/")


def directory_files(directory: str) -> list[str]:
    """The files below a directory, without hidden ones, by path."""
    found: list[str] = []
    for parent, folders, names in os.walk(directory):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        found.extend(os.path.join(parent, name) for name in sorted(names) if not name.startswith("."))
    return found


def is_url(text: str) -> bool:
    """Whether a path is a URL of another machine or another file system than the local one."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.isalnum() and scheme != "file"


def read_origin(origin: str, max_bytes: int) -> tuple[bytes, int]:
    """The bytes of a file, of standard input or of a URL, and its modification time in ns, 0 for none.

    Raises `InputError` without the origin in its message, `LimitExceeded` when there is too much.
    """
    if is_url(origin):
        return _read_url(origin, max_bytes)
    if origin == STDIN:
        return _bounded(sys.stdin.buffer, max_bytes), 0
    try:
        with Path(origin.removeprefix("file://")).open("rb") as file:
            return _bounded(file, max_bytes), os.fstat(file.fileno()).st_mtime_ns
    except OSError as error:
        raise InputError(error.strerror or str(error)) from None


def _read_url(url: str, max_bytes: int) -> tuple[bytes, int]:
    if url.startswith(HTTP):
        return _read_http(url, max_bytes)
    from .storage.objects import open_objects

    bucket, path = _split_url(url)
    data = open_objects(bucket).read(path, 0, max_bytes + 1)
    return _within(data, max_bytes), 0


def _read_http(url: str, max_bytes: int) -> tuple[bytes, int]:
    """A page's body, and when it was last modified, if it says so."""
    from email.utils import parsedate_to_datetime
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=HTTP_TIMEOUT_S) as reply:
            modified = reply.headers.get("Last-Modified")
            time_ns = int(parsedate_to_datetime(modified).timestamp()) * 10**9 if modified else 0
            return _bounded(reply, max_bytes), time_ns
    except (OSError, ValueError, HTTPException) as error:
        raise InputError(str(error)) from None


def _bounded(file: BinaryIO, max_bytes: int) -> bytes:
    return _within(file.read(max_bytes + 1), max_bytes)


def _within(data: bytes, max_bytes: int) -> bytes:
    if len(data) > max_bytes:
        raise LimitExceeded(f"file size: more than the limit of {max_bytes} bytes")
    return data
