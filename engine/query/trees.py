"""Answers made from call trees: flame graphs, tops, trees, diffs, sandwiches, lines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.errors import RequestError
from ...schema.partial import FunctionPartial
from ...schema.request import (
    DiffRequest,
    DiffTopRequest,
    Flamegraph,
    FlamegraphDiff,
    FlamegraphRequest,
    LinesRequest,
    Normalisation,
    Rows,
    SandwichRequest,
    TopRequest,
    TreeQuery,
    TreeRequest,
)
from .calltree import join_nodes, largest_nodes, order_nodes, rescaled
from .flamegraph import flamegraph, flamegraph_diff
from .project import SOURCE_SEPARATOR
from .sandwich import callees_of, callers_of
from .snapshot import Resolved, Snapshot, resolve
from .weights import deltas, profiles_of, weighted

IntArray = npt.NDArray[np.int64]


def gather(snapshot: Snapshot, tree: TreeQuery) -> tuple[FunctionPartial, Resolved]:
    """The whole call tree of a query, and how its selection was resolved."""
    resolved = resolve(snapshot, tree.selection)
    if tree.delta:
        if tree.aggregate != "sum":
            raise RequestError(f"delta goes with the aggregate sum, not {tree.aggregate}")
        if resolved.plan.picked is not None:
            raise RequestError("delta compares whole profiles: it does not go with span and trace ids")
        weights = deltas(snapshot, resolved)
    else:
        weights = weighted(snapshot, resolved, tree.aggregate)
    partial = snapshot.source.aggregate(resolved.plan, tree, weights)
    snapshot.watch.phase("shape")
    if weights.scale != 1:
        partial = FunctionPartial(rescaled(partial.nodes, "self", "total", 1 / weights.scale))
    return partial, resolved


def answer_flamegraph(snapshot: Snapshot, request: FlamegraphRequest) -> Flamegraph:
    """The call tree as rows of bars."""
    partial, resolved = gather(snapshot, request.tree)
    kept = largest_nodes(partial.nodes, partial.nodes.column("total").to_numpy(), request.max_nodes)
    graph = flamegraph(order_nodes(kept))
    return replace(graph, profile_type=resolved.plan.profile_type, notes=resolved.notes)


def answer_top(snapshot: Snapshot, request: TopRequest) -> Rows:
    """Functions by self value."""
    partial, resolved = gather(snapshot, request.tree)
    table = _limited(top_table(partial.nodes), request.limit)
    return Rows(table, resolved.plan.profile_type, resolved.notes)


def top_table(nodes: pa.Table) -> pa.Table:
    """Self and total by name, largest self first; recursion counts once in total.

    A function without a name is `<unknown>` here, as pprof prints it.
    """
    inner = nodes.filter(pc.greater(nodes.column("depth"), 0)).combine_chunks()
    column = inner.column("name").combine_chunks()
    shown = pc.if_else(pc.equal(column.dictionary, ""), "<unknown>", column.dictionary).dictionary_encode()
    code = shown.indices.to_numpy()[column.indices.to_numpy()]
    own, total = np.zeros(len(shown.dictionary), np.int64), np.zeros(len(shown.dictionary), np.int64)
    np.add.at(own, code, inner.column("self").to_numpy())
    first = inner.column("first").to_numpy()
    np.add.at(total, code[first], inner.column("total").to_numpy()[first])
    used = np.unique(code)
    functions = shown.dictionary.take(pa.array(used))
    table = pa.table({"function": functions, "self": own[used], "total": total[used]})
    order = [("self", "descending"), ("total", "descending"), ("function", "ascending")]
    return table.take(pc.sort_indices(table, sort_keys=order))


def answer_tree(snapshot: Snapshot, request: TreeRequest) -> Rows:
    """Every node in pre-order."""
    partial, resolved = gather(snapshot, request.tree)
    tree = order_nodes(partial.nodes)
    names = pa.concat_arrays([tree.names, pa.array(["total"])])
    named_root = np.where(tree.trie.depth == 0, len(tree.names), tree.trie.symbol)
    table = pa.table(
        {
            "node": np.arange(len(tree.trie)),
            "parent": pa.array(tree.trie.parent, mask=tree.trie.depth == 0),
            "depth": tree.trie.depth,
            "function": names.take(pa.array(named_root)),
            "self": tree.values["self"],
            "total": tree.values["total"],
        }
    )
    return Rows(table, resolved.plan.profile_type, resolved.notes)


def answer_diff(snapshot: Snapshot, request: DiffRequest, other: Snapshot | None = None) -> FlamegraphDiff:
    """Two call trees side by side; `other` is where the right one is, when not in the same place."""
    sides = _Sides.of(snapshot, other or snapshot, request.left, request.right)
    joined = join_nodes(sides.left.nodes, sides.right.nodes)
    if request.normalise != "none":
        joined = rescaled(joined, "right_self", "right_total", sides.right_scale(request.normalise))
    weight = np.maximum(joined.column("left_total").to_numpy(), joined.column("right_total").to_numpy())
    kept = largest_nodes(joined, weight, request.max_nodes)
    tree = order_nodes(kept, ("left_self", "left_total", "right_self", "right_total"))
    return replace(flamegraph_diff(tree), profile_type=sides.profile_type, notes=sides.notes)


def answer_diff_top(snapshot: Snapshot, request: DiffTopRequest, other: Snapshot | None = None) -> Rows:
    """Functions of two call trees, the largest change first."""
    sides = _Sides.of(snapshot, other or snapshot, request.left, request.right)
    left, right = top_table(sides.left.nodes), top_table(sides.right.nodes)
    functions = pa.chunked_array([*left.column("function").chunks, *right.column("function").chunks]).unique()
    of_left = _values_of(left, functions, sides.unit("left", request.normalise))
    of_right = _values_of(right, functions, sides.unit("right", request.normalise))
    delta = of_right["total"] - of_left["total"]
    table = pa.table(
        {
            "function": functions,
            "left_self": of_left["self"],
            "right_self": of_right["self"],
            "left_total": of_left["total"],
            "right_total": of_right["total"],
            "delta": delta,
        }
    )
    table = table.take(pc.sort_indices(table, sort_keys=[("function", "ascending")]))
    own_change = np.abs(table.column("right_self").to_numpy() - table.column("left_self").to_numpy())
    order = np.lexsort((-own_change, -np.abs(table.column("delta").to_numpy())))
    return Rows(_limited(table.take(order), request.limit), sides.profile_type, sides.notes)


def _values_of(top: pa.Table, functions: pa.Array, unit: float | None) -> dict[str, npt.NDArray[Any]]:
    """Self and total of each function, 0 where the table lacks it, divided by `unit` if there is one."""
    rows = pc.index_in(functions, value_set=top.column("function").combine_chunks())
    columns = {name: pc.fill_null(top.column(name).take(rows), 0).to_numpy() for name in ("self", "total")}
    return {name: values if unit is None else values / unit for name, values in columns.items()}


class _Sides:
    """The two trees of a diff, with what normalising needs: totals, and profile-seconds."""

    def __init__(
        self, left: tuple[FunctionPartial, Resolved], right: tuple[FunctionPartial, Resolved]
    ) -> None:
        self.left, self._left = left
        self.right, self._right = right
        self.profile_type = self._right.plan.profile_type or self._left.plan.profile_type
        self.notes = (*dict.fromkeys(self._left.notes + self._right.notes),)
        self._seconds = (0.0, 0.0)

    @classmethod
    def of(cls, snapshot: Snapshot, other: Snapshot, left: TreeQuery, right: TreeQuery) -> _Sides:
        """Gather both; windows that differ are noted."""
        sides = cls(gather(snapshot, left), gather(other, right))
        sides._seconds = (_profile_seconds(snapshot, sides._left), _profile_seconds(other, sides._right))
        a, b = sides._seconds
        if a and b and abs(a - b) > 0.05 * max(a, b):
            sides.notes += (
                f"the windows differ: {a:.0f} s of profiles against {b:.0f} s; normalise by rate to compare",
            )
        return sides

    def unit(self, side: str, normalise: Normalisation) -> float | None:
        """What one side's values are divided by; None when they stay as they are."""
        if normalise == "none":
            return None
        partial, seconds = (self.left, self._seconds[0]) if side == "left" else (self.right, self._seconds[1])
        if normalise == "rate":
            if not seconds:
                raise RequestError(f"cannot normalise by rate: the {side} profiles have no duration")
            return seconds
        return float(_root_total(partial)) or 1.0

    def right_scale(self, normalise: Normalisation) -> float:
        """The factor that makes the right side comparable with the left, whose values stay."""
        left, right = self.unit("left", normalise), self.unit("right", normalise)
        return (left or 1.0) / (right or 1.0)


