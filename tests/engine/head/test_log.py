"""The head's log: what was appended is there, torn frames are not, and a failed append leaves nothing."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine.head.log import MAGIC, Log, LogFile, LogReader, read_log
from flameduck.schema.errors import StorageError, Unavailable

PAYLOADS = st.lists(st.lists(st.binary(max_size=40), max_size=4), max_size=5)


@given(PAYLOADS, st.data())
def test_any_cut_leaves_whole_frames(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[bytes]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("log") / "a.log"
    log = Log(path)
    for group in groups:
        log.append(group)
    log.close()
    everything = [payload for group in groups for payload in group]
    assert list(read_log(path)) == everything
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    found = list(read_log(path))
    assert found == everything[: len(found)]
    assert len(MAGIC) + sum(12 + len(payload) for payload in found) <= max(cut, len(MAGIC))


def test_a_spoilt_frame_ends_the_log(tmp_path: Path) -> None:
    log = Log(tmp_path / "a.log")
    log.append([b"first", b"second", b"third"])
    log.close()
    raw = bytearray(log.path.read_bytes())
    raw[raw.index(b"second")] ^= 1
    log.path.write_bytes(raw)
    assert list(read_log(log.path)) == [b"first"]


def test_another_file_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"something else")
    with pytest.raises(StorageError, match="not a head's log"):
        list(read_log(tmp_path / "a.log"))


class FullDisk(LogFile):
    """Takes half of what is written while `full`, then says that there is no space."""

    full = False
    stuck = False

    def write(self, data: bytes) -> None:
        if FullDisk.full:
            super().write(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(data)

    def truncate(self, size_bytes: int) -> None:
        if FullDisk.stuck:
            raise OSError(errno.EIO, "Input/output error")
        super().truncate(size_bytes)


@pytest.fixture
def full_disk() -> type[FullDisk]:
    FullDisk.full = FullDisk.stuck = False
    return FullDisk


def test_a_full_disk_takes_nothing_and_everything_later(tmp_path: Path, full_disk: type[FullDisk]) -> None:
    log = Log(tmp_path / "a.log", full_disk)
    log.append([b"before"])
    FullDisk.full = True
    with pytest.raises(Unavailable, match="the log cannot be written: No space left on device"):
        log.append([b"lost" * 100])
    assert not log.broken
    FullDisk.full = False
    log.append([b"after"])
    assert list(read_log(log.path)) == [b"before", b"after"]


def test_a_log_that_cannot_be_cut_takes_nothing_more(tmp_path: Path, full_disk: type[FullDisk]) -> None:
    log = Log(tmp_path / "a.log", full_disk)
    FullDisk.full = FullDisk.stuck = True
    with pytest.raises(Unavailable):
        log.append([b"lost" * 100])
    FullDisk.full = False
    assert log.broken
    with pytest.raises(Unavailable):
        log.append([b"more"])
    assert list(read_log(log.path)) == []


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"missing/a\.log: the log cannot be made: No such file"):
        Log(tmp_path / "missing" / "a.log")


class NoLog(FullDisk):
    """Refuses even the first bytes while `full`."""

    def sync_name(self) -> None:
        if FullDisk.stuck:
            raise OSError(errno.EROFS, "Read-only file system")
        super().sync_name()


def test_a_log_that_could_not_be_made_leaves_no_file(tmp_path: Path, full_disk: type[FullDisk]) -> None:
    for attribute in ("full", "stuck"):
        setattr(FullDisk, attribute, True)
        with pytest.raises(Unavailable, match="the log cannot be made"):
            Log(tmp_path / "a.log", NoLog)
        setattr(FullDisk, attribute, False)
        assert list(tmp_path.iterdir()) == []
    Log(tmp_path / "a.log", NoLog).append([b"one"])
    assert list(read_log(tmp_path / "a.log")) == [b"one"]


def test_what_lies_behind_the_last_whole_frame_is_counted(tmp_path: Path) -> None:
    log = Log(tmp_path / "a.log")
    log.append([b"first", b"second"])
    log.close()
    whole = log.path.read_bytes()
    for cut, frames, lost in (
        (len(whole), 2, 0),
        (len(whole) - 1, 1, 17),
        (len(MAGIC) + 17, 1, 0),
        (len(MAGIC) + 5, 0, 5),
        (3, 0, 0),
        (0, 0, 0),
    ):
        log.path.write_bytes(whole[:cut])
        reader = LogReader(log.path)
        assert len(list(reader.payloads())) == frames
        assert reader.lost_bytes == lost
    log.path.write_bytes(whole[: len(MAGIC)] + b"\xff" * 40)
    reader = LogReader(log.path)
    assert list(reader.payloads()) == []
    assert reader.lost_bytes == 40
