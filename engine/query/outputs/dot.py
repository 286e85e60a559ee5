"""A call graph for graphviz: functions as boxes sized by self, calls as arrows weighed by total."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from ....schema.profile_type import parse_profile_type
from ..calltree import CallTree
from ..export import Export

DEFAULT_NODES = 80
"""Functions shown when the request sets no bound."""


def write_dot(export: Export) -> bytes:
    """The functions of largest total and the calls between them; a skipped callee's caller gets a dashed arrow."""
    tree = export.tree
    table = export.top()
    total = int(tree.values["total"][0])
    ranked = table.sort_by([("total", "descending"), ("function", "ascending")])
    shown = ranked.slice(0, export.request.max_nodes or DEFAULT_NODES).to_pylist()
    numbers = {row["function"]: number for number, row in enumerate(shown, start=1)}
    unit = parse_profile_type(export.resolved.plan.profile_type or "::::").sample_unit
    lines = ['digraph "flameduck" {', '  node [shape=box, fontname="sans-serif"]']
    for row in shown:
        lines.append(f"  {_node(numbers[row['function']], row, total, unit)}")
    for (caller, callee, direct), value in sorted(
        _calls(tree, numbers).items(), key=lambda item: (-item[1], item[0])
    ):
        style = "" if direct else ", style=dashed"
        width = 1 + 4 * value / total if total else 1
        lines.append(
            f'  N{caller} -> N{callee} [label=" {value}", weight={1 + int(100 * width / 5)}, penwidth={width:.2f}{style}]'
        )
    return ("\n".join([*lines, "}"]) + "\n").encode()


def _node(number: int, row: dict[str, int | str], total: int, unit: str) -> str:
    own, cumulative = int(row["self"]), int(row["total"])
    share = own / total if total else 0.0
    size = 8 + 16 * math.sqrt(max(share, 0.0))
    label = _quoted(f"{row['function']}\n{own} ({share:.2%}) of {cumulative}")
    tooltip = _quoted(f"{row['function']} ({cumulative} {unit})")
    return f"N{number} [label={label}, fontsize={size:.0f}, tooltip={tooltip}]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", " ").replace("\n", "\\n")
    return f'"{escaped}"'


def _calls(tree: CallTree, numbers: dict[str, int]) -> Counter[tuple[int, int, bool]]:
    """Totals by (caller, callee, direct); a call counts once a stack, at its outermost place."""
    number = np.array([numbers.get(name, 0) for name in tree.names.to_pylist()] + [0])[tree.trie.symbol]
    nearest = np.zeros(len(tree.trie), np.int64)
    calls: Counter[tuple[int, int, bool]] = Counter()
    seen: list[frozenset[tuple[int, int]]] = [frozenset()]
    parents, totals = tree.trie.parent.tolist(), tree.values["total"].tolist()
    for node in range(1, len(tree.trie)):
        above = parents[node]
        holder = above if number[above] else int(nearest[above])
        nearest[node] = holder
        caller, callee = int(number[holder]), int(number[node])
        edge = (caller, callee)
        if not callee or not caller or edge in seen[above]:
            seen.append(seen[above])
            continue
        calls[caller, callee, holder == above] += totals[node]
        seen.append(seen[above] | {edge})
    return calls
