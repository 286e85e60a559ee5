"""What a URL opens, what is said when it cannot be, and files that several threads read."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from flameduck.engine.storage import objects as objects_module
from flameduck.engine.storage.duckfiles import PositionalFile
from flameduck.engine.storage.objects import open_objects
from flameduck.engine.storage.objects_errors import Contended, foreign_errors, translated
from flameduck.engine.storage.objects_local import DiskOperations, LocalObjects
from flameduck.schema.errors import FlameduckError, ObjectExists, ObjectMissing, StorageError, Unavailable


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_path_and_a_file_url_are_one_place(tmp_path: Path, prefix: str) -> None:
    objects = open_objects(f"{prefix}{tmp_path}/store")
    assert not (tmp_path / "store").exists()
    objects.write("a/b", b"1")
    assert (tmp_path / "store/a/b").read_bytes() == b"1"
    assert objects.local_path("a/b") == str(tmp_path / "store/a/b")
    assert objects.url == str(tmp_path / "store")


def test_relative_paths_home_and_escapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert open_objects("store").url == str(tmp_path / "store")
    assert open_objects("~/store").url == str(tmp_path / "home/store")
    assert open_objects(f"file://{tmp_path}/with%20space").url == str(tmp_path / "with space")


def test_memory_is_one_store_a_name() -> None:
    one, other = uuid4().hex, uuid4().hex
    open_objects(f"memory://{one}").write("a", b"1")
    assert open_objects(f"memory://{one}").read("a") == b"1"
    assert open_objects(f"memory://{one}/").read("a") == b"1"
    assert open_objects(f"memory://{other}").list("") == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense://bucket", "nonsense"),
        ("s3://", "expected a name"),
        ("memory://", "expected a name"),
    ],
)
def test_urls_that_open_nothing(url: str, said: str) -> None:
    with pytest.raises(StorageError, match=said):
        open_objects(url)


@pytest.mark.parametrize("scheme", ["s3", "gs", "az", "nonsense"])
def test_credentials_in_a_url_are_refused_and_not_repeated(scheme: str) -> None:
    with pytest.raises(StorageError) as raised:
        open_objects(f"{scheme}://name:hunter2@bucket/prefix")
    assert "hunter2" not in str(raised.value)


WITHOUT_EXTRAS = """
import sys
sys.modules.update(s3fs=None, gcsfs=None, adlfs=None)
from flameduck.engine.storage.objects import open_objects
from flameduck.schema.errors import StorageError
for scheme in ("s3", "gs", "az"):
    try:
        open_objects(f"{scheme}://bucket/prefix")
    except StorageError as error:
        print(error)
