"""The events of one JFR chunk as samples of each kind: a stack, values, and columns that labels are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ...schema.errors import CorruptProfile
from ...schema.profile import Rules
from .jfr_chunk import Chunk
from .jfr_columns import IntArray
from .jfr_kinds import (
    CPU,
    CPU_TIME_SAMPLE,
    EXECUTION_SAMPLE,
    SOURCES,
    TIMED_SOURCES,
    WALL,
    WALL_CLOCK_SAMPLE,
    Kind,
    Source,
)
from .jfr_periods import Sampling

CONTEXT = ("contextId", "spanId", "spanName", "traceIdHi", "traceIdLo")
THREAD, ABOUT, STATE = "thread", "class", "state"

_SLEEPING, _RUNNABLE = "STATE_SLEEPING", "STATE_RUNNABLE"
_MAX_VALUE = 2.0**63


@dataclass(frozen=True)
class Reading:
    """How events are read: the rules, and what a sample on the CPU and one by the wall clock stand for."""

    rules: Rules
    sampling: Sampling
    cpu_period_ns: int
    wall_period_ns: int


@dataclass(frozen=True)
class Events:
    """Samples of one kind: keys of stack traces, a row of values each, and columns by what labels they make.

    `period_ns` is what one sample stands for, where that is known.
    """

    kind: Kind
    stacks: IntArray
    values: IntArray
    about: Mapping[str, IntArray] = field(default_factory=dict)
    period_ns: int = 0

    def only(self, rows: npt.NDArray[np.bool_]) -> Events:
        """Some of the samples."""
        about = {name: column[rows] for name, column in self.about.items()}
        return Events(self.kind, self.stacks[rows], self.values[rows], about, self.period_ns)

    def summed(self) -> Events:
        """The same with equal samples as one. Raises `CorruptProfile`."""
        groups, firsts = groups_of([self.stacks, *self.about.values()], len(self.stacks))
        about = {name: column[firsts] for name, column in self.about.items()}
        values = sums_of(self.values, groups, len(firsts))
        return replace(self, stacks=self.stacks[firsts], values=values, about=about)

    def on_cpu(self, rows: npt.NDArray[np.bool_]) -> Events:
        """Some of the samples, of threads that ran: that is their state."""
        about = {name: column for name, column in self.about.items() if name != STATE}
        return replace(self, kind=CPU, about=about).only(rows)


def read_events(chunk: Chunk, reading: Reading) -> list[Events]:
    """The samples of a chunk, those of each kind together. Raises `CorruptProfile`."""
    found: dict[str, list[Events]] = {}
    for part in chunk.parts():
        for events in _all_events(part, reading):
            kept = events.summed() if len(chunk.blocks) > 1 else events
            found.setdefault(events.kind.key, []).append(kept)
    return [_joined(same) for same in found.values()]


def groups_of(columns: Sequence[IntArray], count: int) -> tuple[IntArray, IntArray]:
    """The group of each of `count` rows, rows being equal in all columns; and the first row of each group."""
    groups = np.zeros(count, np.int64)
    for column in columns:
        codes = np.unique(column, return_inverse=True)[1]
        groups = np.unique(groups * (int(codes.max(initial=0)) + 1) + codes, return_inverse=True)[1]
    firsts = np.zeros(int(groups.max(initial=-1)) + 1, np.int64)
    firsts[groups[::-1]] = np.arange(count)[::-1]
    return groups, firsts


def sums_of(values: IntArray, groups: IntArray, count: int) -> IntArray:
    """Rows of values summed by group. Raises `CorruptProfile`."""
    if np.abs(values.astype(np.float64)).sum(axis=0).max(initial=0) >= _MAX_VALUE:
        raise CorruptProfile("the sum of the samples' values does not fit 64 bits")
    sums = np.zeros((count, values.shape[1]), np.int64)
    np.add.at(sums, groups, values)
    return sums


def _joined(parts: list[Events]) -> Events:
    """Samples of one kind as one; a column that some of them lack is 0 there."""
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys(name for one in parts for name in one.about)
    none = {id(one): np.zeros(len(one.stacks), np.int64) for one in parts}
    return Events(
        parts[0].kind,
        np.concatenate([one.stacks for one in parts]),
        np.concatenate([one.values for one in parts]),
        {name: np.concatenate([one.about.get(name, none[id(one)]) for one in parts]) for name in names},
        parts[0].period_ns,
    )


def _all_events(chunk: Chunk, reading: Reading) -> Iterator[Events]:
    for name, source in SOURCES.items():
        columns = _columns(chunk, name, source, source.value)
        if columns is not None:
            yield _events(source, columns, _counted(chunk, name, columns, reading))
    if WALL_CLOCK_SAMPLE in chunk.places:
        yield from _wall_clock(chunk, reading)
    timed = _cpu_time(chunk, reading)
    if timed is not None:
        yield timed
    if EXECUTION_SAMPLE in chunk.places:
        # Where the recorder measured CPU time, its execution samples are a second estimate of the same.
        measured = reading.rules == "verbatim" and CPU_TIME_SAMPLE in chunk.fields
        yield from _execution(chunk, reading, on_cpu=not measured)


def _columns(chunk: Chunk, name: str, source: Source, *more: str) -> Mapping[str, IntArray] | None:
    """The fields of an event that matter; none where there is no such event, or it has no stack trace."""
    if name not in chunk.places:
        return None
    columns = chunk.read(name, {"stackTrace", "state", source.thread, source.about, *CONTEXT, *more})
    return columns if "stackTrace" in columns else None


def _events(source: Source, columns: Mapping[str, IntArray], values: IntArray) -> Events:
    renamed = {source.thread: THREAD, source.about: ABOUT, "state": STATE} | {name: name for name in CONTEXT}
    about = {renamed[name]: column for name, column in columns.items() if name in renamed}
    return Events(source.kind, columns["stackTrace"], values, about)


def _counted(chunk: Chunk, name: str, columns: Mapping[str, IntArray], reading: Reading) -> IntArray:
    """One of each event, and what its field says where the kind has a second type."""
    ones = np.ones(len(columns["stackTrace"]), np.int64)
    source = SOURCES[name]
    if not source.value:
        return ones.reshape(-1, 1)
    amounts = columns.get(source.value, np.zeros(len(ones), np.int64))
    if reading.rules == "verbatim":
        amounts = _nanoseconds(chunk, name, source.value, amounts)
    return np.stack([ones, amounts], axis=1)


def _nanoseconds(chunk: Chunk, event: str, name: str, amounts: IntArray) -> IntArray:
    """Durations in ticks as nanoseconds; what is no duration, or not in ticks, as it is."""
    span = next((one.timespan for one in chunk.fields[event] if one.name == name), "")
    ticks_per_s = chunk.header.ticks_per_s
    if span != "TICKS" or ticks_per_s == 10**9:
        return amounts
    seconds, rest = np.divmod(amounts, ticks_per_s)
    if np.abs(seconds).max(initial=0) > 2**33:
        raise CorruptProfile(f"{event}.{name} of {int(np.abs(amounts).max())} ticks does not fit 64 bits")
    return seconds * 10**9 + np.rint(rest * (1e9 / ticks_per_s)).astype(np.int64)


def _execution(chunk: Chunk, reading: Reading, on_cpu: bool) -> Iterator[Events]:
    source = TIMED_SOURCES[EXECUTION_SAMPLE]
    columns = _columns(chunk, EXECUTION_SAMPLE, source)
    if columns is None:
        return
    if on_cpu:
        ran = [name not in ("", _SLEEPING) for name in _states(chunk, columns)]
        yield _timed(source, columns, reading.cpu_period_ns).on_cpu(np.array(ran, np.bool_))
    if reading.sampling.event == "wall":
        every = _timed(source, columns, reading.wall_period_ns)
        yield replace(every, kind=WALL)


def _wall_clock(chunk: Chunk, reading: Reading) -> Iterator[Events]:
    """A sample stands for as many as it says; threads that ran were on the CPU, where nothing else samples it."""
    source = TIMED_SOURCES[WALL_CLOCK_SAMPLE]
    columns = _columns(chunk, WALL_CLOCK_SAMPLE, source, "samples")
    if columns is None:
        return
    every = _timed(source, columns, reading.wall_period_ns)
    yield every
    running = np.array([name == _RUNNABLE for name in _states(chunk, columns)], np.bool_)
    if reading.sampling.event == "wall" and running.any():
        yield every.on_cpu(running)


def _timed(source: Source, columns: Mapping[str, IntArray], period_ns: int) -> Events:
    """Each sample, times the number that it says it stands for, is worth a period."""
    counts = columns.get("samples", np.ones(len(columns["stackTrace"]), np.int64))
    if np.abs(counts.astype(np.float64)).sum() * period_ns >= _MAX_VALUE:
        raise CorruptProfile(f"the samples, times {period_ns} ns, do not fit 64 bits")
    values = (counts * period_ns).reshape(-1, 1)
    return replace(_events(source, columns, values), period_ns=period_ns)


def _cpu_time(chunk: Chunk, reading: Reading) -> Events | None:
    """What JDK 25 samples by the CPU's clock; Pyroscope does not read it."""
    source = TIMED_SOURCES[CPU_TIME_SAMPLE]
    columns = _columns(chunk, CPU_TIME_SAMPLE, source, "samplingPeriod")
    if reading.rules == "pyroscope" or columns is None or "samplingPeriod" not in columns:
        return None
    times = _nanoseconds(chunk, CPU_TIME_SAMPLE, "samplingPeriod", columns["samplingPeriod"])
    return replace(_events(source, columns, times.reshape(-1, 1)), period_ns=int(times[0]))


def _states(chunk: Chunk, columns: Mapping[str, IntArray]) -> list[str]:
    """The name of each sample's thread state; where events have none, that of running."""
    if "state" not in columns:
        return [_RUNNABLE] * len(columns["stackTrace"])
    found, codes = np.unique(columns["state"], return_inverse=True)
    names = [chunk.pools.state(key) for key in found.view(np.uint64).tolist()]
    return [names[code] for code in codes.tolist()]
