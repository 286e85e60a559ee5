"""Profiles of the Firefox Profiler: its processed format, which samply and other converters write too, and the Gecko
format that Firefox itself writes.

The samples of all threads are one profile for each meaning that their weights have: counts at an interval, time, or
bytes; allocations are one more. Thread and process are labels. A sample without a stack is passed over, as the
Firefox Profiler does; so are markers, counters and categories.

Source of the format: `docs-developer/CHANGELOG-formats.md` and `src/types/profile.ts` of firefox-devtools/profiler.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isfinite

import msgspec
import numpy as np

from ...schema.errors import CorruptProfile, LimitExceeded
from . import Decoded, Failed, Input, Row, one_by_one
from .firefox_measures import ALLOCATIONS, Measure, allocation_values, measure_of, nanoseconds
from .firefox_stacks import Stacks
from .firefox_symbols import Lib
from .firefox_threads import ProcessedThread, Shared, SharedStacks, Thread, ThreadSamples, refuse_stacks
from .gecko import GeckoThread
from .json_document import decode_json
from .json_head import json_paths
from .names import name_reader
from .piecewise import Piecewise
from .profile_builder import Labels, ProfileBuilder
from .profile_columns import IntArray, ProfileHeader

_CPU_UNITS_NS = {"ns": 1, "µs": 1000}
_MOST_PROCESSES = 10_000
_FRAMES_PER_BYTE = 64
_LEAST_FRAMES = 8_000_000
"""Stacks share their callers, so that a short file can hold very many frames: a limit on work."""

_TELLING = (
    {"meta.preprocessedProfileVersion"},
    {"meta.interval", "meta.version"},
    {"meta.interval", "meta.startTime"},
)


class _Units(msgspec.Struct):
    threadCPUDelta: str = ""


class _Meta(msgspec.Struct):
    interval: float = 1.0
    startTime: float = 0.0
    profilingStartTime: float | None = None
    profilingEndTime: float | None = None
    product: str = ""
    preprocessedProfileVersion: int | None = None
    sampleUnits: _Units | None = None


class _Document(msgspec.Struct):
    meta: _Meta
    threads: list[msgspec.Raw] = msgspec.field(default_factory=list)
    libs: list[Lib] = msgspec.field(default_factory=list)
    shared: Shared | None = None
    sources: msgspec.Raw = msgspec.Raw()
    processes: list[msgspec.Raw] = msgspec.field(default_factory=list)


class Firefox:
    """`{"meta": {"interval": 1, …}, "threads": […]}`."""

    name = "firefox"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it is JSON that begins with the `meta` of such a profile, or holds its tables."""
        paths = json_paths(head)
        return any(telling <= paths for telling in _TELLING) or "threads[].stackTable" in paths

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile for each meaning of its weights."""
        return one_by_one(inputs, lambda number, one: _Reader(number, one).read())


class _Reader:
    """One input."""

    def __init__(self, number: int, one: Input) -> None:
        self._number = number
        self._names = name_reader(one)
        self._document = decode_json(one.raw, _Document)
        self._verbatim = one.rules == "verbatim"
        self._span_ms: tuple[float, float] | None = None
        self._frames_left = max(_LEAST_FRAMES, _FRAMES_PER_BYTE * len(one.raw))

    def read(self) -> Iterator[Decoded]:
        """The pieces of all profiles. Raises `InputError`."""
        meta = self._document.meta
        threads = self._threads()
        unit = meta.sampleUnits.threadCPUDelta if meta.sampleUnits else ""
        kinds = list(dict.fromkeys(thread.weight_type for thread in threads))
        for kind in kinds or ["samples"]:
            chosen = [thread for thread in threads if thread.weight_type == kind]
            has_cpu = any(thread.has_cpu for thread in chosen)
            yield from self._samples(
                measure_of(kind, meta.interval, _CPU_UNITS_NS.get(unit, 0) if has_cpu else 0), chosen
            )
        if any(thread.allocations() for thread in threads):
            yield from self._allocations(threads)

    def _threads(self) -> list[Thread]:
        """The threads of all processes."""
        top = self._document
        if top.meta.preprocessedProfileVersion is not None:
            shared = (top.shared or Shared(), SharedStacks())
            return [
                ProcessedThread(raw, f"threads[{n}]", shared, top.libs) for n, raw in enumerate(top.threads)
            ]
        threads: list[Thread] = []
        documents = [("", top)]
        seen = 0
        while documents:
            where, document = documents.pop()
            seen += 1
            if seen > _MOST_PROCESSES:
                raise LimitExceeded(f"more than {_MOST_PROCESSES} processes")
            has_sources = bytes(document.sources) not in (b"", b"null")
            threads += [
                GeckoThread(raw, f"{where}threads[{n}]", document.libs, has_sources)
                for n, raw in enumerate(document.threads)
            ]
            for n, raw in enumerate(document.processes):
                below = f"{where}processes[{n}]"
                documents.append((f"{below}.", decode_json(bytes(raw), _Document, below)))
        return threads

    def _profile(self, measure: Measure, part: bytes) -> Piecewise:
        builder = ProfileBuilder(self._header(measure), self._names)
        return Piecewise(builder, Row(self._number, measure.name, part=part))

    def _header(self, measure: Measure) -> ProfileHeader:
        meta = self._document.meta
        start_ms, end_ms = meta.profilingStartTime, meta.profilingEndTime
        time_ns = duration_ns = 0
        if self._verbatim:
            time_ns = nanoseconds(meta.startTime + (start_ms or 0.0), "meta.startTime")
        if start_ms is not None and end_ms is not None and isfinite(end_ms - start_ms):
            duration_ns = nanoseconds(max(end_ms - start_ms, 0.0), "meta.profilingEndTime")
        last = measure.types[-1]
        return ProfileHeader(
            measure.types,
            period_type=last if measure.interval_ns else ("", ""),
            period=measure.interval_ns,
            time_ns=time_ns,
            duration_ns=duration_ns,
            default_sample_type=last[0] if measure.interval_ns else "",
        )

    def _samples(self, measure: Measure, threads: Sequence[Thread]) -> Iterator[Decoded]:
        profile = self._profile(measure, measure.weight_type.encode())
        for thread in threads:
            samples = thread.samples()
            self._extend(profile, samples)
            where = f"samples of {measure.weight_type}"
            values = measure.values(samples, where)
            stacks = thread.stacks(profile.builder)
            refuse_stacks(samples.stack, stacks, where)
            labels = thread.labels
            for node, sums in _summed(samples.stack, values):
                self._add(profile, stacks, node, (sums, labels))
                if profile.full:
                    yield profile.cut()
        yield profile.cut()

    def _extend(self, profile: Piecewise, samples: ThreadSamples) -> None:
        """The duration, where nothing but the samples says it: from the first of all threads to the last."""
        if samples.times_ms is None or self._document.meta.profilingEndTime is not None:
            return
        first, last = self._span_ms or samples.times_ms
        self._span_ms = min(first, samples.times_ms[0]), max(last, samples.times_ms[1])
        span_ms = self._span_ms[1] - self._span_ms[0]
        if isfinite(span_ms):
            duration_ns = nanoseconds(span_ms, "samples.time")
            profile.builder.header = replace(profile.builder.header, duration_ns=duration_ns)

    def _allocations(self, threads: Sequence[Thread]) -> Iterator[Decoded]:
        profile = self._profile(ALLOCATIONS, b"allocations")
        for thread in threads:
            for table in thread.allocations():
                values = allocation_values(table.size_bytes, "allocations.weight")
                stacks = thread.stacks(profile.builder)
                refuse_stacks(table.stack, stacks, "allocations")
                # One number for kind and node; what has no stack stays apart.
                key = np.where(table.stack >= 0, table.kind * max(stacks.count, 1) + table.stack, -1)
                for number, sums in _summed(key, values):
                    kind, node = divmod(number, max(stacks.count, 1))
                    labels = (*thread.labels, *table.kinds[kind])
                    self._add(profile, stacks, node, (sums, labels))
                    if profile.full:
                        yield profile.cut()
        yield profile.cut()

    def _add(
        self, profile: Piecewise, stacks: Stacks, node: int, sample: tuple[Sequence[int], Labels]
    ) -> None:
        stack = stacks.stack(node)
        self._frames_left -= len(stack)
        if self._frames_left < 0:
            raise LimitExceeded(
                f"the stacks hold more than {_FRAMES_PER_BYTE} frames for every byte of the file"
            )
        profile.add(stack, *sample)


def _summed(key: IntArray, values: Sequence[IntArray]) -> Iterator[tuple[int, list[int]]]:
    """The sums of the values by key; -1 is left out. Raises `CorruptProfile` when one does not fit 64 bits."""
    kept = key >= 0
    keys, place = np.unique(key[kept], return_inverse=True)
    sums = []
    for column in values:
        chosen = column[kept]
        if float(np.abs(chosen.astype(np.float64)).sum()) >= 2.0**63:
            raise CorruptProfile("the sum of the samples' values does not fit 64 bits")
        total = np.zeros(len(keys), np.int64)
        np.add.at(total, place, chosen)
        sums.append(total)
    for row, number in enumerate(keys.tolist()):
        yield number, [int(column[row]) for column in sums]