def _profile_seconds(snapshot: Snapshot, resolved: Resolved) -> float:
    """Durations of the profiles of a query, added up."""
    profiles = profiles_of(snapshot, resolved)
    total_ns = 0
    for number, ulid in enumerate(profiles.ulids):
        rows = profiles.rows.row[profiles.block == number]
        durations = (
            snapshot.blocks[ulid].block.table("profiles", ["duration_ns"]).column("duration_ns").to_numpy()
        )
        total_ns += int(durations[rows].sum())
    return total_ns / 1e9


def _root_total(partial: FunctionPartial) -> int:
    roots = partial.nodes.filter(pc.equal(partial.nodes.column("depth"), 0))
    return int(roots.column("total")[0].as_py()) if len(roots) else 0


def answer_sandwich(snapshot: Snapshot, request: SandwichRequest) -> Flamegraph:
    """Callers or callees of one function."""
    partial, resolved = gather(snapshot, request.tree)
    tree = order_nodes(partial.nodes)
    found = pc.index_in(pa.scalar(request.function), value_set=tree.names).as_py()
    if found is None:
        raise RequestError(f"no function {request.function!r} in these profiles")
    nodes = (callees_of if request.direction == "callees" else callers_of)(tree, found)
    kept = largest_nodes(nodes, nodes.column("total").to_numpy(), request.max_nodes)
    graph = flamegraph(order_nodes(kept))
    return replace(graph, profile_type=resolved.plan.profile_type, notes=resolved.notes)


def answer_lines(snapshot: Snapshot, request: LinesRequest) -> Rows:
    """Values by source line of the functions that a pattern finds."""
    source = replace(request.tree, granularity="source")
    partial, resolved = gather(snapshot, source)
    table = top_table(partial.nodes)
    parts = pc.split_pattern(table.column("function"), SOURCE_SEPARATOR)
    function, filename, line = (pc.list_element(parts, position) for position in range(3))
    try:
        found = pc.match_substring_regex(function, request.pattern)
    except pa.ArrowInvalid as error:
        raise RequestError(f"regular expression {request.pattern!r}: {error}") from None
    split = pa.table(
        {
            "function": function,
            "filename": filename,
            "line": line.cast(pa.int64()),
            "self": table.column("self"),
            "total": table.column("total"),
        }
    ).filter(found)
    order = [("function", "ascending"), ("filename", "ascending"), ("line", "ascending")]
    return Rows(
        split.take(pc.sort_indices(split, sort_keys=order)), resolved.plan.profile_type, resolved.notes
    )


def _limited(table: pa.Table, limit: int) -> pa.Table:
    return table.slice(0, limit) if limit > 0 else table
