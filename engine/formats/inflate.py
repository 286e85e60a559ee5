"""Uploaded bytes inflated, within a byte limit: gzip, zstd, lz4, a zip of one file, or as they are."""

from __future__ import annotations

from isal.isal_zlib import IsalError, decompressobj

from ...schema.errors import CorruptProfile, LimitExceeded
from .zip_archive import ZIP_MAGIC, ZipArchive

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
LZ4_MAGIC = b"\x04\x22\x4d\x18"
MAX_MEMBERS = 65_536

_GZIP_WINDOW = 31
_NEXT_MEMBER_BYTES = 64 << 10
_ZSTD_STEP_BYTES = 2048
"""A step can inflate 128 kB for each four bytes; what it yields is not yet counted against the limit."""
_ZSTD_WINDOW_BYTES = 1 << 27
_LZ4_STEP_BYTES = 1 << 20


def inflate(data: bytes, limit_bytes: int) -> bytes:
    """The inflated bytes; several gzip members, zstd or lz4 frames follow each other.

    Raises `LimitExceeded` as soon as there are more than `limit_bytes`, `CorruptProfile` when the compressed
    stream is broken, cut short, or followed by something else.
    """
    if data.startswith(GZIP_MAGIC):
        return _gunzip(data, limit_bytes)
    if data.startswith(ZSTD_MAGIC):
        return _unzstd(data, limit_bytes)
    if data.startswith(LZ4_MAGIC):
        return _unlz4(data, limit_bytes)
    if data.startswith(ZIP_MAGIC):
        return _only_entry(data, limit_bytes)
    _check_size(len(data), limit_bytes)
    return data


def _check_size(size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise LimitExceeded(f"inflated size: more than the limit of {limit_bytes} bytes")


def _gunzip(data: bytes, limit_bytes: int) -> bytes:
    """Members one after the other. The first is given all bytes, later ones a window that grows: what a member
    leaves is copied, and there may be many.
    """
    pieces: list[bytes] = []
    size_bytes = at = 0
    window = len(data)
    while at < len(data):
        if data[at : at + 2] != GZIP_MAGIC:
            raise CorruptProfile(f"gzip: {len(data) - at} bytes of something else follow the compressed data")
        if len(pieces) >= MAX_MEMBERS:
            raise LimitExceeded(f"gzip: more than {MAX_MEMBERS} members")
        piece, at = _gunzip_member(data, at, window, limit_bytes - size_bytes + 1)
        size_bytes += len(piece)
        _check_size(size_bytes, limit_bytes)
        pieces.append(piece)
        window = _NEXT_MEMBER_BYTES
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _gunzip_member(data: bytes, at: int, window: int, room: int) -> tuple[bytes, int]:
    """One member's content and where the next begins; `room` bytes of content are the most that is inflated."""
    member = decompressobj(_GZIP_WINDOW)
    pieces: list[bytes] = []
    while not member.eof and room > 0:
        fed = data[at : at + window] if at or window < len(data) else data
        if not fed:
            raise CorruptProfile("gzip: the compressed data ends too early")
        try:
            piece = member.decompress(fed, room)
        except IsalError as error:  # type: ignore[misc]  # its stub calls it an instance
            raise CorruptProfile(f"gzip: {error}") from None
        pieces.append(piece)
        room -= len(piece)
        at += len(fed)
        window *= 2
    return (pieces[0] if len(pieces) == 1 else b"".join(pieces)), at - len(member.unused_data)


def _unzstd(data: bytes, limit_bytes: int) -> bytes:
    import zstandard

    pieces: list[bytes] = []
    size_bytes = at = frames = 0
    rest = b""
    frame = None
    while rest or at < len(data):
        if frame is None:
            frames += 1
            frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()
        if not rest:
            rest, at = data[at : at + _ZSTD_STEP_BYTES], at + _ZSTD_STEP_BYTES
        try:
            piece = frame.decompress(rest)
        except zstandard.ZstdError as error:
            raise CorruptProfile(f"zstd: {error}") from None
        size_bytes += len(piece)
        _check_size(size_bytes, limit_bytes)
        pieces.append(piece)
        rest, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
        if frames > MAX_MEMBERS:
            raise LimitExceeded(f"zstd: more than {MAX_MEMBERS} frames")
    if frame is not None:
        raise CorruptProfile("zstd: the compressed data ends too early")
    return b"".join(pieces)


def _unlz4(data: bytes, limit_bytes: int) -> bytes:
    import pyarrow as pa

    pieces: list[bytes] = []
    size_bytes = 0
    try:
        with pa.CompressedInputStream(pa.BufferReader(data), "lz4") as stream:
            while piece := stream.read(_LZ4_STEP_BYTES):
                size_bytes += len(piece)
                _check_size(size_bytes, limit_bytes)
                pieces.append(piece)
    except (OSError, pa.ArrowException) as error:
        raise CorruptProfile(f"lz4: {error}") from None
    return b"".join(pieces)


def _only_entry(data: bytes, limit_bytes: int) -> bytes:
    """The file in a zip archive, which may be compressed once more, but is no archive."""
    archive = ZipArchive(data, limit_bytes)
    if len(archive.names) != 1:
        raise CorruptProfile(f"zip: it holds {len(archive.names)} files in place of one")
    inner = archive.read(archive.names[0])
    if inner.startswith(ZIP_MAGIC):
        raise CorruptProfile(f"zip: {archive.names[0]} is an archive too")
    return inflate(inner, limit_bytes)
