"""One chunk of a JFR recording: a header of 68 bytes, its events by type, its types, its constants, its settings."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...schema.errors import CorruptProfile
from .jfr_columns import Bytes, EventColumns, IntArray, read_fields
from .jfr_cursor import Field, Types
from .jfr_kinds import SOURCES, TIMED_SOURCES
from .jfr_metadata import read_types
from .jfr_pools import Pools

MAGIC = b"FLR\0"
VERSIONS = ((2, 0), (2, 1))
SETTING = "jdk.ActiveSetting"
READ = frozenset((SETTING, *SOURCES, *TIMED_SOURCES))
"""The events that are read; of all others only the size."""
MAX_EVENTS = 1 << 20
"""That are looked at together."""

_HEADER = struct.Struct(">4sHHqqqqqqqI")
_COMPRESSED = 1
_METADATA, _CHECKPOINT = 0, 1

Places = tuple[IntArray, IntArray]
"""Where the fields of events begin, and where the events end."""


@dataclass(frozen=True)
class ChunkHeader:
    """Where a chunk lies in the recording, and when it was recorded."""

    at: int
    end: int
    metadata_at: int
    start_ns: int
    duration_ns: int
    ticks_per_s: int
    compressed: bool


@dataclass(frozen=True)
class Setting:
    """A setting of the recorder, `value` of `name` for the events `event`."""

    event: str
    name: str
    value: str


@dataclass(frozen=True)
class Chunk:
    """A chunk, and the fields of the events that it has.

    `blocks` say where its events are, by their name, and `places` are those of the block that is read.
    """

    header: ChunkHeader
    data: Bytes
    types: Types
    pools: Pools
    fields: Mapping[str, tuple[Field, ...]]
    blocks: Sequence[Mapping[str, Places]]
    settings: tuple[Setting, ...] = ()
    places: Mapping[str, Places] = field(default_factory=dict)

    def parts(self) -> Iterator[Chunk]:
        """The same, with few enough events at a time to hold their fields."""
        for places in self.blocks:
            if places:
                yield replace(self, places=places)

    def read(self, event: str, wanted: set[str]) -> Mapping[str, IntArray]:
        """The wanted fields of all events of a name, as far as they have them. Raises `CorruptProfile`."""
        known = [number for number, one in enumerate(self.fields[event]) if one.name in wanted]
        fields = self.fields[event][: known[-1] + 1] if known else ()
        found = read_fields(self.data, self.types, fields, self.places[event])
        return {name: column for name, column in found.items() if name in wanted}


def read_chunks(raw: bytes) -> Iterator[Chunk]:
    """The chunks of a recording, one in memory at a time. Raises `CorruptProfile`, naming the chunk."""
    whole = np.frombuffer(raw, np.uint8)
    at = number = 0
    known: tuple[bytes, Types] = (b"", {})
    while at < len(raw):
        number += 1
        try:
            header = read_header(raw, at)
            data = Bytes(raw, whole, header.compressed)
            known = _types(data, header, known)
            yield _read_chunk(data, header, known[1])
        except CorruptProfile as error:
            raise CorruptProfile(f"chunk {number} at byte {at}: {error}") from None
        at = header.end


def read_header(raw: bytes, at: int) -> ChunkHeader:
    """The header of the chunk at a byte. Raises `CorruptProfile`."""
    if len(raw) - at < _HEADER.size:
        raise CorruptProfile(f"its header ends after {len(raw) - at} of {_HEADER.size} bytes")
    found = _HEADER.unpack_from(raw, at)
    magic, major, minor, size, pool, metadata, start_ns, duration_ns, _, ticks_per_s, features = found
    if magic != MAGIC:
        raise CorruptProfile(f"it begins with {magic!r} in place of {MAGIC!r}")
    if (major, minor) not in VERSIONS:
        raise CorruptProfile(f"version {major}.{minor}: only 2.0 and 2.1 are read")
    if size == 0:
        raise CorruptProfile("it was not finished: its size is not filled in")
    if not _HEADER.size <= size <= len(raw) - at:
        raise CorruptProfile(f"its size is {size} bytes of which {len(raw) - at} are there")
    for name, offset in (("metadata", metadata), ("constants", pool)):
        if not 0 < offset < size:
            raise CorruptProfile(f"its {name} are at {offset}, outside of its {size} bytes")
    if ticks_per_s <= 0:
        raise CorruptProfile(f"it has {ticks_per_s} ticks a second")
    times = (max(start_ns, 0), max(duration_ns, 0))
    return ChunkHeader(at, at + size, at + metadata, *times, ticks_per_s, bool(features & _COMPRESSED))


def _types(data: Bytes, header: ChunkHeader, known: tuple[bytes, Types]) -> tuple[bytes, Types]:
    """The types, and the bytes that describe them: chunk after chunk they are mostly the same."""
    cursor = data.cursor(header.metadata_at, header.end)
    size = cursor.integer(4)
    if cursor.integer() != _METADATA or not 0 < size <= header.end - header.metadata_at:
        raise CorruptProfile(f"no metadata at byte {header.metadata_at}")
    cursor.end = header.metadata_at + size
    body = cursor.at
    for _ in range(3):
        cursor.integer()
    told = data.raw[cursor.at : cursor.end]
    if told == known[0]:
        return known
    cursor.at = body
    return told, read_types(cursor)


def _read_chunk(data: Bytes, header: ChunkHeader, types: Types) -> Chunk:
    pools, names = Pools(data, types), {key: one.name for key, one in types.items()}
    blocks = list(_blocks(data, header, types))
    for block in blocks:
        for start, end in _rows(block.pop(_CHECKPOINT, None)):
            pools.read_checkpoint(start, end)
    pools.finish()
    fields = {names[key]: types[key].fields for block in blocks for key in block}
    named = [{names[key]: places for key, places in block.items()} for block in blocks]
    chunk = Chunk(header, data, types, pools, fields, named)
    settings = [one for part in chunk.parts() for one in _settings(part)]
    return replace(chunk, settings=tuple(settings))


def _blocks(data: Bytes, header: ChunkHeader, types: Types) -> Iterator[dict[int, Places]]:
    """Where events that are read begin and end, by type, for so many events of the chunk at a time."""
    wanted = np.array([_CHECKPOINT, *(key for key, one in types.items() if one.name in READ)], np.uint64)
    for starts in _event_starts(data, header):
        columns = EventColumns(data, starts, np.full(len(starts), header.end))
        ends = starts + columns.integer(4)
        type_ids, at = columns.integer(8).view(np.uint64), columns.at
        rows = {int(one): np.flatnonzero(type_ids == one) for one in wanted[np.isin(wanted, type_ids)]}
        yield {type_id: (at[found], ends[found]) for type_id, found in rows.items()}


def _event_starts(data: Bytes, header: ChunkHeader) -> Iterator[IntArray]:
    """Where each event begins, many at once. Raises `CorruptProfile` when their sizes do not lead to the end."""
    raw, at, end = data.raw, header.at + _HEADER.size, header.end
    while at < end:
        starts = array("q")
        while at < end and len(starts) < MAX_EVENTS:
            starts.append(at)
            size = raw[at]
            if size >= 0x80 or not data.compressed:
                size = data.cursor(at, end).integer(4)
            if size == 0:
                raise CorruptProfile(f"the event at byte {at} has no size")
            at += size
        if at > end:
            raise CorruptProfile(f"the event at byte {starts[-1]} goes beyond the chunk's end")
        yield np.frombuffer(starts, np.int64)


def _rows(places: Places | None) -> Iterator[tuple[int, int]]:
    if places is not None:
        yield from zip(*(one.tolist() for one in places), strict=True)


def _settings(chunk: Chunk) -> Iterator[Setting]:
    """The settings, in the order in which they were recorded."""
    fields = chunk.fields.get(SETTING, ())
    for at, end in _rows(chunk.places.get(SETTING)):
        cursor = chunk.data.cursor(at, end)
        values = {one.name: cursor.value(chunk.types, one) for one in fields}
        event = values.get("id", 0)
        kind = chunk.types.get(event) if isinstance(event, int) else None
        texts = (chunk.pools.text(values.get(name)) for name in ("name", "value"))
        yield Setting(kind.name if kind else "", *texts)
