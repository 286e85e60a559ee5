"""Blocks merged part by part into files: memory holds the symbols of all, and one part's profiles and stacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema import tables
from ...schema.block import BlockMeta
from ...schema.errors import Unavailable
from ...schema.profile import NormalisedBatch
from ..query.in_use import same_hidden
from ..query.opened import OpenBlock
from ..query.visible import VisibleBlock
from ..storage.builder import CollectedSymbols
from ..storage.layout import (
    TRIES,
    BlockOrigin,
    Span,
    describe_block,
    index_table,
    number_labelsets,
    number_series,
    number_symbols,
    with_block,
)
from ..storage.numbering import first_rows, known_rows, repeated
from ..storage.part_tries import trie_tables
from ..storage.sample_rows import SeriesFacts
from ..storage.table_files import TableWriter
from ..trie import offsets_of
from .ahead import AheadBlock, one_ahead
from .part import PartInput, PartMerge
from .rollup import write_rollups
from .unpack import unpack_symbols, unpack_used_symbols

IntArray = npt.NDArray[np.int64]

_BY_PART = ("profiles", "samples", "stacks", "stacktraces", "frames")


def merge_into(directory: Path, blocks: Sequence[OpenBlock], origin: BlockOrigin) -> BlockMeta:
    """One block with the visible profiles of all, copies dropped, as files in a directory; returns its metadata.

    Raises `CorruptBlock` when something does not add up, or two things have one hash, and `Unavailable` when the disk
    does not take it.
    """
    merge = _BlockMerge(blocks, origin)
    try:
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(TableWriter(str(directory / f"{name}.parquet"), name, schema))
                for name, schema in merge.schemas.items()
            }
            for number, part in enumerate(one_ahead(merge.parts())):
                merge.write_part(number, part, writers)
            meta = merge.finish(writers)
        return write_rollups(directory, meta) if origin.level else meta
    except OSError as error:
        raise Unavailable(f"{directory}: {error.strerror or error}") from None


def _symbols(block: OpenBlock) -> NormalisedBatch:
    """What the visible profiles of a block use."""
    if isinstance(block, VisibleBlock):
        return unpack_used_symbols(block)
    # Opened anew, since an open block keeps what it was asked for, and all of them are needed to the end.
    return unpack_symbols(OpenBlock(block.block))


def _ahead(block: OpenBlock) -> OpenBlock:
    """The block, to be read once from its beginning to its end."""
    ahead = OpenBlock(AheadBlock(block.block))
    return same_hidden(ahead, block) if isinstance(block, VisibleBlock) else ahead


@dataclass(frozen=True)
class _Written:
    """The rows of one part in each table, and its profiles."""

    spans: Mapping[str, Span]
    series: IntArray
    ts: IntArray
    n: IntArray


class _BlockMerge:
    """What all parts need, and what was written so far."""

    def __init__(self, blocks: Sequence[OpenBlock], origin: BlockOrigin) -> None:
        self._origin = origin
        collected = CollectedSymbols()
        for symbols in one_ahead(map(_symbols, blocks)):
            collected.add(symbols)
        found = collected.tables()
        self._series = number_series(found["series"])
        self._part_of_series = self._series.column("part").to_numpy().astype(np.int64)
        functions, locations, mappings, self._symbols = number_symbols(found)
        labelsets = number_labelsets(found["labelsets"])
        self._shared = {
            "locations": locations,
            "functions": functions,
            "mappings": mappings,
            "labelsets": labelsets,
        }
        ahead = [_ahead(block) for block in blocks]
        self._inputs = self._inputs_by_part(ahead, labelsets)
        self._extras = tuple(
            name
            for name in tables.SAMPLE_EXTRAS.names
            if any(name in block.meta.sample_extras for block in blocks)
            and (name != "labelset" or len(labelsets))
        )
        self._written: list[_Written] = []

    def _inputs_by_part(self, blocks: Sequence[OpenBlock], labelsets: pa.Table) -> list[list[PartInput]]:
        inputs: list[list[PartInput]] = [[] for _ in range(int(self._part_of_series.max(initial=-1)) + 1)]
        for block in blocks:
            # What only hidden profiles use has no number.
            strict = not isinstance(block, VisibleBlock)
            series = first_rows(
                self._series.column("series_id"), pa.array(block.index.series_id), strict=strict
            )
            known = block.block.table("labelsets", ["labelset_id"]).column("labelset_id")
            labelset = first_rows(labelsets.column("labelset_id"), known, strict=strict)
            found = block.block.table("locations", ["location_id"]).column("location_id")
            ids = self._symbols.location_ids
            location = known_rows(ids, found) if strict else first_rows(ids, found)
            for part in block.meta.parts:
                of_part = series[slice(*part.series)]
                if (of_part >= 0).any():
                    number = int(self._part_of_series[of_part.max()])
                    inputs[number].append(PartInput(block, part.part, series, labelset, location))
        return inputs

    @property
    def schemas(self) -> Mapping[str, pa.Schema]:
        """The tables of the merged block."""
        extras = [tables.SAMPLE_EXTRAS.field(extra) for extra in self._extras]
        schemas = tables.TABLES | {"samples": pa.schema([*tables.SAMPLES, *extras])}
        if not len(self._shared["labelsets"]):
            del schemas["labelsets"]
        return schemas

    def parts(self) -> Iterator[PartMerge]:
        """The parts in order, each with what is to be known before its samples are merged."""
        location_ids = self._symbols.location_ids.to_numpy()
        for inputs in self._inputs:
            yield PartMerge(inputs, self._extras, location_ids)

    def write_part(self, number: int, merge: PartMerge, writers: Mapping[str, TableWriter]) -> None:
        """Merge and write one part; the ones before were written."""
        before = {name: writers[name].rows for name in _BY_PART}
        writers["samples"].write_part(self._samples(number, merge), merge.most_samples)
        for name, table in self._other_tables(number, merge, before["samples"]).items():
            writers[name].write_part([table], len(table))
        spans = {name: (before[name], writers[name].rows) for name in _BY_PART}
        self._written.append(_Written(spans, merge.series, merge.ts, merge.samples_of_profiles))

    def _samples(self, number: int, merge: PartMerge) -> Iterator[pa.Table]:
        schema = self.schemas["samples"]
        for piece in one_ahead(merge.pieces()):
            profile = piece.column("profile").to_numpy()
            rows = len(piece)
            columns = {
                "block": repeated(self._origin.block, rows, pa.uint64()),
                "part": repeated(number, rows, pa.uint32()),
                "series": pa.array(merge.series.astype(np.uint32)[profile]),
                "ts": pa.array(merge.ts[profile]),
            }
            columns |= {name: piece.column(name) for name in ("stack", "value", *self._extras)}
            yield pa.table(columns).cast(schema)

    def _other_tables(self, number: int, merge: PartMerge, first_sample: int) -> dict[str, pa.Table]:
        """What is written of a part beside its samples, which were before."""
        numbers = {
            "block": np.full(len(merge.ts), self._origin.block, np.uint64),
            "part": np.full(len(merge.ts), number),
            "series": merge.series,
            "start": first_sample + offsets_of(merge.samples_of_profiles)[:-1],
            "n": merge.samples_of_profiles,
        }
        profiles = merge.profiles()
        for name, values in numbers.items():
            at = profiles.schema.get_field_index(name)
            field = profiles.schema.field(at)
            profiles = profiles.set_column(at, field, pa.array(values, field.type))
        tries = trie_tables(number, merge.trie, merge.node_of_stack, merge.stack_ids, self._symbols)
        return {"profiles": profiles} | {
            name: with_block(table, self._origin.block, name)
            for name, table in zip(TRIES, tries, strict=True)
        }

    def finish(self, writers: Mapping[str, TableWriter]) -> BlockMeta:
        """Write what is not divided into parts; returns the metadata."""
        series, ts, n = (
            np.concatenate([np.zeros(0, np.int64), *(getattr(one, name) for one in self._written)])
            for name in ("series", "ts", "n")
        )
        index = index_table(self._series, SeriesFacts.of(len(self._series), series, ts, n))
        for name, table in {"index": index, **self._shared}.items():
            if name in writers:
                writers[name].write_part([with_block(table, self._origin.block, name)], len(table))
        return describe_block(self._origin, index, [one.spans for one in self._written], self._extras)