"""


def test_a_missing_extra_is_named() -> None:
    said = subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == [
        "s3:// needs another package: pip install 'flameduck[s3]'",
        "gs:// needs another package: pip install 'flameduck[gcs]'",
        "az:// needs another package: pip install 'flameduck[azure]'",
    ]


def test_a_store_without_exclusive_create_says_so(tmp_path: Path) -> None:
    objects = open_objects(f"local://{tmp_path}")
    objects.write("a", b"1")
    assert objects.read("a") == b"1"
    with pytest.raises(StorageError, match="exclusive create"):
        objects.create("b", b"1")


class NoLinks(DiskOperations):
    """A file system without hard links."""

    def link(self, source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")


def test_a_disk_without_hard_links_says_so(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path, NoLinks())
    with pytest.raises(StorageError, match="hard links"):
        objects.create("a", b"1")
    assert list(tmp_path.iterdir()) == []


class FullDisk(DiskOperations):
    """A disk on which nothing fits."""

    def write(self, path: Path, data: bytes) -> None:
        path.write_bytes(data[:1])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_named_and_left_clean(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path, FullDisk())
    with pytest.raises(StorageError, match=rf"{tmp_path}/a: No space left on device"):
        objects.write("a", b"123")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_was_removed_is_made_again(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    objects.write("a/b/c", b"1")
    objects.delete("a/b/c")
    (tmp_path / "a/b").rmdir()
    objects.write("a/b/c", b"2")
    assert objects.read("a/b/c") == b"2"


def test_a_name_below_an_object_is_an_error(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    objects.write("a", b"1")
    with pytest.raises(StorageError):
        objects.create("a/b", b"1")
    assert objects.list("") != []


class ClientError(Exception):
    """What an S3 client raises."""

    def __init__(self, code: str) -> None:
        super().__init__(f"An error occurred ({code})")
        self.response: Mapping[str, Mapping[str, str]] = {"Error": {"Code": code}}


class HTTPClientError(Exception):
    """What an S3 client raises when nobody answers."""


class HttpError(Exception):
    """What a Google client raises."""

    def __init__(self, code: int) -> None:
        super().__init__(f"status {code}")
        self.code = code


def caused(error: OSError, cause: Exception) -> OSError:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileExistsError("x"), ObjectExists),
        (FileNotFoundError("x"), ObjectMissing),
        (caused(OSError(22, "pre-condition"), ClientError("PreconditionFailed")), ObjectExists),
        (caused(OSError(5, "conflict"), ClientError("ConditionalRequestConflict")), Contended),
        (caused(FileNotFoundError("x"), ClientError("NoSuchKey")), ObjectMissing),
        (caused(FileNotFoundError("x"), ClientError("NoSuchBucket")), StorageError),
        (caused(OSError(16, "slow"), ClientError("SlowDown")), Unavailable),
        (caused(OSError(5, "oops"), ClientError("InternalError")), Unavailable),
        (caused(PermissionError("no"), ClientError("AccessDenied")), StorageError),
        (ClientError("503"), Unavailable),
        (HttpError(404), ObjectMissing),
        (HttpError(412), ObjectExists),
        (HttpError(429), Unavailable),
        (HttpError(403), StorageError),
        (TimeoutError(), Unavailable),
        (ConnectionResetError(), Unavailable),
        (HTTPClientError("gone"), Unavailable),
        (OSError(28, "No space left on device"), StorageError),
    ],
)
def test_clients_errors(error: Exception, kind: type[FlameduckError]) -> None:
    found = translated("s3://bucket/a/b", error)
    assert type(found) is kind
    assert "s3://bucket/a/b" in str(found)


def test_errors_never_repeat_credentials() -> None:
    text = "Could not connect to 'http://user:hunter2@host/b?X-Amz-Signature=secret&sig=secret' (\nagain)"
    said = str(translated("s3://b/x", OSError(text)))
    assert said == "s3://b/x: Could not connect to 'http://host/b' ( again)"


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """An S3 endpoint where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    # Without waiting: how often and how long it retries is its own business.
    options: Any = objects_module._OPTIONS["s3"]["config_kwargs"]
    monkeypatch.setitem(options, "retries", {"total_max_attempts": 1, "mode": "standard"})


def test_a_server_that_is_away_is_unavailable(no_server: None) -> None:
    pytest.importorskip("s3fs")
    objects = open_objects("s3://bucket/prefix")
    for ask in (lambda: objects.read("a"), lambda: objects.create("a", b"1"), lambda: objects.list("")):
        with pytest.raises(Unavailable) as raised:
            ask()
        assert "s3://bucket/prefix" in str(raised.value)
        assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("kind", ["s3", "sftp"])
def test_foreign_errors_can_be_caught(kind: str) -> None:
    if kind == "s3":
        pytest.importorskip("s3fs")
    caught = foreign_errors(kind)
    assert OSError in caught
    assert all(issubclass(error, Exception) for error in caught)


def read_alternately(file: PositionalFile, data: bytes, offsets: Sequence[int]) -> bool:
    for offset in offsets:
        file.seek(offset)
        if file.read(7) != data[offset : offset + 7] or file.tell() != min(offset + 7, len(data)):
            return False
    return True


def test_threads_read_one_file_each_at_its_place() -> None:
    data = os.urandom(100_000)
    file = PositionalFile(lambda start, stop: data[start:stop], len(data))
    with ThreadPoolExecutor(8) as threads:
        offsets = [range(number, 99_990, 37) for number in range(8)]
        assert all(threads.map(lambda mine: read_alternately(file, data, mine), offsets))


def test_a_positional_file_is_a_file() -> None:
    data = b"0123456789"
    file = PositionalFile(lambda start, stop: data[start:stop], len(data))
    assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
    assert file.read(4) == b"0123"
    assert file.seek(-3, os.SEEK_END) == 7
    assert file.read() == b"789"
    assert file.read(1) == b""
    assert file.seek(2) == 2
    assert file.seek(3, os.SEEK_CUR) == 5
    buffer = bytearray(3)
    assert (file.readinto(buffer), bytes(buffer)) == (3, b"567")
    assert file.readall() == b"89"
    assert file.seek(100) == 100
    assert file.read() == b""
