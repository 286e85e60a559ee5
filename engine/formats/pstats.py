"""What cProfile, profile and `profiling.sampling --pstats` dump: for each function its calls, its time, its callers.

The file is a marshalled dictionary, `(file, line, name)` to `(primitive calls, calls, own time, total time, callers)`,
where `callers` maps such a function to `(calls, primitive calls, own time, total time)`, or to the calls alone. It
holds edges and no stacks. So a sample is a function called by one of its callers, with the function's own time under
that caller; what no caller accounts for is the function's alone. Own times are exact, and so is their sum; the total
time of a function is not: a caller is seen with the own times of those it calls, and nothing below.

Source: CPython's Lib/pstats.py, Modules/_lsprof.c and Lib/profiling/sampling/pstats_collector.py.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ...schema.errors import CorruptProfile
from ..trie import offsets_of
from . import Decoded, Failed, Input, Row, one_by_one
from .marshal_values import FLAG_REFERENCE, MarshalReader, Value
from .names import NameReader, name_reader
from .profile_columns import FunctionColumns, LocationColumns, ProfileColumns, ProfileHeader, SampleColumns
from .seconds import exact_ns

PIECE_SAMPLES = 250_000

_NAME = "wall"
_WALL = ("wall", "nanoseconds")
_TRACED = ProfileHeader((("calls", "count"), _WALL), default_sample_type="wall")
_SAMPLED = ProfileHeader((("samples", "count"), _WALL), default_sample_type="wall")
_SAMPLED_MARK = b"__sampled__"
_MARK_BYTES = 64
_MOST_TOTAL = 2.0**62

Function = tuple[str, int, str]


@dataclass(frozen=True)
class Entry:
    """What is known of a function; a caller without times has the calls alone."""

    function: Function
    primitive_calls: int
    calls: int
    own_s: float
    callers: Sequence[tuple[Function, int, float]]


class Pstats:
    """A dump of Python's profilers."""

    name = "pstats"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it begins with a dictionary whose first key is a function."""
        if len(head) < 2 or head[0] & ~FLAG_REFERENCE != ord("{") or head[1] & ~FLAG_REFERENCE not in b"()":
            return False
        reader = MarshalReader(head)
        try:
            reader.begin_dict()
            _function(reader.value(), reader)
        except CorruptProfile:
            return False
        return True

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile."""
        return one_by_one(inputs, _pieces)


def _pieces(number: int, one: Input) -> Iterator[Decoded]:
    is_sampled = _SAMPLED_MARK in one.raw[-_MARK_BYTES:]
    calls = _Calls(is_sampled)
    more = False
    for entry in read_entries(one.raw):
        if is_sampled:
            calls.add_sampled(entry)
        else:
            calls.add_traced(entry)
        if len(calls) >= PIECE_SAMPLES:
            yield Decoded(calls.to_batch(name_reader(one)), [Row(number, _NAME)], more)
            more = True
    yield Decoded(calls.to_batch(name_reader(one)), [Row(number, _NAME)], more)


def read_entries(raw: bytes) -> Iterator[Entry]:
    """The functions of a dump, in its order. Raises `CorruptProfile` naming the byte."""
    reader = MarshalReader(raw)
    reader.begin_dict()
    while not reader.ends_dict():
        key = reader.value()
        if key == (_SAMPLED_MARK.decode(),):
            reader.value()
            continue
        function = _function(key, reader)
        primitive_calls, calls, own_s, _ = reader.numbers(5) or _slowly(reader)
        yield Entry(function, primitive_calls, calls, own_s, list(_callers(reader)))


def _slowly(reader: MarshalReader) -> tuple[int, int, float, float]:
    if (size := reader.begin_tuple()) != 5:
        raise CorruptProfile(f"byte {reader.at}: a function has {size} values; expected 5")
    calls = [_count(reader.value(0), reader) for _ in range(2)]
    times = [_seconds(reader.value(0), reader) for _ in range(2)]
    return calls[0], calls[1], times[0], times[1]


def _callers(reader: MarshalReader) -> Iterator[tuple[Function, int, float]]:
    reader.begin_dict()
    while not reader.ends_dict():
        caller = _function(reader.value(), reader)
        known: Value = reader.numbers(4) or reader.value()
        if isinstance(known, tuple) and len(known) == 4:
            yield caller, _count(known[0], reader), _seconds(known[2], reader)
        else:
            yield caller, _count(known, reader), 0.0


def _function(key: Value, reader: MarshalReader) -> Function:
    if isinstance(key, tuple) and len(key) == 3:
        filename, line, name = key
        if isinstance(filename, str) and isinstance(line, int) and isinstance(name, str):
            return filename, line, name
    raise CorruptProfile(f"byte {reader.at}: {str(key)[:60]!r} is not a file, a line and a name")


