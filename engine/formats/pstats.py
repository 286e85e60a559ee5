"""What cProfile, profile and `profiling.sampling --pstats` dump: for each function its calls, its time, its callers.

The file is a marshalled dictionary, `(file, line, name)` to `(primitive calls, calls, own time, total time, callers)`,
where `callers` maps such a function to `(calls, primitive calls, own time, total time)`, or to the calls alone. It
holds edges and no stacks. So a sample is a function called by one of its callers, with the function's own time under
that caller; what no caller accounts for is the function's alone. Own times are exact, and so is their sum; the total
time of a function is not: a caller is seen with the own times of those it calls, and nothing below.

Source: CPython's Lib/pstats.py, Modules/_lsprof.c and Lib/profiling/sampling/pstats_collector.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...schema.errors import CorruptProfile, InputError
from . import Decoded, Failed, Input, Row
from .marshal_values import FLAG_REFERENCE, MarshalReader, Value
from .names import name_reader
from .profile_builder import ProfileBuilder
from .profile_columns import ProfileHeader
from .seconds import exact_ns

PIECE_SAMPLES = 250_000

_NAME = "wall"
_WALL = ("wall", "nanoseconds")
_TRACED = ProfileHeader((("calls", "count"), _WALL), default_sample_type="wall")
_SAMPLED = ProfileHeader((("samples", "count"), _WALL), default_sample_type="wall")
_SAMPLED_MARK = b"__sampled__"
_MARK_BYTES = 64

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
        for number, one in enumerate(inputs):
            try:
                yield from _pieces(number, one)
            except InputError as error:
                yield Failed(number, str(error))


def _pieces(number: int, one: Input) -> Iterator[Decoded]:
    is_sampled = _SAMPLED_MARK in one.raw[-_MARK_BYTES:]
    builder = ProfileBuilder(_SAMPLED if is_sampled else _TRACED, name_reader(one))
    locations: dict[Function, int] = {}
    more = False
    for entry in read_entries(one.raw):
        if is_sampled:
            _add_sampled(builder, entry)
        else:
            _add_traced(builder, locations, entry)
        if builder.samples >= PIECE_SAMPLES:
            yield Decoded(builder.to_batch(), [Row(number, _NAME)], more)
            builder.drop_samples()
            more = True
    yield Decoded(builder.to_batch(), [Row(number, _NAME)], more)


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


def _add_traced(builder: ProfileBuilder, known: dict[Function, int], entry: Entry) -> None:
    """The function under each of its callers, and alone with the rest."""
    calls, own_calls = _shares(entry.calls, [calls for _, calls, _ in entry.callers])
    own_ns = exact_ns(entry.own_s, f"{entry.function[2][:60]}: own time")
    times, own_time = _shares(
        own_ns, [exact_ns(own_s, "own time under a caller") for _, _, own_s in entry.callers]
    )
    for function in (entry.function, *(caller for caller, _, _ in entry.callers)):
        if function not in known:
            known[function] = _location(builder, function)
    callee = known[entry.function]
    for (caller, _, _), *values in zip(entry.callers, calls, times, strict=True):
        if any(values):
            builder.add((callee, known[caller]), values)
    if own_calls or own_time:
        builder.add((callee,), (own_calls, own_time))


def _location(builder: ProfileBuilder, function: Function) -> int:
    """A function's location: the line that is known is the one where it begins. Built-in ones have no file."""
    filename, line, name = function
    start_line = max(line, 0)
    return builder.location(
        ((builder.function(name, "" if filename == "~" else filename, start_line), 0, 0),)
    )


def _add_sampled(builder: ProfileBuilder, entry: Entry) -> None:
    """The function alone: what callers have are samples below them too, and no own time. The line is the sampled."""
    filename, line, name = entry.function
    own_ns = exact_ns(entry.own_s, f"{name[:60]}: own time")
    if entry.primitive_calls or own_ns:
        place = builder.frame(name, "" if filename == "~" else filename, max(line, 0))
        builder.add((place,), (entry.primitive_calls, own_ns))


def _shares(total: int, parts: list[int]) -> tuple[list[int], int]:
    """Parts and the rest of a total. Parts that are a little more in sum, by rounding, lose it, the largest first."""
    rest = total - sum(parts)
    shares = list(parts)
    for place in sorted(range(len(parts)), key=parts.__getitem__, reverse=True):
        if rest >= 0:
            break
        given = min(max(shares[place], 0), -rest)
        shares[place] -= given
        rest += given
    return shares, rest
