"""Where profiles are: the seam between a question and what answers it.

A set of blocks is a source, in this process or behind a connection; so is a head, or a remote role. A source
is asked for keys only where sources overlap, then for aggregates without the copies that others own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.partial import FunctionPartial, merge_function_partials
from ...schema.request import TreeQuery
from ..database import DuckDB
from ..storage.part_tries import node_names
from ..trie import levels_of, project_trie
from .function_tree import FunctionTree, PartTree
from .opened import OpenBlock
from .overlay import Overlays, PartValues, partial_of
from .picked import picked_totals
from .plan import BlockScan, Plan, ProfileKeys
from .project import frames_of, surviving_nodes
from .rollups import DIFFERENCES, LEFT_OUT, PICKED, WEIGHTED, Divided, divide, rollup_totals
from .stack_totals import StackTotals, TimeRange, rows_totals, stack_totals
from .visible import VisibleBlock
from .visible_totals import visible_totals, without_profiles
from .watch import UNWATCHED, Watch

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]
Found = TypeVar("Found")

_BLOCKS_AT_A_TIME = 4


@dataclass(frozen=True)
class Weights:
    """How single profiles count, by block ULID: rows of the profiles table and their weights.

    Without `weighted` every sample counts once, and the samples of `excluded` profiles are taken away again.
    `given` replaces the sums altogether. Values come out `scale` times too large, so that the fractions of an
    average survive the rounding in each block.
    """

    weighted: Mapping[str, tuple[IntArray, npt.NDArray[np.float64]]] | None = None
    excluded: Mapping[str, IntArray] = field(default_factory=dict)
    given: Mapping[str, Sequence[StackTotals]] | None = None
    scale: int = 1


class Source(Protocol):
    """What a question can be put to. Answers of several sources merge."""

    def keys(self, plan: Plan, series_id: U64Array) -> Sequence[ProfileKeys]:
        """The dedup keys of the plan's profiles in the given series, by block."""
        ...

    def aggregate(self, plan: Plan, tree: TreeQuery, weights: Weights) -> FunctionPartial:
        """The call tree of the plan's samples, named and filtered as `tree` says."""
        ...


class BlockSource:
    """Blocks that this process can read."""

    def __init__(
        self,
        blocks: Mapping[str, OpenBlock],
        database: Callable[[], DuckDB],
        overlays: Overlays,
        watch: Watch = UNWATCHED,
    ) -> None:
        self._blocks = blocks
        self._database = database
        self._overlays = overlays
        self._watch = watch

    def keys(self, plan: Plan, series_id: U64Array) -> Sequence[ProfileKeys]:
        """The dedup keys of the plan's profiles in the given series, by block."""
        return [keys for scan in plan.scans if len((keys := self._block_keys(scan, plan, series_id)).row)]

    def _block_keys(self, scan: BlockScan, plan: Plan, series_id: U64Array) -> ProfileKeys:
        block = self._blocks[scan.ulid]
        series = scan.series
        wanted = series[np.isin(block.index.series_id[series], series_id)]
        rows = block.profiles(wanted, plan.start_ns, plan.end_ns)
        return ProfileKeys(
            scan.ulid, block.index.series_id[rows.series], rows.ts, rows.id_high, rows.id_low, rows.row
        )

    def aggregate(self, plan: Plan, tree: TreeQuery, weights: Weights) -> FunctionPartial:
        """The call tree of the plan's samples, named and filtered as `tree` says."""

        def read(scan: BlockScan) -> list[PartValues]:
            block = self._blocks[scan.ulid]
            return _part_values(block, self.part_totals(block, scan, plan, weights), tree)

        if _as_stored(tree) and sum(len(scan.parts) for scan in plan.scans) > 1:
            return self._overlaid(plan, read)
        values = chain.from_iterable(_side_by_side(read, plan.scans))
        return merge_function_partials([partial_of(part.tree, part.own) for part in values])

    def _overlaid(self, plan: Plan, read: Callable[[BlockScan], Sequence[PartValues]]) -> FunctionPartial:
        """The sums of the stored trees. What these have in common is found out while DuckDB adds up the samples."""

        def trees_of(scan: BlockScan) -> Sequence[PartTree]:
            block = self._blocks[scan.ulid]
            return [block.tree(part.part) for part in scan.parts]

        with ThreadPoolExecutor(_BLOCKS_AT_A_TIME) as pool:
            trees, values = pool.map(trees_of, plan.scans), pool.map(read, plan.scans)
            return self._overlays.of(chain.from_iterable(trees)).merged(chain.from_iterable(values))

    def part_totals(
        self, block: OpenBlock, scan: BlockScan, plan: Plan, weights: Weights
    ) -> list[StackTotals]:
        """Values by stack of each part of one block."""
        reason = _why_no_rollup(block, scan, plan, weights)
        if reason:
            self._watch.from_samples(scan, reason)
        if plan.picked is not None:
            return picked_totals(block, _profile_ranges(block, scan, plan, weights), plan.picked)
        if weights.given is not None:
            return list(weights.given.get(scan.ulid, ()))
        if weights.weighted is not None:
            rows, weight = weights.weighted.get(scan.ulid, (np.zeros(0, np.int64), np.zeros(0)))
            chosen = block.profile_ranges(rows)
            return rows_totals(block, *chosen, weight)
        time = TimeRange(plan.start_ns, plan.end_ns)
        excluded = weights.excluded.get(scan.ulid)
        if not reason:
            return self._rolled_up(block, divide(block, scan, time))
        found = visible_totals(block, scan, time, self._database)
        if excluded is None:
            return found
        return without_profiles(block, found, *block.profile_ranges(excluded))

    def _rolled_up(self, block: OpenBlock, divided: Divided) -> list[StackTotals]:
        self._watch.divided(block.ulid, divided)
        totals = [found for one in divided.rollups if len((found := rollup_totals(block, one)).stack)]
        for scan, time in divided.samples:
            totals += stack_totals(block, scan, time, self._database)
        return totals


