"""Which files paths name, and how they are read."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from uuid import uuid4

import pytest

from flameduck.engine.storage.objects import open_objects
from flameduck.engine.uploads import UploadOptions, Uploads, find_items
from flameduck.schema.profile import Upload


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`a.txt`, `sub/b.txt`, `sub/.hidden` and `.git/x`, as the working directory."""
    for name in ("a.txt", "sub/b.txt", "sub/.hidden", ".git/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["a.txt"], ["a.txt"]),
        (["."], ["./a.txt", "./sub/b.txt"]),
        (["sub", "sub/b.txt", "a.txt"], ["sub/b.txt", "a.txt"]),
        (["*.txt"], ["a.txt"]),
        (["**/*.txt"], ["a.txt", "sub/b.txt"]),
        (["nothing*"], ["nothing*"]),
        (["-", "https://host/x.pb.gz"], ["-", "https://host/x.pb.gz"]),
        ([b"raw"], [b"raw"]),
    ],
)
def test_find_items(folder: Path, paths: list[str | bytes], found: list[str | bytes]) -> None:
    assert find_items(paths) == found


def test_a_file_gives_its_time_unless_one_is_said(folder: Path) -> None:
    os.utime("a.txt", ns=(5, 7_000_000_000))
    assert [upload.time_ns for upload in Uploads(["a.txt"])] == [7_000_000_000]
    assert [upload.time_ns for upload in Uploads(["a.txt"], UploadOptions(time_ns=3))] == [3]
    assert [upload.time_ns for upload in Uploads([b"raw"])] == [0]


def test_what_cannot_be_read_is_set_aside(folder: Path) -> None:
    some = Uploads(["gone.txt", "a.txt", "file://" + str(folder / "sub/b.txt")])
    assert [upload.data for upload in some] == [b"a.txt", b"sub/b.txt"]
    assert [(item.origin, item.reason) for item in some.refused] == [
        ("gone.txt", "No such file or directory")
    ]


def test_options_reach_each_upload(folder: Path) -> None:
    options = UploadOptions(
        labels={"b": "2", "empty": ""}, name="wall", rules="pyroscope", input_format="folded", file_label=True
    )
    (upload,) = Uploads(["a.txt"], options)
    assert upload == Upload(
        data=b"a.txt",
        labels={"b": "2", "file": "a.txt"},
        origin="a.txt",
        time_ns=upload.time_ns,
        name="wall",
        rules="pyroscope",
        input_format="folded",
    )


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"piped")))
    (upload,) = Uploads(["-"])
    assert (upload.data, upload.origin, upload.time_ns) == (b"piped", "<stdin>", 0)


def test_a_file_over_the_limit_is_refused(folder: Path) -> None:
    some = Uploads(["a.txt"], UploadOptions(max_bytes=3))
    assert list(some) == []
    assert [item.reason for item in some.refused] == ["file size: more than the limit of 3 bytes"]


@pytest.fixture
def bucket() -> str:
    """A remote directory with `a.folded` and `deep/b.folded`."""
    url = f"memory://uploads-{uuid4()}"
    objects = open_objects(url)
    objects.write("a.folded", b"a 1")
    objects.write("deep/b.folded", b"b 1")
    return url


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", ["/a.folded", "/deep/b.folded"]),
        ("/", ["/a.folded", "/deep/b.folded"]),
        ("/deep", ["/deep/b.folded"]),
        ("/a*", ["/a.folded"]),
        ("/a.folded", ["/a.folded"]),
    ],
)
def test_remote_directories_are_listed(bucket: str, path: str, found: list[str]) -> None:
    some = Uploads([bucket + path])
    assert some.items == [bucket + name for name in found]
    assert [(upload.origin, upload.time_ns) for upload in some] == [(bucket + name, 0) for name in found]


def test_a_remote_object_that_is_missing_is_refused(bucket: str) -> None:
    some = Uploads([bucket + "/gone.pb.gz"])
    assert list(some) == []
    assert "is not there" in some.refused[0].reason


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    """A web server over the folder."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_page_is_read_with_its_time(web: str, capsys: pytest.CaptureFixture[str]) -> None:
    os.utime("a.txt", ns=(5, 7_000_000_000))
    some = Uploads([web + "/a.txt", web + "/gone"])
    assert [(upload.data, upload.time_ns) for upload in some] == [(b"a.txt", 7_000_000_000)]
    assert [(item.origin, item.reason) for item in some.refused] == [
        (web + "/gone", "HTTP Error 404: File not found")
    ]


def zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


def said(uploads: Uploads) -> list[tuple[str, bytes, dict[str, bytes]]]:
    return [(one.origin, one.data, dict(one.attachments)) for one in uploads]


@pytest.mark.parametrize(
    ("recording", "labels"),
    [
        ("dump.jfr.gz", "dump.labels.pb.gz"),
        ("dump.jfr", "dump.labels"),
        ("dump.jfr.lz4", "dump.labels.gz"),
        ("dump.jfr.gz", "dump.jfr.labels.pb"),
    ],
)
def test_labels_go_with_their_recording(folder: Path, recording: str, labels: str) -> None:
    for name, data in ((f"sub/{recording}", b"R"), (f"sub/{labels}", b"L"), ("sub/other.jfr", b"O")):
        Path(name).write_bytes(data)
    expected = [
        ("sub/b.txt", b"sub/b.txt", {}),
        (f"sub/{recording}", b"R", {"labels": b"L"}),
        ("sub/other.jfr", b"O", {}),
    ]
    assert said(Uploads(["sub"])) == expected
    assert said(Uploads([f"sub/{labels}", f"sub/{recording}"])) == expected[1:2]
    assert len(Uploads(["sub"])) == 3


def test_labels_that_lie_beside_a_recording_need_not_be_named(folder: Path) -> None:
    Path("sub/dump.jfr.gz").write_bytes(b"R")
    Path("sub/dump.labels.pb.gz").write_bytes(b"L")
    assert said(Uploads(["sub/dump.jfr.gz"])) == [("sub/dump.jfr.gz", b"R", {"labels": b"L"})]
    # Without a recording they are a file like any other.
    assert said(Uploads(["sub/dump.labels.pb.gz"])) == [("sub/dump.labels.pb.gz", b"L", {})]


def test_a_zip_stands_for_its_files(folder: Path) -> None:
    data = zipped({"a/dump.labels.gz": b"L", "a/dump.jfr": b"R", "b.folded": b"main 1", ".hidden": b""})
    Path("all.zip").write_bytes(data)
    files = [("!a/dump.jfr", b"R", {"labels": b"L"}), ("!b.folded", b"main 1", {})]
    assert said(Uploads(["all.zip"])) == [(f"all.zip{name}", *rest) for name, *rest in files]
    assert said(Uploads([data])) == [(f"<bytes>{name}", *rest) for name, *rest in files]


def test_zips_that_cannot_be_read_are_set_aside(folder: Path) -> None:
    Path("empty.zip").write_bytes(b"PK\x03\x04")
    hidden = zipped({"__MACOSX/x": b""})
    large = zipped({"a": bytes(60), "b": bytes(60)})
    some = Uploads(["empty.zip", hidden], UploadOptions())
    assert list(some) == []
    assert [item.reason for item in some.refused] == ["zip: File is not a zip file", "zip: it holds no files"]
    some = Uploads([large], UploadOptions(max_bytes=100))
    assert [one.origin for one in some] == ["<bytes>!a"]
    assert [item.reason for item in some.refused] == ["zip: inflated size: more than the limit of 100 bytes"]
