"""Threads as Firefox itself writes them: tables of rows under a schema, times and addresses of one process.

A frame is a text: `name (file:line:column)` of a script, an address in memory, or a label.

Source of the format: `docs-developer/gecko-profile-format.md` and `src/types/gecko-profile.ts` of
firefox-devtools/profiler.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence

import msgspec

from .firefox_columns import Rows, refuse_outside
from .firefox_stacks import StackNodes, Stacks
from .firefox_symbols import Lib
from .firefox_threads import ThreadAllocations, ThreadName, ThreadSamples
from .json_document import decode_json
from .profile_builder import Labels, MappedFile, ProfileBuilder

_SCRIPT = re.compile(r"(.*?) ?\((.+?):(\d{1,9})(?::(\d{1,9}))?\)", re.DOTALL)
_SOURCE = re.compile(r"(?<=.)\[\d{1,9}\]\Z")
"""What newer versions end a script's location with: a row of the table of sources."""
_ADDRESS = re.compile(r"0x([0-9a-fA-F]{1,16})")


class _RawRows(msgspec.Struct):
    """A table as it is written."""

    schema: Mapping[str, int]
    data: msgspec.Raw


class _Fields(ThreadName):
    """A thread as it is written."""

    samples: _RawRows | None = None
    frameTable: _RawRows | None = None
    stackTable: _RawRows | None = None
    stringTable: list[str] = msgspec.field(default_factory=list)


class GeckoThread:
    """A thread, see `firefox_threads.Thread`; `where` says which."""

    weight_type = "samples"

    def __init__(self, raw: msgspec.Raw, where: str, libs: Sequence[Lib], has_sources: bool) -> None:
        self._fields = decode_json(bytes(raw), _Fields, where)
        self._where = where
        self._strings = self._fields.stringTable
        if has_sources:
            self._strings = [_SOURCE.sub("", text) for text in self._strings]
        self._libs = sorted((lib for lib in libs if lib.end > lib.start), key=lambda lib: lib.start)

    @property
    def labels(self) -> Labels:
        """See `Thread`."""
        return self._fields.labels()

    @property
    def has_cpu(self) -> bool:
        """See `Thread`."""
        return self._fields.samples is not None and "threadCPUDelta" in self._fields.samples.schema

    def samples(self) -> ThreadSamples:
        """See `Thread`."""
        rows = self._rows("samples", self._fields.samples)
        (stack,) = rows.integers("stack")
        times = rows.floats("time")
        return ThreadSamples(
            stack,
            None,
            rows.floats("threadCPUDelta") if self.has_cpu else None,
            (float(times[0]), float(times[-1])) if len(times) else None,
        )

    def allocations(self) -> Sequence[ThreadAllocations]:
        """None: they are markers, which are passed over."""
        return ()

    def stacks(self, builder: ProfileBuilder) -> Stacks:
        """See `Thread`."""
        table = self._rows("stackTable", self._fields.stackTable)
        nodes = StackNodes(table.where, *table.integers("prefix", "frame"))
        frames = _Frames(self._rows("frameTable", self._fields.frameTable), self._strings, self._libs)
        nodes.refuse_frames(len(frames.location))
        return Stacks(nodes, None, lambda chosen: frames.number(builder, chosen[0]))

    def _rows(self, name: str, raw: _RawRows | None) -> Rows:
        where = f"{self._where}.{name}"
        return Rows(where, {}, msgspec.Raw(b"[]")) if raw is None else Rows(where, raw.schema, raw.data)


class _Frames:
    """The frame table. Raises `CorruptProfile` for a location that is no string of the table."""

    def __init__(self, table: Rows, strings: Sequence[str], libs: Sequence[Lib]) -> None:
        self.location, self._line, self._column = table.integers("location", "line", "column")
        refuse_outside(self.location, len(strings), f"{table.where}.location")
        self._strings = strings
        self._libs = libs
        self._starts = [lib.start for lib in libs]

    def number(self, builder: ProfileBuilder, frame: int) -> int:
        """The number of a frame's location."""
        text = int(self.location[frame])
        name = self._strings[text] if text >= 0 else ""
        line, column = max(int(self._line[frame]), 0), max(int(self._column[frame]), 0)
        address = _ADDRESS.fullmatch(name)
        if address:
            memory_address = int(address.group(1), 16)
            mapping = self._mapping(memory_address)
            if mapping is not None:
                return builder.location((), builder.mapping(mapping), memory_address)
            return builder.location(((builder.function(name), 0, 0),), address=memory_address)
        script = _SCRIPT.fullmatch(name)
        if script is None:
            return builder.frame(name, line=line, column=column)
        function = builder.function(script.group(1) or name, script.group(2), int(script.group(3)))
        return builder.location(((function, line, column),))

    def _mapping(self, address: int) -> MappedFile | None:
        """The library that is in memory at an address."""
        place = bisect_right(self._starts, address) - 1
        if place < 0 or address >= self._libs[place].end:
            return None
        return self._libs[place].mapped_in_memory()
