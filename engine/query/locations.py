"""Exact stacks: values by stack, label set and profile type, with every symbol that they use.

What pprof and table exports are made of. Keyed by content hash, so that blocks merge by union.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema import profile
from ...schema.identity import NO_ID
from ...schema.partial import STACK_VALUES, LocationPartial, merge_location_partials
from ..trie import Ragged, offsets_of
from .opened import OpenBlock
from .picked import picked_rows
from .plan import BlockScan
from .rollups import LABELLED
from .sample_labels import label_columns, labels_of
from .snapshot import Resolved, Snapshot
from .stack_totals import StackTotals, expand_ranges, sums_of
from .weights import profiles_of

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]


def gather_locations(
    snapshot: Snapshot, by_type: Sequence[tuple[str, Resolved]], labels: bool
) -> LocationPartial:
    """All samples of some resolved selections, one a profile type; sample labels only with `labels`."""
    partials = [
        _block_partial(snapshot, scan, profile_type, resolved, labels)
        for profile_type, resolved in by_type
        for scan in resolved.plan.scans
    ]
    snapshot.watch.phase("shape")
    merged = merge_location_partials(partials)
    scale = by_type[0][1].weights.scale if by_type else 1
    if scale == 1:
        return merged
    value = np.rint(merged.values.column("value").to_numpy() / scale).astype(np.int64)
    return replace(merged, values=merged.values.set_column(3, "value", pa.array(value)))


@dataclass(frozen=True)
class _Rows:
    """Values of one block by part, stack and label set, which is a row of `labelsets` (-1: none)."""

    part: IntArray
    stack: IntArray
    labelset: IntArray
    value: IntArray
    labelsets: pa.Table = field(default_factory=profile.LABELSETS.empty_table)


def _block_partial(
    snapshot: Snapshot, scan: BlockScan, profile_type: str, resolved: Resolved, labels: bool
) -> LocationPartial:
    block = snapshot.blocks[scan.ulid]
    if labels and block.meta.sample_extras:
        snapshot.watch.from_samples(scan, LABELLED)
        rows = _labelled_rows(snapshot, block, scan, resolved)
    else:
        rows = _summed_rows(snapshot.source.part_totals(block, scan, resolved.plan, resolved.weights))
    return _described(block, rows, profile_type)


def _summed_rows(totals: Sequence[StackTotals]) -> _Rows:
    sums = sums_of(totals)
    parts = np.array([one.part for one in sums], np.int64)
    part = np.repeat(parts, [len(one.stack) for one in sums])
    stack, value = (_joined([getattr(one, name) for one in sums]) for name in ("stack", "value"))
    return _Rows(part, stack, np.full(len(part), -1), value)


def _joined(columns: Sequence[IntArray]) -> IntArray:
    return np.concatenate(columns) if columns else np.zeros(0, np.int64)


def _labelled_rows(snapshot: Snapshot, block: OpenBlock, scan: BlockScan, resolved: Resolved) -> _Rows:
    profiles = profiles_of(snapshot, resolved)
    mine = profiles.rows.take(profiles.block == profiles.ulids.index(scan.ulid))
    rows, _ = expand_ranges(mine.start, mine.n)
    picked = resolved.plan.picked
    if picked is not None:
        rows = rows[picked_rows(block, rows, picked)]
    if not len(rows):
        return _Rows(*(np.zeros(0, np.int64) for _ in range(4)))
    low, high = int(rows.min()), int(rows.max()) + 1
    columns = ["part", "stack", "value", *label_columns(block)]
    table = block.block.table("samples", columns, (low, high)).take(rows - low)
    labelset, labelsets = labels_of(block, table)
    part, stack, value = (
        table.column(name).to_numpy().astype(np.int64) for name in ("part", "stack", "value")
    )
    return _grouped(_Rows(part, stack, labelset, value, labelsets))


def _grouped(rows: _Rows) -> _Rows:
    """Equal (part, stack, label set) summed; zero sums left out."""
    order = np.lexsort((rows.labelset, rows.stack, rows.part))
    columns: list[IntArray] = [column[order] for column in (rows.part, rows.stack, rows.labelset)]
    new = np.append(True, np.logical_or.reduce([c[1:] != c[:-1] for c in columns]))[: len(order)]
    first = np.flatnonzero(new)
    if not len(first):
        return rows
    value = np.add.reduceat(rows.value[order], first)
    kept = first[value != 0]
    part, stack, labelset = (column[kept] for column in columns)
    return _Rows(part, stack, labelset, value[value != 0], rows.labelsets)


def _described(block: OpenBlock, rows: _Rows, profile_type: str) -> LocationPartial:
    """The rows keyed by content, with the symbols they use."""
    stack_id = np.zeros(len(rows.part), np.uint64)
    lists: list[Ragged] = []
    stack_ids: list[U64Array] = []
    for part in np.unique(rows.part):
        here = rows.part == part
        stacks = block.stacks(int(part))
        used = np.unique(rows.stack[here])
        stack_id[here] = stacks.stack_id[rows.stack[here]]
        lists.append(
            _paths_to_root(
                stacks.trie.parent, stacks.trie.symbol, stacks.trie.depth, stacks.node_of_stack[used]
            )
        )
        stack_ids.append(stacks.stack_id[used])
    flat = Ragged(_joined([p.values for p in lists]), offsets_of(_joined([p.lengths for p in lists])))
    labelset_id = np.zeros(len(rows.part), np.uint64)
    labelsets = profile.LABELSETS.empty_table()
    if (rows.labelset >= 0).any():
        ids = rows.labelsets.column("labelset_id").to_numpy()
        labelset_id = np.where(rows.labelset >= 0, ids[rows.labelset], np.uint64(0))
        labelsets = rows.labelsets.take(pa.array(np.unique(rows.labelset[rows.labelset >= 0])))
    types = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(len(stack_id)), pa.int32()), pa.array([profile_type])
    )
    values = pa.table([stack_id, labelset_id, types, rows.value], schema=STACK_VALUES)
    return LocationPartial(
        values, *_symbols(block, flat, np.concatenate(stack_ids or [np.zeros(0, np.uint64)])), labelsets
    )


def _paths_to_root(parent: IntArray, symbol: IntArray, depth: IntArray, nodes: IntArray) -> Ragged:
    """For each node its symbols up to the root, its own first."""
    offsets = offsets_of(depth[nodes])
    values = np.empty(int(offsets[-1]), np.int64)
    at, slot = nodes, offsets[:-1].copy()
    left = np.flatnonzero(depth[at] > 0)
    at, slot = at[left], slot[left]
    while len(at):
        values[slot] = symbol[at]
        at, slot = parent[at], slot + 1
        alive = depth[at] > 0
        at, slot = at[alive], slot[alive]
    return Ragged(values, offsets)


def _symbols(
    block: OpenBlock, paths: Ragged, stack_ids: U64Array
) -> tuple[pa.Table, pa.Table, pa.Table, pa.Table]:
    """Stacks, locations, functions and mappings as a normalised batch has them."""
    functions = block.table("functions", profile.FUNCTIONS.names)
    mappings = block.table("mappings", profile.MAPPINGS.names)
    locations = locations_by_hash(block, np.unique(paths.values))
    used = locations.column("lines").combine_chunks().values.field("function_id")
    chosen = functions.filter(pc.is_in(functions.column("function_id"), value_set=used))
    return _stack_table(block, paths, stack_ids), locations, chosen, mappings


def _stack_table(block: OpenBlock, paths: Ragged, stack_ids: U64Array) -> pa.Table:
    hashes = pa.array(block.symbols.location_id[paths.values], pa.uint64())
    return pa.table(
        [stack_ids, pa.ListArray.from_arrays(pa.array(paths.offsets, pa.int32()), hashes)],
        schema=profile.STACKS,
    )


def stacks_by_hash(block: OpenBlock) -> tuple[pa.Table, list[U64Array]]:
    """Every stack of a block with its locations, leaf first, once a part; and each part's stack ids by number."""
    parts = [stacks_of_part(block, part) for part in range(len(block.meta.parts))]
    ids = [part.column("stack_id").to_numpy() for part in parts]
    return pa.concat_tables([profile.STACKS.empty_table(), *parts]), ids


