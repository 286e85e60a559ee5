"""The profiles of an OTLP request as decoded batches, many a batch, each with only the symbols that it uses.

All is done in passes over whole columns: what a profile uses is a list of pairs (profile, entry of a table), each
once, and its own numbering is the place of a pair among those of its profile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...schema import profile
from ..trie import Ragged
from . import Decoded, Input, Row
from .names import name_reader
from .otlp_meaning import Meaning
from .otlp_pairs import Pairs
from .otlp_samples import LabelSource, Rows, rows_of
from .otlp_strings import Budget
from .otlp_symbols import UsedSymbols, symbol_tables
from .otlp_tables import Dictionary, IntArray, Piece, SampleTable, check_indices
from .otlp_texts import Texts
from .profile_columns import LabelColumns, ValueType, kind_of, list_column

GROUP_FRAMES = 1 << 21
GROUP_PROFILES = 512
"""What one batch holds at most, unless one sample has more: frames of its samples, and profiles."""


@dataclass(frozen=True)
class _Group:
    """Rows `first` to `last` with their samples from `start` to `stop`; `continues` says the first began before."""

    first: int
    last: int
    start: int
    stop: int
    continues: bool


class BatchMaker:
    """Makes decoded batches of the pieces of one request, which is input number `number`."""

    def __init__(self, number: int, one: Input, dictionary: Dictionary, budget: Budget) -> None:
        """Raises `CorruptProfile`."""
        pushed = one.rules == "pyroscope"
        self._number = number
        self._input = one
        self._dictionary = dictionary
        self._texts = Texts(dictionary.strings, name_reader(one))
        self._labels = LabelSource(dictionary, self._texts, pushed)
        self._symbols = symbol_tables(dictionary, self._texts, pushed)
        self._budget = budget

    def batches(self, piece: Piece) -> Iterator[Decoded]:
        """The profiles of a piece. Raises `CorruptProfile`, and `LimitExceeded` when they mean too much."""
        rows = rows_of(piece, self._dictionary, self._input, self._budget)
        stacks = self._symbols.stacks
        check_indices(rows.samples.stack, len(stacks.offsets) - 1, "sample.stack_index", "stack_table")
        depth = stacks.lengths[rows.samples.stack]
        self._budget.spend(int(depth.sum()))
        for group in _groups(rows.samples, depth, len(rows.meanings)):
            meant = [
                Row(self._number, rows.meanings[row].name, rows.meanings[row].labels, rows.parts[row])
                for row in range(group.first, group.last)
            ]
            continues = group.continues or (piece.continues and group.first == 0)
            yield Decoded(self._batch(rows, group), meant, continues)

    def _batch(self, rows: Rows, group: _Group) -> pa.RecordBatch:
        count = group.last - group.first
        chosen = np.arange(group.start, group.stop)
        samples = rows.samples.take(chosen, rows.samples.profile[chosen] - group.first)
        used = UsedSymbols.of(self._symbols, samples.profile, samples.stack, count)
        labels = self._labels.labels(samples)
        said = _Said(rows.meanings[group.first : group.last], self._texts)
        texts = _TextUse(self._texts, count)
        for column in used.function_texts():
            texts.add(used.functions.owner, column)
        for column in used.mapping_texts():
            texts.add(used.mappings.owner, column)
        labelled = np.repeat(samples.profile, np.diff(labels.offsets))
        for column in (labels.key, labels.text, labels.unit):
            texts.add(labelled, column)
        for owner, column in said.texts():
            texts.add(owner, column)
        table, offsets, (name, system, file, mapping_file, build_id, key, text, unit, *header) = (
            texts.finish()
        )
        self._budget.spend(used.line_count + int(pc.sum(pc.binary_length(table)).as_py() or 0))
        lists = {
            "sample": (
                np.searchsorted(samples.profile, np.arange(count + 1)),
                _samples(
                    used.sample_locations,
                    rows.values[chosen],
                    LabelColumns(labels.offsets, key, text, labels.number, unit),
                ),
            ),
            "mapping": (used.mappings.offsets, used.mapping_column([mapping_file, build_id])),
            "location": (used.locations.offsets, used.location_column()),
            "function": (used.functions.offsets, used.function_column([name, system, file])),
            "string_table": (offsets, table),
        }
        arrays = said.columns(header) | {name: list_column(*parts) for name, parts in lists.items()}
        return pa.RecordBatch.from_arrays(
            [arrays[one.name].cast(one.type) for one in profile.DECODED], schema=profile.DECODED
        )


def _groups(samples: SampleTable, depth: IntArray, rows: int) -> Iterator[_Group]:
    """Rows in groups of bounded size; a row that is larger by itself comes in several."""
    bounds = np.searchsorted(samples.profile, np.arange(rows + 1)).tolist()
    frames = np.append(0, np.cumsum(depth))
    first = 0
    while first < rows:
        last = int(np.searchsorted(frames[bounds], frames[bounds[first]] + GROUP_FRAMES, side="right")) - 1
        last = min(max(last, first + 1), first + GROUP_PROFILES, rows)
        if last > first + 1 or frames[bounds[last]] - frames[bounds[first]] <= GROUP_FRAMES:
            yield _Group(first, last, bounds[first], bounds[last], False)
        else:
            yield from _slices(first, bounds[first], bounds[last], frames)
        first = last


def _slices(row: int, first: int, last: int, frames: IntArray) -> Iterator[_Group]:
    """One row in several groups."""
    start = first
    while start < last:
        stop = int(np.searchsorted(frames, frames[start] + GROUP_FRAMES, side="right")) - 1
        stop = min(max(stop, start + 1), last)
        yield _Group(row, row + 1, start, stop, start > first)
        start = stop


class _TextUse:
    """Which texts each profile uses, column by column, until all are known and each profile gets its own table."""

    def __init__(self, texts: Texts, profiles: int) -> None:
        self._texts = texts
        self._profiles = profiles
        # Text 0, which is empty, is the first of each table.
        self._owners = [np.arange(profiles)]
        self._columns = [np.zeros(profiles, np.int64)]

    def add(self, owner: IntArray, column: IntArray) -> None:
        """A column of texts, and whose they are."""
        self._owners.append(owner)
        self._columns.append(column)

    def finish(self) -> tuple[pa.Array, IntArray, list[IntArray]]:
        """The tables end to end, their offsets, and each column with the numbers that texts have in them."""
        owner, column = np.concatenate(self._owners), np.concatenate(self._columns)
        pairs = Pairs.of(owner, column, self._profiles, len(self._texts))
        ends = np.cumsum([len(one) for one in self._columns])
        return (
            self._texts.all().take(pa.array(pairs.entry)),
            pairs.offsets,
            np.split(pairs.places, ends)[1:-1],
        )


class _Said:
    """What profiles say once, as columns."""

    def __init__(self, meanings: Sequence[Meaning], texts: Texts) -> None:
        self._meanings = meanings
        headers = [meaning.header for meaning in meanings]
        number = texts.number
        self._types = [number(text) for one in headers for text in _only(one.sample_types)]
        self._period = [number(text) for one in headers for text in one.period_type]
        self._single = [
            [number(text) for text in column]
            for column in (
                [one.default_sample_type for one in headers],
                [one.drop_frames for one in meanings],
                [one.keep_frames for one in meanings],
                [one.doc_url for one in meanings],
            )
        ]
        self._comments = [number(text) for one in headers for text in one.comments]
        self._comment_counts = [len(one.comments) for one in headers]

    def texts(self) -> Iterator[tuple[IntArray, IntArray]]:
        """The columns of texts, and whose they are."""
        each = np.arange(len(self._meanings))
        for column in (self._types, self._period):
            yield np.repeat(each, 2), np.array(column, np.int64)
        for column in self._single:
            yield each, np.array(column, np.int64)
        yield np.repeat(each, self._comment_counts), np.array(self._comments, np.int64)

    def columns(self, numbers: Sequence[IntArray]) -> dict[str, pa.Array]:
        """The columns of a batch, given what `texts` gave as numbers of the profiles' own tables."""
        types, period, default, drop, keep, url, comments = numbers
        count = len(self._meanings)
        headers = [meaning.header for meaning in self._meanings]
        no_period = np.array([one.period_type == ("", "") for one in headers], np.bool_)
        return {
            "sample_type": list_column(np.arange(count + 1), _value_types(types, "sample_type")),
            "period_type": pa.StructArray.from_arrays(
                [pa.array(period[0::2]), pa.array(period[1::2])], ["type", "unit"], mask=pa.array(no_period)
            ),
            "comment": list_column(np.append(0, np.cumsum(self._comment_counts)), pa.array(comments)),
            "default_sample_type": pa.array(default),
            "drop_frames": pa.array(drop),
            "keep_frames": pa.array(keep),
            "doc_url": pa.array(url),
            "time_nanos": pa.array([one.time_ns for one in headers], pa.int64()),
            "duration_nanos": pa.array([one.duration_ns for one in headers], pa.int64()),
            "period": pa.array([one.period for one in headers], pa.int64()),
        }


def _only(types: Sequence[ValueType]) -> ValueType:
    (kind,) = types
    return kind


def _value_types(numbers: IntArray, field: str) -> pa.Array:
    columns = [pa.array(numbers[0::2]), pa.array(numbers[1::2])]
    return pa.StructArray.from_arrays(columns, fields=list(kind_of(field)))


def _samples(locations: Ragged, values: IntArray, labels: LabelColumns) -> pa.Array:
    kind = kind_of("sample")
    label_kind = kind.field("label").type.value_type
    columns = [pa.array(column) for column in (labels.key, labels.text, labels.number, labels.unit)]
    lists = [
        list_column(locations.offsets, pa.array(locations.values.view(np.uint64))),
        list_column(np.arange(len(values) + 1), pa.array(values)),
        list_column(labels.offsets, pa.StructArray.from_arrays(columns, fields=list(label_kind))),
    ]
    return pa.StructArray.from_arrays(lists, fields=list(kind))
