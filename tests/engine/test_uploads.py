"""Which files paths name, and how they are read."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

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
