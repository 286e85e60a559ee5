"""What was collected for a block, laid out: dense numbers, sorted rows; its tries only when they are asked for.

Numbering and sorting take a tenth of what tries take: a question about one part of what came in a moment ago needs
the tries of that part alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema import tables
from ...schema.block import BlockMeta, PartMeta
from ..trie import Ragged
from .numbering import first_rows, flat_array, repeated
from .part_tries import PartTrieBuilder, SymbolTables
from .sample_columns import Collected
from .sample_rows import SeriesFacts, arrange_samples

IntArray = npt.NDArray[np.int64]
Span = tuple[int, int]
"""The first row, and the one after the last."""

TRIES = ("stacks", "stacktraces", "frames")
"""The tables that are built from the tries, in the order in which they are built."""


@dataclass(frozen=True)
class BlockTables:
    """A whole block in memory: its metadata, without files, and its tables by name."""

    meta: BlockMeta
    tables: Mapping[str, pa.Table]

    @property
    def size_bytes(self) -> int:
        """About what is held in memory."""
        return sum(int(table.nbytes) for table in self.tables.values())


@dataclass(frozen=True)
class BlockOrigin:
    """Where a block comes from: the fields of its metadata that its rows do not say."""

    ulid: str
    tenant: str
    level: int = 1
    parents: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    applied: int = 0

    @property
    def block(self) -> int:
        """The constant of the `block` columns: the low 64 bits of the ULID."""
        number = 0
        for letter in self.ulid:
            number = number * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(letter)
        return number & 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True)
class Collection:
    """Batches that were brought together: profiles, which adding brought each, their samples, and their symbols.

    `symbols` may hold more than these refer to.
    """

    profiles: pa.Table
    attempts: IntArray
    samples: Collected
    symbols: Mapping[str, pa.Table]

    @property
    def size_bytes(self) -> int:
        """About what is held in memory beside the symbols."""
        held = [self.profiles, self.attempts, *self.samples.columns()]
        return sum(int(one.nbytes) for one in held)


@dataclass(frozen=True)
class LaidOut:
    """A block without its tries. `meta` lacks where they are; `tables` lacks theirs, and `samples` in it some columns."""

    meta: BlockMeta
    tables: Mapping[str, pa.Table]
    tries: PartTrieBuilder

    @property
    def size_bytes(self) -> int:
        """About what is held in memory."""
        return sum(int(table.nbytes) for table in self.tables.values())

    def samples(self, columns: Sequence[str], rows: tuple[int, int] | None = None) -> pa.Table:
        """Columns of the samples, all rows or a half-open range; what their profiles say too is not kept."""
        stored, profiles = self.tables["samples"], self.tables["profiles"]
        first, last = (0, len(stored)) if rows is None else rows
        stored = stored.slice(first, last - first)
        starts = profiles.column("start").to_numpy().astype(np.int64).clip(first, last)
        counts = np.diff(np.append(starts, last))
        found = {}
        for name in columns:
            if name in stored.column_names:
                found[name] = stored.column(name)
            elif name == "block":
                found[name] = repeated(self.meta.block, len(stored), pa.uint64())
            else:
                found[name] = pa.chunked_array([np.repeat(profiles.column(name).to_numpy(), counts)])
        return pa.table(found)

    def part_tables(self, part: int) -> Mapping[str, pa.Table]:
        """The tables of `TRIES` for one part, as they are stored."""
        built = self.tries.part(part)
        return {
            name: with_block(table, self.meta.block, name) for name, table in zip(TRIES, built, strict=True)
        }

    @cached_property
    def names(self) -> pa.Array:
        """The distinct names of functions, as the tries number them."""
        return (
            self.tables["functions"]
            .column("name")
            .combine_chunks()
            .take(pa.array(self.tries.function_of_name))
        )

    def finish(self) -> BlockTables:
        """The whole block."""
        tries = self.tries.all()
        stored = {name: with_block(getattr(tries, name), self.meta.block, name) for name in TRIES} | dict(
            self.tables
        )
        stored["samples"] = self.samples((*tables.TABLES["samples"].names, *self.meta.sample_extras))
        parts = tuple(
            replace(one, stacktraces=tries.node_spans[one.part], frames=tries.frame_spans[one.part])
            for one in self.meta.parts
        )
        return BlockTables(replace(self.meta, parts=parts), {name: stored[name] for name in tables.TABLES})


def lay_out(collection: Collection, origin: BlockOrigin) -> LaidOut:
    """Number and sort what was collected. Raises `CorruptBlock` when something that is referred to is missing."""
    symbols, samples = collection.symbols, collection.samples
    series = number_series(_used(symbols["series"], collection.profiles.column("series_id")))
    labelsets = symbols["labelsets"]
    if samples.labelset_id is not None:
        labelsets = _used(labelsets, pa.array(samples.labelset_id))
    rows = arrange_samples(collection.profiles, collection.attempts, samples, series, labelsets)
    functions, locations, mappings, symbol_tables = number_symbols(symbols)
    laid_out = {
        "index": index_table(series, rows.series),
        "profiles": rows.profiles,
        "locations": locations,
        "functions": functions,
        "mappings": mappings,
        "labelsets": number_labelsets(labelsets),
    }
    stored = {name: with_block(table, origin.block, name) for name, table in laid_out.items()}
    stored["samples"] = rows.samples
    tries = PartTrieBuilder(rows.part_stacks, symbols["stacks"], symbol_tables)
    spans = {
        "profiles": _spans(np.bincount(rows.profile_part, minlength=len(rows.part_stacks)).tolist()),
        "samples": _spans(rows.part_samples),
        "stacks": _spans([len(one) for one in rows.part_stacks]),
    }
    of_parts = [
        {name: of_part[part] for name, of_part in spans.items()} for part in range(len(rows.part_stacks))
    ]
    extras = [name for name in tables.SAMPLE_EXTRAS.names if name in rows.samples.column_names]
    return LaidOut(describe_block(origin, stored["index"], of_parts, extras), stored, tries)


def _used(table: pa.Table, keys: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The rows whose key, the first column, is among some."""
    return table.filter(pc.is_in(table.column(0), value_set=flat_array(keys.unique())))


