"""Which of the rollups of a block answer a question as its samples would, and for which times.

Rollups add up all series of a part and type, by buckets of time. So they serve a question about all of these series,
for the buckets that its range holds whole; what is left at the edges of the range is read from the samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...schema.block import BlockMeta, PartMeta, RollupMeta
from .opened import OpenBlock
from .plan import BlockScan, PartScan, runs_of
from .stack_totals import StackTotals, TimeRange

IntArray = npt.NDArray[np.int64]

NO_ROLLUP = "the block has no rollup"
NOT_THE_PART = "no rollup of the part, which would not be much smaller than its samples"
NOT_EVERY_SERIES = "not all series of the type are selected"
NO_WHOLE_BUCKET = "the range holds no whole bucket"
MOSTLY_EDGES = "more than half of the range is outside of whole buckets"
ENDS = "the ends of the range are outside of whole buckets"
LEFT_OUT = "profiles of the block are left out"
WEIGHTED = "profiles count one by one"
DIFFERENCES = "differences of profiles are taken"
PICKED = "samples are picked by span or trace"
LABELLED = "samples are told apart by their labels"


@dataclass(frozen=True)
class RollupScan:
    """Rows of one rollup to add up: of one part and some of its types, the buckets in `time`."""

    rollup: str
    part: int
    types: tuple[int, ...]
    time: TimeRange


@dataclass(frozen=True)
class Divided:
    """A scan as rollups to read, and samples with the times that they are read for.

    `reasons` says for each part of which samples are read why that is so.
    """

    rollups: tuple[RollupScan, ...]
    samples: tuple[tuple[BlockScan, TimeRange], ...]
    reasons: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class _Pieces:
    """The range of one part, divided: rollups with their times, and the times that no bucket fits into."""

    rollups: tuple[tuple[RollupMeta, TimeRange], ...]
    edges: tuple[TimeRange, ...]


def divide(block: OpenBlock, scan: BlockScan, time: TimeRange) -> Divided:
    """What to read instead of the samples of a scan, whose every profile in `time` counts once.

    The answers are equal to the last unit: a part goes to rollups only if all its series of the types that are asked
    for, and that have profiles in the range, are selected.
    """
    if not block.meta.rollups:
        return Divided((), ((scan, time),), tuple((part.part, NO_ROLLUP) for part in scan.parts))
    rollups: list[RollupScan] = []
    whole: list[PartScan] = []
    edges: dict[TimeRange, list[PartScan]] = {}
    reasons: list[tuple[int, str]] = []
    for part in scan.parts:
        pieces = _pieces(block.meta, block.meta.parts[part.part], time)
        types = None if isinstance(pieces, str) else _whole_types(block, part, time)
        if isinstance(pieces, str) or types is None:
            whole.append(part)
            reasons.append((part.part, pieces if isinstance(pieces, str) else NOT_EVERY_SERIES))
            continue
        rollups += [RollupScan(rollup.name, part.part, types, inside) for rollup, inside in pieces.rollups]
        for edge in pieces.edges:
            edges.setdefault(edge, []).append(part)
        if pieces.edges:
            reasons.append((part.part, ENDS))
    samples = [(BlockScan(scan.ulid, tuple(whole), scan.timed), time)] if whole else []
    samples += [(BlockScan(scan.ulid, tuple(parts), True), edge) for edge, parts in edges.items()]
    return Divided(tuple(rollups), tuple(samples), tuple(reasons))


def _whole_types(block: OpenBlock, scan: PartScan, time: TimeRange) -> tuple[int, ...] | None:
    """The types of the chosen series; None when others of their series have profiles in the range too."""
    index = block.index
    first, last = block.meta.parts[scan.part].series
    chosen = np.zeros(last - first, np.bool_)
    for low, high in scan.series_runs:
        chosen[low - first : high - first] = True
    kind = index.type[first:last]
    types = np.unique(kind[chosen])
    has_profiles = index.profiles[first:last] > 0
    if time.start_ns is not None:
        has_profiles &= index.max_ts[first:last] >= time.start_ns
    if time.end_ns is not None:
        has_profiles &= index.min_ts[first:last] < time.end_ns
    if (np.isin(kind, types) & has_profiles & ~chosen).any():
        return None
    return tuple(types.tolist())


def _pieces(meta: BlockMeta, part: PartMeta, time: TimeRange) -> _Pieces | str:
    """How rollups and edges make up the range of a part; or why they do not."""
    known = [rollup for rollup in meta.rollups if rollup.span(part.part) is not None]
    if not known:
        return NOT_THE_PART
    start = None if time.start_ns is None or time.start_ns <= part.min_ts else time.start_ns
    end = None if time.end_ns is None or time.end_ns > part.max_ts else time.end_ns
    widest_first = sorted(known, key=lambda rollup: -rollup.width_ns)
    pieces = list(_cover(widest_first, TimeRange(start, end)))
    edges = [inside for rollup, inside in pieces if rollup is None]
    rollups = [(rollup, inside) for rollup, inside in pieces if rollup is not None]
    if not rollups:
        return NO_WHOLE_BUCKET
    if 2 * sum(_length_ns(edge, part) for edge in edges) > _length_ns(time, part):
        return MOSTLY_EDGES
    return _Pieces(tuple(rollups), tuple(edges))


def _cover(rollups: Sequence[RollupMeta], time: TimeRange) -> Iterator[tuple[RollupMeta | None, TimeRange]]:
    """The whole buckets of the first rollup in a range, and what is left at its ends by the others; None: samples."""
    start, end = time.start_ns, time.end_ns
    if start is not None and end is not None and start >= end:
        return
    if not rollups:
        yield None, time
        return
    width_ns = rollups[0].width_ns
    first = None if start is None else -(-start // width_ns) * width_ns
    last = None if end is None else end // width_ns * width_ns
    if first is not None and last is not None and first >= last:
        yield from _cover(rollups[1:], time)
        return
    if first is not None:
        yield from _cover(rollups[1:], TimeRange(start, first))
    yield rollups[0], TimeRange(first, last)
    if last is not None:
        yield from _cover(rollups[1:], TimeRange(last, end))


def _length_ns(time: TimeRange, part: PartMeta) -> int:
    """How much of a range a part has profiles in, at most."""
    start = part.min_ts if time.start_ns is None else max(time.start_ns, part.min_ts)
    end = part.max_ts + 1 if time.end_ns is None else min(time.end_ns, part.max_ts + 1)
    return max(end - start, 0)


def rollup_totals(block: OpenBlock, scan: RollupScan) -> StackTotals:
    """The values by stack of some buckets."""
    runs = block.rollup_runs(scan.rollup, scan.part)
    time = scan.time.parameters()
    # A bucket begins within the range if it is whole in it: its ends are those of buckets.
    inside = (runs.bucket >= time["start_ns"]) & (runs.bucket < time["end_ns"])
    inside &= np.isin(runs.type, np.array(scan.types))
    chosen = np.flatnonzero(inside)
    stacks, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for first, last in runs_of(chosen):
        rows = int(runs.first[first]), int(runs.first[last])
        table = block.block.table(scan.rollup, ["stack", "value"], rows)
        stacks.append(table.column("stack").to_numpy().astype(np.int64))
        values.append(table.column("value").to_numpy())
    return StackTotals(scan.part, np.concatenate(stacks), np.concatenate(values))