def _count(value: Value, reader: MarshalReader) -> int:
    if not isinstance(value, int):
        raise CorruptProfile(f"byte {reader.at}: {str(value)[:60]!r} is not a number of calls")
    return value


def _seconds(value: Value, reader: MarshalReader) -> float:
    if not isinstance(value, int | float):
        raise CorruptProfile(f"byte {reader.at}: {str(value)[:60]!r} is not a time")
    return float(value)


class _Calls:
    """Samples as columns: a function, perhaps a caller, how many calls (or samples), how much own time."""

    def __init__(self, is_sampled: bool) -> None:
        self._is_sampled = is_sampled
        self._known: dict[Function, int] = {}
        self._columns = tuple(array("q") for _ in range(4))

    def __len__(self) -> int:
        return len(self._columns[0])

    def add_traced(self, entry: Entry) -> None:
        """The function under each of its callers, and alone with the rest."""
        own_ns = exact_ns(entry.own_s, f"{entry.function[2][:60]}: own time")
        edges = [exact_ns(own_s, "own time under a caller") for _, _, own_s in entry.callers]
        calls, own_calls = _shares(entry.calls, [calls for _, calls, _ in entry.callers])
        times, own_time = _shares(own_ns, edges)
        callee = self._number(entry.function)
        for (caller, _, _), edge_calls, edge_ns in zip(entry.callers, calls, times, strict=True):
            self._add(callee, self._number(caller), edge_calls, edge_ns)
        self._add(callee, 0, own_calls, own_time)

    def add_sampled(self, entry: Entry) -> None:
        """The function alone: what callers have are samples below them too, and no own time."""
        own_ns = exact_ns(entry.own_s, f"{entry.function[2][:60]}: own time")
        self._add(self._number(entry.function), 0, entry.primitive_calls, own_ns)

    def _number(self, function: Function) -> int:
        return self._known.setdefault(function, len(self._known) + 1)

    def _add(self, callee: int, caller: int, calls: int, own_ns: int) -> None:
        if not calls and not own_ns:
            return
        try:
            for column, value in zip(self._columns, (callee, caller, calls, own_ns), strict=True):
                column.append(value)
        except OverflowError:
            raise CorruptProfile(f"calls {calls} or own time {own_ns} do not fit 64 bits") from None

    def to_batch(self, names: NameReader) -> pa.RecordBatch:
        """The samples since the last batch, with all functions. Raises `CorruptProfile`."""
        callee, caller, calls, own_ns = (np.array(column, np.int64) for column in self._columns)
        if any(np.abs(column.astype(np.float64)).sum() >= _MOST_TOTAL for column in (calls, own_ns)):
            raise CorruptProfile("the sum of the calls or of the own times does not fit 64 bits")
        for column in self._columns:
            del column[:]
        stacks = np.stack([callee, caller], axis=1)
        samples = SampleColumns(
            offsets_of(1 + (caller > 0)), stacks[stacks > 0], np.stack([calls, own_ns], axis=1)
        )
        return self._profile(samples, names)

    def _profile(self, samples: SampleColumns, names: NameReader) -> pa.RecordBatch:
        """Of a traced function the line is where it begins, of a sampled one where it was. Built-in ones have no file."""
        count = len(self._known)
        texts = [name for _, _, name in self._known]
        texts += ["" if filename == "~" else filename for filename, _, _ in self._known]
        encoded = pa.array([text.encode("utf-8", "surrogateescape") for text in texts], pa.binary())
        distinct = encoded.dictionary_encode()
        numbers = distinct.indices.to_numpy().astype(np.int64)
        table, shown, system = names.read_all(distinct.dictionary)
        line = np.array([max(line, 0) for _, line, _ in self._known], np.int64)
        zeros = np.zeros(count, np.int64)
        starts, lines = (zeros, line) if self._is_sampled else (line, zeros)
        return ProfileColumns(
            header=_SAMPLED if self._is_sampled else _TRACED,
            texts=table,
            samples=samples,
            locations=LocationColumns(
                zeros, zeros, np.arange(count + 1), np.arange(1, count + 1), lines, zeros
            ),
            functions=FunctionColumns(
                shown[numbers[:count]], system[numbers[:count]], system[numbers[count:]], starts
            ),
        ).to_batch()


def _shares(total: int, parts: list[int]) -> tuple[list[int], int]:
    """Parts and the rest of a total. Parts that are a little more in sum, by rounding, lose it, the largest first."""
    rest = total - sum(parts)
    if rest >= 0:
        return parts, rest
    shares = list(parts)
    for place in sorted(range(len(parts)), key=parts.__getitem__, reverse=True):
        if rest >= 0:
            break
        given = min(max(shares[place], 0), -rest)
        shares[place] -= given
        rest += given
    return shares, rest
