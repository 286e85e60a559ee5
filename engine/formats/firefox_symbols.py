"""The symbols of Firefox's processed profiles: frames, functions, libraries, as locations.

A frame without a name of its own is named after its address; it becomes an address in a library, for symbols to be
found later.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from ...schema.errors import CorruptProfile
from .firefox_columns import NULL, Table, refuse_outside
from .firefox_stacks import InlineColumns
from .profile_builder import Line, MappedFile, ProfileBuilder
from .profile_columns import IntArray

_BARE = re.compile(r"0x[0-9a-fA-F]+")


class Lib(msgspec.Struct):
    """A library; `codeId` is the build id of ELF files, `breakpadId` what symbol servers call it."""

    name: str = ""
    path: str = ""
    debugPath: str = ""
    breakpadId: str | None = None
    codeId: str | None = None
    start: int = 0
    end: int = 0
    offset: int = 0

    def mapped(self) -> MappedFile:
        """The library as a mapping to which addresses are relative."""
        return MappedFile(self.path or self.debugPath or self.name, self.codeId or self.breakpadId or "")

    def mapped_in_memory(self) -> MappedFile:
        """The library where it was in memory. Raises `CorruptProfile` for bounds that are none."""
        if not 0 <= self.start <= self.end < 2**64 or not 0 <= self.offset < 2**64:
            raise CorruptProfile(
                f"libs: {self.name!r} is at {self.start} to {self.end}, offset {self.offset}"
            )
        known = self.mapped()
        return MappedFile(known.filename, known.build_id, self.start, self.end, self.offset)


@dataclass(frozen=True)
class SymbolTables:
    """The tables of one thread, or those that all threads share."""

    strings: Sequence[str]
    frames: Table
    functions: Table
    resources: Table
    native_symbols: Table
    sources: Table
    libs: Sequence[Lib]


class Symbols:
    """The locations of the frames of a frame table. Raises `CorruptProfile` for references that lead nowhere."""

    def __init__(self, tables: SymbolTables, builder: ProfileBuilder) -> None:
        self._tables = tables
        self._builder = builder
        frames = tables.frames
        self.count = frames.length
        # Newer versions mark with flags what older ones leave null; what their other columns hold is not known then.
        flagged = "flags" in frames
        self._function = frames.integers("func", self.count)
        self._line = frames.integers("line", self.count)
        self._column = frames.integers("column", self.count)
        nothing = np.full(self.count, NULL, np.int64)
        self._address = nothing if flagged else frames.integers("address", self.count)
        native = nothing if flagged else frames.integers("nativeSymbol", self.count)
        functions = tables.functions
        self._functions = functions.length
        refuse_outside(self._function, self._functions, f"{frames.where}.func")
        self._name = functions.integers("name", self._functions)
        refuse_outside(self._name, len(tables.strings), f"{functions.where}.name")
        self._start_line = functions.integers("lineNumber", self._functions)
        self._file = self._files("flags" in functions)
        self._lib = self._libs(native, "flags" in functions)
        self._depth = frames.integers("inlineDepth", self.count)

    @property
    def inlined(self) -> InlineColumns:
        """What tells frames that were inlined."""
        return InlineColumns(self._lib, self._address, self._depth)

    def location(self, frames: tuple[int, ...]) -> int:
        """The number of the location of frames at one address, innermost first."""
        outermost = frames[-1]
        lib, address = int(self._lib[outermost]), int(self._address[outermost])
        mapping = self._builder.mapping(self._tables.libs[lib].mapped()) if lib >= 0 else 0
        lines = tuple(self._line_of(frame) for frame in frames)
        if lib >= 0 and address >= 0 and len(frames) == 1 and _BARE.fullmatch(self._name_of(outermost)):
            lines = ()
        return self._builder.location(lines, mapping, max(address, 0))

    def _name_of(self, frame: int) -> str:
        function = int(self._function[frame])
        name = int(self._name[function]) if function >= 0 else NULL
        return self._tables.strings[name] if name >= 0 else ""

    def _line_of(self, frame: int) -> Line:
        function = int(self._function[frame])
        if function < 0:
            return (self._builder.function(""), 0, 0)
        file = int(self._file[function])
        number = self._builder.function(
            self._name_of(frame),
            self._tables.strings[file] if file >= 0 else "",
            max(int(self._start_line[function]), 0),
        )
        return (number, max(int(self._line[frame]), 0), max(int(self._column[frame]), 0))

    def _files(self, flagged: bool) -> IntArray:
        """The string that names each function's file."""
        functions, sources = self._tables.functions, self._tables.sources
        if flagged:
            return np.full(self._functions, NULL, np.int64)
        if "source" not in functions:
            found = functions.integers("fileName", self._functions)
            refuse_outside(found, len(self._tables.strings), f"{functions.where}.fileName")
            return found
        source = functions.integers("source", self._functions)
        count = sources.length
        refuse_outside(source, count, f"{functions.where}.source")
        names = np.append(sources.integers("filename", count), NULL)
        refuse_outside(names, len(self._tables.strings), f"{sources.where}.filename")
        return names[source]

    def _libs(self, native: IntArray, flagged: bool) -> IntArray:
        """The library of each frame: its native symbol's, or its function's resource's."""
        symbols, resources = self._tables.native_symbols, self._tables.resources
        refuse_outside(native, symbols.length, f"{self._tables.frames.where}.nativeSymbol")
        of_symbol = np.append(symbols.integers("libIndex", symbols.length), NULL)
        refuse_outside(of_symbol, len(self._tables.libs), f"{symbols.where}.libIndex")
        resource = np.full(self._functions, NULL, np.int64)
        if not flagged:
            resource = self._tables.functions.integers("resource", self._functions)
            refuse_outside(resource, resources.length, f"{self._tables.functions.where}.resource")
        of_resource = np.append(resources.integers("lib", resources.length), NULL)
        refuse_outside(of_resource, len(self._tables.libs), f"{resources.where}.lib")
        of_function = np.append(of_resource[resource], NULL)
        return np.where(native >= 0, of_symbol[native], of_function[self._function])