def stacks_of_part(block: OpenBlock, part: int) -> pa.Table:
    """The stacks of one part by number, with their locations, leaf first."""
    stacks = block.read_stacks(part)
    trie = stacks.trie
    paths = _paths_to_root(trie.parent, trie.symbol, trie.depth, stacks.node_of_stack)
    return _stack_table(block, paths, stacks.stack_id)


def locations_by_hash(block: OpenBlock, rows: IntArray | None) -> pa.Table:
    """Locations of a block as a normalised batch has them: all, or some rows."""
    stored = block.table("locations", ["location_id", "mapping", "address", "is_folded", "lines"])
    chosen = stored if rows is None else stored.take(pa.array(rows)).combine_chunks()
    mapping_id = block.table("mappings", profile.MAPPINGS.names).column("mapping_id").to_numpy()
    function_id = block.table("functions", profile.FUNCTIONS.names).column("function_id").to_numpy()
    mapping = chosen.column("mapping").to_numpy().astype(np.int64)
    lines = chosen.column("lines").combine_chunks()
    line_function = pa.array(function_id[lines.values.field("function").to_numpy()], pa.uint64())
    named = pa.StructArray.from_arrays(
        [line_function, lines.values.field("line"), lines.values.field("column")],
        ["function_id", "line", "column"],
    )
    return pa.table(
        [
            chosen.column("location_id"),
            pa.array(
                np.append(mapping_id, np.uint64(0))[np.where(mapping == NO_ID, -1, mapping)], pa.uint64()
            ),
            chosen.column("address"),
            chosen.column("is_folded"),
            pa.ListArray.from_arrays(lines.offsets, named),
        ],
        schema=profile.LOCATIONS,
    )
