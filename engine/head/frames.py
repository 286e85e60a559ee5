"""What a frame of the head's log holds: one tenant's normalised batch, or one in pieces, as lz4-compressed Arrow.

    payload  version u8, inflated size u32,
             lz4 of (tenant length u8, tenant, applied i64, number of pieces u32, pieces)
    piece    its tables, each: size u32, Arrow IPC message of its one record batch; size 0: no rows

The tables are those of `NormalisedBatch` in its order; their schemas are part of the version. All pieces of an
upload are in one frame, because a crash leaves frames whole or not at all. `applied` is the version of the catalog that
was known when the batch came, -1: none; version 1 had none, and knew no tombstones.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from ...schema.batch_messages import message_table, table_message
from ...schema.errors import CorruptBlock, LimitExceeded
from ...schema.profile import NormalisedBatch

VERSION = 2
MAX_PLAIN_BYTES = 1000 << 20
_HEAD = struct.Struct("<BI")
_SIZE = struct.Struct("<I")
_APPLIED = struct.Struct("<q")


class Frame(NamedTuple):
    """What a frame holds."""

    tenant: str
    pieces: Sequence[NormalisedBatch]
    applied: int


class UnknownVersion(CorruptBlock):
    """Another version of this program wrote the frame, which is whole."""


def encode_frame(tenant: str, pieces: Sequence[NormalisedBatch], applied: int = 0) -> bytes:
    """A batch and what continues it as a payload. Raises `LimitExceeded` for more than `MAX_PLAIN_BYTES`."""
    name = tenant.encode()
    parts = [bytes([len(name)]), name, _APPLIED.pack(applied), _SIZE.pack(len(pieces))]
    size_bytes = 0
    for batch in pieces:
        for table in batch.tables().values():
            message = table_message(table)
            size_bytes += len(message)
            if size_bytes > MAX_PLAIN_BYTES:
                raise LimitExceeded(f"a batch of more than {MAX_PLAIN_BYTES} bytes; limit {MAX_PLAIN_BYTES}")
            parts += [_SIZE.pack(len(message)), message]
    plain = b"".join(parts)
    packed: bytes = _codec().compress(plain, asbytes=True)
    return _HEAD.pack(VERSION, len(plain)) + packed


def decode_frame(payload: bytes) -> Frame:
    """What a payload holds. Raises `UnknownVersion`, and `CorruptBlock` for what is no such payload."""
    try:
        return _decoded(payload)
    except (struct.error, pa.ArrowException, OSError, ValueError, IndexError, StopIteration) as error:
        raise CorruptBlock(f"not a head frame: {error}") from None


def _decoded(payload: bytes) -> Frame:
    version, size_bytes = _HEAD.unpack_from(payload)
    if version not in (1, VERSION):
        raise UnknownVersion(f"head frame of version {version}; this reader knows version {VERSION}")
    plain = _codec().decompress(payload[_HEAD.size :], decompressed_size=size_bytes)
    at = 1 + plain[0]
    tenant = bytes(plain[1:at]).decode()
    applied = 0
    if version > 1:
        (applied,) = _APPLIED.unpack_from(plain, at)
        at += _APPLIED.size
    (count,) = _SIZE.unpack_from(plain, at)
    tables = _tables(pa.py_buffer(plain), at + _SIZE.size)
    pieces = [
        NormalisedBatch(**{name: next(tables) for name in NormalisedBatch().tables()}) for _ in range(count)
    ]
    return Frame(tenant, pieces, applied)


def _tables(plain: pa.Buffer, at: int) -> Iterator[pa.Table]:
    """The tables of one piece after the other, from `at` on."""
    while at < plain.size:
        for empty in NormalisedBatch().tables().values():
            (length,) = _SIZE.unpack_from(plain, at)
            at += _SIZE.size
            yield message_table(plain.slice(at, length), empty.schema)
            at += length


def _codec() -> pa.Codec:
    return pa.Codec("lz4")
