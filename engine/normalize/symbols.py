"""Strings, functions, mappings and locations of a decoded batch, by content hash."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema import identity, profile
from ...schema.errors import CorruptBlock
from .columns import BoolArray, Column, Ids, IntArray, U64Array, chain, first_seen, refuse

_WITH_LINES, _BY_BUILD_ID, _BY_FILE, _BY_SERVICE = range(1, 5)


class Strings:
    """The string tables of a batch: each distinct string once, with its hash.

    `replaced` marks the profiles in which invalid UTF-8 became U+FFFD.
    """

    def __init__(self, batch: pa.RecordBatch, tail_bytes: int = 0) -> None:
        column = Column.of(batch, "string_table")
        encoded = column.values.dictionary_encode()
        self._offsets = column.offsets
        self._code = encoded.indices.to_numpy().astype(np.int64)
        refuse(column.lengths == 0, np.arange(len(column.lengths)), "string_table is empty")
        first = encoded.dictionary.take(pa.array(self._code[column.offsets[:-1]]))
        refuse(pc.not_equal(first, b"").to_numpy(zero_copy_only=False), np.arange(len(first)), "string_table[0] is not empty")
        self.text, bad = _texts(encoded.dictionary, tail_bytes)
        self.replaced = np.unique(column.owner[bad[self._code]])
        self.hash = identity.hash_texts(self.text)

    def codes(self, index: npt.NDArray[np.generic], owner: IntArray, field: str) -> IntArray:
        """The number of each string, from indices into the tables of the profiles `owner`."""
        index = index.astype(np.int64)
        size = np.diff(self._offsets)[owner]
        refuse((index < 0) | (index >= size), owner, f"{field} is outside of string_table")
        return self._code[index + self._offsets[owner]]

    def rewrite(self, used: IntArray, pattern: str, change: re.Pattern[str]) -> IntArray:
        """Numbers like `used`, of texts changed where RE2 `pattern` is found; new texts are added."""
        distinct = np.unique(used)
        texts = self.text.take(pa.array(distinct))
        hit = distinct[pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)]
        if not len(hit):
            return used
        changed = pa.array([change.sub("", text) for text in self.text.take(pa.array(hit)).to_pylist()], pa.string())
        new = np.arange(len(self.text), len(self.text) + len(hit))
        self.text = pa.concat_arrays([self.text, changed])
        self.hash = np.append(self.hash, identity.hash_texts(changed))
        mapping = np.arange(len(self.text))
        mapping[hit] = new
        return mapping[used]


def _texts(binary: pa.Array, tail_bytes: int) -> tuple[pa.Array, BoolArray]:
    """Valid text for each byte string, and which were not valid; with `tail_bytes` longer ones lose their heads."""
    invalid = np.zeros(len(binary), np.bool_)
    try:
        text = binary.cast(pa.string())
    except pa.ArrowInvalid:
        decoded = [value.decode("utf-8", "replace") for value in binary.to_pylist()]
        invalid = np.array([d.encode() != b for d, b in zip(decoded, binary.to_pylist(), strict=True)], np.bool_)
        text = pa.array(decoded, pa.string())
    if tail_bytes and (pc.max(pc.binary_length(text)).as_py() or 0) > tail_bytes:
        cut = [value.encode()[-tail_bytes:].decode("utf-8", "ignore") for value in text.to_pylist()]
        text = pa.array(cut, pa.string())
    return text, invalid


@dataclass(frozen=True)
class Symbols:
    """Content-keyed symbol tables of a batch, and the hash of every location row."""

    functions: pa.Table
    mappings: pa.Table
    locations: pa.Table
    location_hash: U64Array
    location_ids: Ids
    mapping_hash: U64Array


@dataclass(frozen=True)
class _Keyed:
    """Rows of one kind with their content hashes; `codes` are their strings."""

    column: Column
    hash: U64Array
    codes: dict[str, IntArray]


GO_SHAPE = r"\[go\.shape\."
_GO_SHAPE_BLOCK = re.compile(r"\[go\.shape\.(?:[^\[\]]|\[[^\[\]]*\])*\]")


def read_symbols(batch: pa.RecordBatch, strings: Strings, services: U64Array, fix_go: bool) -> Symbols:
    """The symbols of a batch; `services` is the hash of each profile's service name."""
    functions = _functions(batch, strings, fix_go)
    mappings = _mappings(batch, strings)
    function_table = _function_table(functions, strings)
    mapping_table, mapping_rows = _mapping_table(mappings, strings)
    locations, location_hash, ids = _locations(batch, functions, mappings, _Names(strings.hash, services))
    return Symbols(function_table, mapping_table, locations, location_hash, ids, mappings.hash)