def number_series(series: pa.Table) -> pa.Table:
    """Series in stored order with `part`, `series` and `type` added: by service, name, type, then identity."""
    order = [
        ("service_name", "ascending"),
        ("name", "ascending"),
        ("profile_type", "ascending"),
        ("series_id", "ascending"),
    ]
    ordered = series.take(pc.sort_indices(series, sort_keys=order)).combine_chunks()
    types = sorted(set(ordered.column("profile_type").to_pylist()))
    part = _group_numbers(ordered, ("service_name", "name"))
    return (
        ordered.append_column("part", pa.array(part, pa.uint32()))
        .append_column("series", pa.array(np.arange(len(ordered)), pa.uint32()))
        .append_column(
            "type",
            pc.index_in(ordered.column("profile_type"), pa.array(types, pa.string())).cast(pa.uint16()),
        )
    )


def _group_numbers(ordered: pa.Table, columns: Sequence[str]) -> IntArray:
    """0, 1, 2 … for each run of equal values in `columns`."""
    if not len(ordered):
        return np.zeros(0, np.int64)
    changed = np.zeros(len(ordered) - 1, np.bool_)
    for name in columns:
        column = ordered.column(name).combine_chunks()
        changed |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return np.append(0, np.cumsum(changed)).astype(np.int64)


def number_symbols(symbols: Mapping[str, pa.Table]) -> tuple[pa.Table, pa.Table, pa.Table, SymbolTables]:
    """Functions, locations and mappings with dense ids, and what the tries need of them."""
    mappings, locations = symbols["mappings"], symbols["locations"]
    mapping_of = first_rows(mappings.column("mapping_id"), locations.column("mapping_id"))
    display = display_names(locations, mappings, mapping_of)
    functions, function_of = _number_functions(symbols["functions"], display)
    lines = locations.column("lines").combine_chunks()
    line_functions = lines.values.field("function_id")
    function_rows = function_of[
        first_rows(symbols["functions"].column("function_id"), line_functions, strict=True)
    ]
    dense_lines = pa.ListArray.from_arrays(
        lines.offsets,
        pa.StructArray.from_arrays(
            [pa.array(function_rows, pa.uint32()), lines.values.field("line"), lines.values.field("column")],
            ["function", "line", "column"],
        ),
    )
    stored_locations = pa.table(
        {
            "location": pa.array(np.arange(len(locations)), pa.uint32()),
            "location_id": locations.column("location_id"),
            "mapping": pa.array(np.where(mapping_of < 0, 0xFFFFFFFF, mapping_of), pa.uint32()),
            "address": locations.column("address"),
            "is_folded": locations.column("is_folded"),
            "lines": dense_lines,
        }
    )
    stored_mappings = mappings.add_column(0, "mapping", pa.array(np.arange(len(mappings)), pa.uint32()))
    names = Ragged(function_rows, lines.offsets.to_numpy().astype(np.int64))
    return functions, stored_locations, stored_mappings, SymbolTables.of(functions, names, display, locations)


