"""Where profiles are: the seam between a question and what answers it.

A set of blocks is a source, in this process or behind a connection; so is a head, or a remote role. A source
is asked for keys only where sources overlap, then for aggregates without the copies that others own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.identity import hash_texts
from ...schema.partial import NODES, FunctionPartial, merge_function_partials
from ...schema.request import TreeQuery
from ..database import DuckDB
from ..storage.part_tries import node_names
from ..trie import Trie, first_occurrences, levels_of, path_hashes, project_trie, totals
from .opened import OpenBlock, PartTree
from .plan import BlockScan, Plan, ProfileKeys
from .project import frames_of, surviving_nodes
from .stack_totals import StackTotals, TimeRange, rows_totals, stack_totals

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]


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

    def __init__(self, blocks: Mapping[str, OpenBlock], database: Callable[[], DuckDB]) -> None:
        self._blocks = blocks
        self._database = database

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
        partials: list[FunctionPartial] = []
        for scan in plan.scans:
            block = self._blocks[scan.ulid]
            for part in self.part_totals(block, scan, plan, weights):
                partials.append(part_partial(block, part, tree))
        return merge_function_partials(partials)

    def part_totals(
        self, block: OpenBlock, scan: BlockScan, plan: Plan, weights: Weights
    ) -> list[StackTotals]:
        """Values by stack of each part of one block."""
        if weights.given is not None:
            return list(weights.given.get(scan.ulid, ()))
        if weights.weighted is not None:
            rows, weight = weights.weighted.get(scan.ulid, (np.zeros(0, np.int64), np.zeros(0)))
            chosen = block.profile_ranges(rows)
            return rows_totals(block, *chosen, weight)
        found = stack_totals(block, scan, TimeRange(plan.start_ns, plan.end_ns), self._database)
        excluded = weights.excluded.get(scan.ulid)
        if excluded is None:
            return found
        taken = rows_totals(block, *block.profile_ranges(excluded), np.ones(len(excluded)))
        negated = {t.part: t for t in taken}
        return [_minus(total, negated.get(total.part)) for total in found]


def _minus(total: StackTotals, taken: StackTotals | None) -> StackTotals:
    if taken is None:
        return total
    return StackTotals(
        total.part, np.concatenate([total.stack, taken.stack]), np.concatenate([total.value, -taken.value])
    )


def part_partial(block: OpenBlock, totals_of_part: StackTotals, tree: TreeQuery) -> FunctionPartial:
    """The call tree of one part: by the stored function trie, or by projecting the location trie."""
    if tree.granularity == "function" and not tree.filter.active:
        part = block.tree(totals_of_part.part)
        values = np.zeros(len(part.trie), np.int64)
        np.add.at(values, part.frame_of_stack[totals_of_part.stack], totals_of_part.value)
    else:
        part, values = _projected(block, totals_of_part, tree)
    if tree.call_site:
        values = np.where(_below(part, tree.call_site), values, 0)
    return _partial(part, values)


def _projected(block: OpenBlock, totals_of_part: StackTotals, tree: TreeQuery) -> tuple[PartTree, IntArray]:
    stacks = block.stacks(totals_of_part.part)
    values = np.zeros(len(stacks.trie), np.int64)
    np.add.at(values, stacks.node_of_stack[totals_of_part.stack], totals_of_part.value)
    frames = frames_of(block.symbols, tree.granularity, tree.filter)
    values[~surviving_nodes(stacks.trie, frames, tree.filter)] = 0
    trie, node_of_node = project_trie(
        stacks.trie, node_names(stacks.trie, frames.root_first()), len(frames.names)
    )
    projected = np.zeros(len(trie), np.int64)
    np.add.at(projected, node_of_node, values)
    hashes = path_hashes(trie, hash_texts(frames.names))
    return PartTree(trie, frames.names, first_occurrences(trie), hashes, np.zeros(0, np.int64)), projected


def _below(part: PartTree, call_site: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Nodes whose paths start with these names, root first."""
    symbols = pc.index_in(pa.array(call_site, pa.string()), value_set=part.names)
    wanted = pc.fill_null(symbols, -2).to_pylist()
    inside = np.zeros(len(part.trie), np.bool_)
    inside[0] = True
    for depth, nodes in enumerate(levels_of(part.trie.depth)):
        if depth == 0:
            continue
        inside[nodes] = inside[part.trie.parent[nodes]]
        if depth <= len(wanted):
            inside[nodes] &= part.trie.symbol[nodes] == wanted[depth - 1]
    return inside & (part.trie.depth >= len(wanted))


def _partial(part: PartTree, values: IntArray) -> FunctionPartial:
    """The nodes that hold or lead to any value, by path hash."""
    total = totals(values, part.trie.size)
    touched = totals((values != 0).astype(np.int64), part.trie.size) > 0
    touched[0] = True
    rows = np.flatnonzero(touched)
    return FunctionPartial(_node_table(part.trie, part, rows, values, total))


def _node_table(trie: Trie, part: PartTree, rows: IntArray, values: IntArray, total: IntArray) -> pa.Table:
    names = pa.concat_arrays([part.names.cast(pa.string()), pa.array([""], pa.string())])
    symbol = np.where(trie.symbol[rows] < 0, len(part.names), trie.symbol[rows])
    parent_hash = part.path_hash[trie.parent[rows]]
    parent_hash[0] = 0
    return pa.table(
        {
            "path_hash": part.path_hash[rows],
            "parent_hash": parent_hash,
            "name": pa.DictionaryArray.from_arrays(pa.array(symbol, pa.int32()), names),
            "depth": pa.array(trie.depth[rows], pa.uint32()),
            "first": pa.array(part.first[rows]),
            "self": values[rows],
            "total": total[rows],
        },
        schema=NODES,
    )