def _functions(batch: pa.RecordBatch, strings: Strings, fix_go: bool) -> _Keyed:
    column = Column.of(batch, "function")
    owner = column.owner
    codes = {
        name: strings.codes(column.field(name), owner, f"function.{name}")
        for name in ("name", "system_name", "filename")
    }
    if fix_go:
        codes["name"] = strings.rewrite(codes["name"], GO_SHAPE, _GO_SHAPE_BLOCK)
    start_line = column.field("start_line").astype(np.uint64)
    return _Keyed(column, identity.combine(*(strings.hash[code] for code in codes.values()), start_line), codes)


def _function_table(functions: _Keyed, strings: Strings) -> pa.Table:
    rows = first_seen(functions.hash)
    _require_same(functions.hash, rows, [*functions.codes.values(), functions.column.field("start_line")], "function")
    texts = [strings.text.take(pa.array(code[rows])) for code in functions.codes.values()]
    start_line = functions.column.field("start_line")[rows]
    return pa.table([functions.hash[rows], *texts, start_line], schema=profile.FUNCTIONS)


_MAPPING_NUMBERS = ("memory_start", "memory_limit", "file_offset")
_MAPPING_FLAGS = ("has_functions", "has_filenames", "has_line_numbers", "has_inline_frames")


def _mappings(batch: pa.RecordBatch, strings: Strings) -> _Keyed:
    column = Column.of(batch, "mapping")
    codes = {name: strings.codes(column.field(name), column.owner, f"mapping.{name}") for name in ("filename", "build_id")}
    numbers = [column.field(name).astype(np.uint64) for name in _MAPPING_NUMBERS]
    flags = np.zeros(len(column.values), np.uint64)
    for bit, name in enumerate(_MAPPING_FLAGS):
        flags |= column.field(name).astype(np.uint64) << np.uint64(bit)
    return _Keyed(column, identity.combine(*(strings.hash[code] for code in codes.values()), *numbers, flags), codes)


def _mapping_table(mappings: _Keyed, strings: Strings) -> tuple[pa.Table, IntArray]:
    rows = first_seen(mappings.hash)
    texts = [strings.text.take(pa.array(code[rows])) for code in mappings.codes.values()]
    others = [pa.array(mappings.column.field(name)[rows]) for name in (*_MAPPING_NUMBERS, *_MAPPING_FLAGS)]
    return pa.table([mappings.hash[rows], *texts, *others], schema=profile.MAPPINGS), rows


@dataclass(frozen=True)
class _Names:
    """Hashes of strings by number, and of each profile's service name."""

    string_hash: U64Array
    service_hash: U64Array


