"""Compressed uploads: every way to be whole, broken, or too large."""

from __future__ import annotations

import gzip
import io
import os
import time
import zipfile
import zlib

import pyarrow as pa
import pytest
import zstandard

from flameduck.engine.formats.inflate import MAX_MEMBERS, inflate
from flameduck.schema.errors import CorruptProfile, LimitExceeded

TEXT = b"main;work 1\n" * 10_000
LIMIT = 1 << 20
GZIP = gzip.compress(TEXT)
ZSTD = zstandard.compress(TEXT)

WHOLE = {
    "raw": TEXT,
    "gzip": GZIP,
    "gzip members": gzip.compress(TEXT[:50]) + gzip.compress(TEXT[50:]),
    "gzip members, one empty": gzip.compress(TEXT[:50]) + gzip.compress(b"") + gzip.compress(TEXT[50:]),
    "gzip of many members": b"".join(gzip.compress(TEXT[n : n + 1200]) for n in range(0, len(TEXT), 1200)),
    "zstd": ZSTD,
    "zstd frames": zstandard.compress(TEXT[:50]) + zstandard.compress(TEXT[50:]),
    "zstd, size unknown": zstandard.ZstdCompressor(write_content_size=False).compress(TEXT),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole(name: str) -> None:
    assert inflate(WHOLE[name], len(TEXT)) == TEXT


@pytest.mark.parametrize("name", WHOLE)
def test_one_byte_over_the_limit(name: str) -> None:
    with pytest.raises(LimitExceeded, match=f"inflated size: more than the limit of {len(TEXT) - 1} bytes"):
        inflate(WHOLE[name], len(TEXT) - 1)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


BROKEN = {
    "gzip cut short": GZIP[:-9],
    "gzip without its sum": GZIP[:-8],
    "gzip with a wrong sum": flipped(GZIP, len(GZIP) - 6),
    "gzip header alone": GZIP[:10],
    "gzip magic alone": GZIP[:2],
    "gzip and more": GZIP + b"more",
    "gzip and a broken member": GZIP + GZIP[:20],
    "gzip of nothing known": b"\x1f\x8b\x07" + GZIP[3:],
    "zstd cut short": ZSTD[:-3],
    "zstd magic alone": ZSTD[:4],
    "zstd and more": ZSTD + b"more",
    "zstd that is none": ZSTD[:4] + os.urandom(4) * 20,
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str) -> None:
    with pytest.raises(CorruptProfile, match=r"^(gzip|zstd): "):
        inflate(BROKEN[name], LIMIT)


def test_nothing_is_nothing() -> None:
    assert inflate(b"", LIMIT) == b""


def bomb() -> bytes:
    """200 MB of zeros in 200 kB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(200)), packer.flush()])


@pytest.mark.parametrize("data", [bomb(), zstandard.compress(bytes(200 << 20))], ids=["gzip", "zstd"])
def test_a_bomb_is_stopped_by_the_limit(data: bytes) -> None:
    start = time.process_time()
    with pytest.raises(LimitExceeded):
        inflate(data, 16 << 20)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("member", [gzip.compress(b""), zstandard.compress(b"")], ids=["gzip", "zstd"])
def test_a_great_many_empty_members(member: bytes) -> None:
    with pytest.raises(LimitExceeded, match="more than"):
        inflate(member * (MAX_MEMBERS + 1), LIMIT)


def lz4(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "lz4") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


def zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


def test_lz4_frames() -> None:
    data = bytes(range(256)) * 20_000
    assert inflate(lz4(data), len(data)) == data
    assert inflate(lz4(data) + lz4(b"more"), len(data) + 4) == data + b"more"
    with pytest.raises(LimitExceeded, match="more than the limit of 5119999 bytes"):
        inflate(lz4(data), len(data) - 1)
    for broken in (lz4(data)[:-30], lz4(data)[:7], lz4(data)[:20] + b"\xff" * 50):
        with pytest.raises(CorruptProfile, match=r"^lz4: "):
            inflate(broken, 1 << 30)


def test_a_zip_of_one_file_is_that_file() -> None:
    data = b"main;work 3\n" * 1000
    assert inflate(zipped({"cpu.folded": data}), len(data)) == data
    assert (
        inflate(zipped({"__MACOSX/x": b"1", ".hidden": b"2", "../a/cpu": gzip.compress(data)}), 1 << 20)
        == data
    )
    with pytest.raises(LimitExceeded, match="zip: inflated size: more than the limit of 11999 bytes"):
        inflate(zipped({"cpu.folded": data}), len(data) - 1)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (zipped({"a": b"1", "b": b"2"}), "zip: it holds 2 files in place of one"),
        (zipped({"a": zipped({"b": b"1"})}), "zip: a is an archive too"),
        (zipped({"a": b"1"})[:-10], "zip: File is not a zip file"),
        (zipped({"a": bytes(1000)}).replace(zlib.compress(bytes(1000))[2:-4], b"\xff" * 8), "zip: "),
        (b"PK\x03\x04nothing", "zip: File is not a zip file"),
    ],
)
def test_zips_that_are_not_one_file(data: bytes, text: str) -> None:
    with pytest.raises(CorruptProfile, match=f"^{text}"):
        inflate(data, 1 << 20)
