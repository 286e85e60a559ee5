"""What only a server can answer: buckets, credentials, uploads in parts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flameduck.engine.storage.objects import Objects, open_objects
from flameduck.schema.errors import ObjectMissing, StorageError


def asks_of(objects: Objects) -> list[Callable[[], object]]:
    return [
        lambda: objects.read("a"),
        lambda: objects.write("a", b"1"),
        lambda: objects.create("a", b"1"),
        lambda: objects.put_file("a", __file__),
    ]


def test_a_bucket_that_is_not_there_is_no_empty_store(s3_url: str) -> None:
    for ask in asks_of(open_objects("s3://no-such-bucket/prefix")):
        with pytest.raises(StorageError, match=r"no-such-bucket.*bucket is not there") as raised:
            ask()
        assert not isinstance(raised.value, ObjectMissing)


def test_wrong_credentials_are_said_and_not_repeated(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    objects = open_objects(s3_url)
    more: list[Callable[[], object]] = [lambda: objects.list(""), lambda: objects.size("a")]
    for ask in asks_of(objects) + more:
        with pytest.raises(StorageError, match="s3://") as raised:
            ask()
        assert "hunter2" not in str(raised.value)
        assert not isinstance(raised.value, ObjectMissing)


def test_a_large_file_goes_up_in_parts(s3_url: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    block = os.urandom(1 << 20)
    with source.open("wb") as file:
        for _ in range(40):
            file.write(block)
    objects = open_objects(s3_url)
    objects.put_file("a/large", str(source))
    assert objects.size("a/large") == 40 << 20
    assert objects.read("a/large", 39 << 20) == block
    assert objects.read("a/large", 17 << 20, 18 << 20) == block


def test_the_whole_bucket_can_be_a_store(s3_url: str) -> None:
    bucket, _, prefix = s3_url.removeprefix("s3://").partition("/")
    open_objects(f"s3://{bucket}").write(f"{prefix}/a", b"1")
    assert open_objects(f"{s3_url}/").read("a") == b"1"
    assert f"{prefix}/a" in [info.path for info in open_objects(f"s3a://{bucket}/").list("")]