def display_names(locations: pa.Table, mappings: pa.Table, mapping_of: IntArray) -> pa.Array:
    """What a location without lines is called: `[file]`, or `<unknown>`; null for the others."""
    bare = pc.equal(pc.list_value_length(locations.column("lines")), 0).combine_chunks()
    base = pc.replace_substring_regex(mappings.column("filename"), r"^.*/", "").combine_chunks()
    bracketed = pc.binary_join_element_wise("[", base, "]", "")
    named = bracketed.take(pa.array(mapping_of, mask=mapping_of < 0))
    empty = pc.fill_null(pc.equal(named, "[]"), True)
    name = pc.if_else(empty, "<unknown>", named)
    return pc.if_else(bare, name, pa.scalar(None, pa.string()))


def _number_functions(functions: pa.Table, display: pa.Array) -> tuple[pa.Table, IntArray]:
    """Functions sorted by name, synthetic ones for `display` among them; and each input row's dense id."""
    shown = pc.unique(display.drop_null())
    synthetic = pa.table(
        {
            "function_id": pa.array(np.zeros(len(shown), np.uint64)),
            "name": shown,
            "system_name": pa.array([""] * len(shown), pa.string()),
            "filename": pa.array([""] * len(shown), pa.string()),
            "start_line": pa.array(np.zeros(len(shown), np.int64)),
        }
    )
    every = pa.concat_tables([functions, synthetic]).append_column(
        "synthetic", pa.array(np.arange(len(functions) + len(shown)) >= len(functions))
    )
    order = pc.sort_indices(
        every, sort_keys=[("name", "ascending"), ("synthetic", "ascending"), ("function_id", "ascending")]
    )
    dense = np.empty(len(every), np.int64)
    dense[order.to_numpy()] = np.arange(len(every))
    ordered = every.take(order)
    return ordered.add_column(0, "function", pa.array(np.arange(len(every)), pa.uint32())), dense[
        : len(functions)
    ]


def number_labelsets(labelsets: pa.Table) -> pa.Table:
    return labelsets.add_column(0, "labelset", pa.array(np.arange(len(labelsets)), pa.uint32()))


def index_table(series: pa.Table, facts: SeriesFacts) -> pa.Table:
    """The series with their time ranges and counts."""
    table = series.select(["part", "series", "series_id", "type", "service_name", "profile_type", "labels"])
    for name, values in (("min_ts", facts.min_ts), ("max_ts", facts.max_ts)):
        table = table.append_column(name, pa.array(values, pa.int64()))
    for name, values in (("profiles", facts.profiles), ("samples", facts.samples)):
        table = table.append_column(name, pa.array(values, pa.uint64()))
    return table


def with_block(table: pa.Table, block: int, name: str) -> pa.Table:
    """The table in its stored schema, with the block's constant in front."""
    constant = repeated(block, len(table), pa.uint64())
    schema = tables.TABLES[name]
    return table.add_column(0, "block", constant).select(schema.names).cast(schema)


def describe_block(
    origin: BlockOrigin, index: pa.Table, spans: Sequence[Mapping[str, Span]], extras: Sequence[str]
) -> BlockMeta:
    """The metadata of a block, without files. `spans` are the rows of each part in the tables that have parts."""
    parts = tuple(_describe_part(part, index, of_part) for part, of_part in enumerate(spans))
    return BlockMeta(
        ulid=origin.ulid,
        tenant=origin.tenant,
        level=origin.level,
        block=origin.block,
        min_ts=min((part.min_ts for part in parts), default=0),
        max_ts=max((part.max_ts for part in parts), default=0),
        profiles=parts[-1].profiles[1] if parts else 0,
        samples=parts[-1].samples[1] if parts else 0,
        series=len(index),
        parts=parts,
        files={},
        parents=origin.parents,
        sources=origin.sources,
        sample_extras=tuple(extras),
        applied=origin.applied,
    )


def _describe_part(part: int, index: pa.Table, spans: Mapping[str, Span]) -> PartMeta:
    first, last = np.searchsorted(index.column("part").to_numpy(), [part, part + 1]).tolist()
    series = index.slice(first, last - first)
    name = dict(series.column("labels")[0].as_py())["__name__"]
    return PartMeta(
        part=part,
        service_name=series.column("service_name")[0].as_py(),
        name=name,
        profile_types=tuple(dict.fromkeys(series.column("profile_type").to_pylist())),
        min_ts=pc.min(series.column("min_ts")).as_py() or 0,
        max_ts=pc.max(series.column("max_ts")).as_py() or 0,
        profiles=spans["profiles"],
        samples=spans["samples"],
        stacks=spans["stacks"],
        stacktraces=spans.get("stacktraces", (0, 0)),
        frames=spans.get("frames", (0, 0)),
        series=(first, last),
    )


def _spans(lengths: Sequence[int]) -> Sequence[Span]:
    """The rows of each of some pieces of a table."""
    return list(pairwise(np.cumsum([0, *lengths]).tolist()))