def _why_no_rollup(block: OpenBlock, scan: BlockScan, plan: Plan, weights: Weights) -> str:
    """Why nothing of a block can be read from rollups; empty where that depends on the part."""
    if plan.picked is not None:
        return PICKED
    if weights.given is not None:
        return DIFFERENCES
    if weights.weighted is not None:
        return WEIGHTED
    return LEFT_OUT if scan.ulid in weights.excluded or isinstance(block, VisibleBlock) else ""


def _profile_ranges(
    block: OpenBlock, scan: BlockScan, plan: Plan, weights: Weights
) -> tuple[IntArray, IntArray, npt.NDArray[np.float64]]:
    """The profiles of a scan that count, without copies: first rows, numbers of rows, weights."""
    if weights.weighted is not None:
        rows, weight = weights.weighted.get(scan.ulid, (np.zeros(0, np.int64), np.zeros(0)))
        return *block.profile_ranges(rows), weight
    profiles = block.profiles(scan.series, plan.start_ns, plan.end_ns)
    excluded = weights.excluded.get(scan.ulid)
    if excluded is not None:
        profiles = profiles.take(~np.isin(profiles.row, excluded))
    return profiles.start, profiles.n, np.ones(len(profiles))


def _side_by_side(read: Callable[[BlockScan], Found], scans: Sequence[BlockScan]) -> Iterable[Found]:
    """What is read in each block, several at a time: a small one does not keep all cores busy."""
    if len(scans) < 2:
        return map(read, scans)
    with ThreadPoolExecutor(_BLOCKS_AT_A_TIME) as pool:
        return list(pool.map(read, scans))


def _as_stored(tree: TreeQuery) -> bool:
    """Whether the stored function tries hold the nodes that are asked for."""
    return tree.granularity == "function" and not tree.filter.active


def _part_values(
    block: OpenBlock, totals_of_parts: Sequence[StackTotals], tree: TreeQuery
) -> list[PartValues]:
    """The call tree of each part: by the stored function trie, or by projecting the location trie."""
    by_part: dict[int, list[StackTotals]] = {}
    for one in totals_of_parts:
        by_part.setdefault(one.part, []).append(one)
    values: list[PartValues] = []
    for number, pieces in by_part.items():
        key = (block.ulid, number)
        if _as_stored(tree):
            part = block.tree(number)
            key, functions = part.key, part.functions
            own = _sums(pieces, part.node_of_stack, len(functions))
        else:
            functions, own = _projected(block, number, pieces, tree)
        if tree.call_site:
            own = np.where(_below(functions, tree.call_site), own, 0)
        values.append(PartValues(key, functions, own))
    return values


def _sums(pieces: Sequence[StackTotals], node_of_stack: IntArray, nodes: int) -> IntArray:
    own = np.zeros(nodes, np.int64)
    for piece in pieces:
        np.add.at(own, node_of_stack[piece.stack], piece.value)
    return own


def _projected(
    block: OpenBlock, number: int, pieces: Sequence[StackTotals], tree: TreeQuery
) -> tuple[FunctionTree, IntArray]:
    stacks = block.stacks(number)
    values = _sums(pieces, stacks.node_of_stack, len(stacks.trie))
    frames = frames_of(block.symbols, tree.granularity, tree.filter)
    values[~surviving_nodes(stacks.trie, frames, tree.filter)] = 0
    trie, node_of_node = project_trie(
        stacks.trie, node_names(stacks.trie, frames.root_first()), len(frames.names)
    )
    projected = np.zeros(len(trie), np.int64)
    np.add.at(projected, node_of_node, values)
    return FunctionTree.of(trie, frames.names), projected


def _below(tree: FunctionTree, call_site: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Nodes whose paths start with these names, root first."""
    symbols = pc.index_in(pa.array(call_site, pa.string()), value_set=tree.names)
    wanted = pc.fill_null(symbols, -2).to_pylist()
    inside = np.zeros(len(tree), np.bool_)
    inside[0] = True
    for depth, nodes in enumerate(levels_of(tree.depth)):
        if depth == 0:
            continue
        inside[nodes] = inside[tree.parent[nodes]]
        if depth <= len(wanted):
            inside[nodes] &= tree.symbol[nodes] == wanted[depth - 1]
    return inside & (tree.depth >= len(wanted))