def _locations(
    batch: pa.RecordBatch, functions: _Keyed, mappings: _Keyed, names: _Names
) -> tuple[pa.Table, U64Array, Ids]:
    column = Column.of(batch, "location")
    owner = column.owner
    lines = Column.nested(column.values.field("line"))
    line_owner = owner[lines.owner] if len(owner) else lines.owner
    function_row = Ids(functions.column, "function").rows(lines.field("function_id").astype(np.uint64), line_owner)
    refuse(function_row < 0, line_owner, "location.line.function_id points at no function")
    line_function = functions.hash[function_row]
    line_hash = identity.combine(
        line_function, lines.field("line").astype(np.uint64), lines.field("column").astype(np.uint64)
    )
    mapping_row = Ids(mappings.column, "mapping").rows(column.field("mapping_id").astype(np.uint64), owner)
    bare = lines.lengths == 0
    hashes = _lined_hash(column, mappings, mapping_row, names, chain(line_hash, lines.offsets[:-1], lines.lengths, 1))
    if bare.any():
        hashes[bare] = _bare_hash(column, mappings, mapping_row, names, owner)[bare]
    rows = first_seen(hashes)
    table = _location_table(column, rows, hashes, np.where(mapping_row < 0, np.uint64(0), np.append(mappings.hash, np.uint64(0))[mapping_row]), (lines, line_function))
    _require_same(hashes, rows, [lines.lengths], "location")
    return table, hashes, Ids(column, "location")


def _lined_hash(column: Column, mappings: _Keyed, mapping_row: IntArray, names: _Names, lines: U64Array) -> U64Array:
    """Identity of locations with lines: the mapping's file, is_folded, the lines."""
    file = np.append(names.string_hash[mappings.codes["filename"]], np.uint64(0))[mapping_row]
    kind = np.full(len(lines), _WITH_LINES, np.uint64)
    return identity.combine(kind, file, column.field("is_folded").astype(np.uint64), lines)


def _bare_hash(column: Column, mappings: _Keyed, mapping_row: IntArray, names: _Names, owner: IntArray) -> U64Array:
    """Identity of locations without lines: build id, or file, or service; and the address inside the file."""
    file_code = np.append(mappings.codes["filename"], -1)[mapping_row]
    build_code = np.append(mappings.codes["build_id"], -1)[mapping_row]
    hashes = np.append(names.string_hash, np.uint64(0))
    empty = np.uint64(identity.hash_text(b""))
    has_build = (build_code >= 0) & (hashes[build_code] != empty)
    has_file = (file_code >= 0) & (hashes[file_code] != empty)
    kind = np.where(has_build, _BY_BUILD_ID, np.where(has_file, _BY_FILE, _BY_SERVICE)).astype(np.uint64)
    base = np.where(has_build, hashes[build_code], np.where(has_file, hashes[file_code], names.service_hash[owner]))
    shift = np.append(
        mappings.column.field("memory_start").astype(np.uint64) - mappings.column.field("file_offset").astype(np.uint64),
        np.uint64(0),
    )[mapping_row]
    address = column.field("address").astype(np.uint64) - shift
    return identity.combine(kind, base, address, column.field("is_folded").astype(np.uint64))


def _location_table(
    column: Column, rows: IntArray, hashes: U64Array, mapping: U64Array, lines: tuple[Column, U64Array]
) -> pa.Table:
    line_column, line_function = lines
    starts, lengths = line_column.offsets[rows], line_column.lengths[rows]
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    items = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    fields = [line_function[items], line_column.field("line")[items], line_column.field("column")[items]]
    struct = pa.StructArray.from_arrays([pa.array(values) for values in fields], ["function_id", "line", "column"])
    return pa.table(
        [
            hashes[rows],
            mapping[rows],
            column.field("address")[rows],
            pa.array(column.field("is_folded")[rows]),
            pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), struct),
        ],
        schema=profile.LOCATIONS,
    )


def _require_same(hashes: U64Array, rows: IntArray, columns: list[npt.NDArray[np.generic]], what: str) -> None:
    """Every row equals the first row of its hash in all columns. Raises `CorruptBlock`."""
    if len(rows) == len(hashes):
        return
    order = np.argsort(hashes[rows])
    leader = rows[order][np.searchsorted(hashes[rows][order], hashes)]
    for column in columns:
        if (column != column[leader]).any():
            row = int(np.flatnonzero(column != column[leader])[0])
            raise CorruptBlock(f"hash collision: two {what}s have the hash {int(hashes[row]):#x}")
