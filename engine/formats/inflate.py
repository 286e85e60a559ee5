"""Uploaded bytes inflated, within a byte limit: gzip, zstd, or as they are."""

from __future__ import annotations

import zstandard
from isal import isal_zlib

from ...schema.errors import CorruptProfile, LimitExceeded

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW = 31


def inflate(data: bytes, limit_bytes: int) -> bytes:
    """The inflated bytes; several gzip members or zstd frames follow each other.

    Raises `LimitExceeded` as soon as there are more than `limit_bytes`, `CorruptProfile` when the compressed
    stream is broken, cut short, or followed by something else.
    """
    if data.startswith(GZIP_MAGIC):
        return _gunzip(data, limit_bytes)
    if data.startswith(ZSTD_MAGIC):
        return _unzstd(data, limit_bytes)
    _check(len(data), limit_bytes)
    return data


def _check(size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise LimitExceeded(f"inflated size is over the limit of {limit_bytes} bytes")


def _gunzip(data: bytes, limit_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size_bytes = 0
    rest = data
    while rest:
        if not rest.startswith(GZIP_MAGIC):
            raise CorruptProfile(f"gzip: {len(rest)} bytes of something else follow the compressed data")
        member = isal_zlib.decompressobj(_GZIP_WINDOW)
        try:
            piece = member.decompress(rest, limit_bytes - size_bytes + 1)
        except isal_zlib.error as error:
            raise CorruptProfile(f"gzip: {error}") from None
        size_bytes += len(piece)
        _check(size_bytes, limit_bytes)
        if not member.eof:
            raise CorruptProfile("gzip: the compressed data ends too early")
        pieces.append(piece)
        rest = member.unused_data
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _unzstd(data: bytes, limit_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size_bytes = 0
    rest = data
    while rest:
        frame = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        try:
            for start in range(0, len(rest), 1 << 16):
                piece = frame.decompress(rest[start : start + (1 << 16)])
                size_bytes += len(piece)
                _check(size_bytes, limit_bytes)
                pieces.append(piece)
                if frame.eof:
                    rest = frame.unused_data + rest[start + (1 << 16) :]
                    break
            else:
                raise CorruptProfile("zstd: the compressed data ends too early")
        except zstandard.ZstdError as error:
            raise CorruptProfile(f"zstd: {error}") from None
    return b"".join(pieces)
