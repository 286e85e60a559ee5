"""Text outputs of a call tree: folded stacks, and the flame graph as JSON."""

from __future__ import annotations

import json

import numpy as np

from ....schema.request import FlamegraphDiff
from ..calltree import CallTree
from ..export import Export


def write_folded(export: Export) -> bytes:
    """One line a stack: frames root first, joined by `;`, a space, the value."""
    tree = export.tree
    own = tree.values["self"]
    paths = node_paths(tree)
    lines = [f"{paths[node]} {own[node]}\n" for node in np.flatnonzero(own).tolist()]
    # Lines at the top that begin with # are read as comments.
    lines.sort(key=lambda line: line.startswith("#"))
    return "".join(lines).encode()


def node_paths(tree: CallTree) -> list[str]:
    """The names on the way to each node, joined by `;`; a semicolon or line break in a name becomes a space."""
    names = [name.replace(";", " ").replace("\n", " ").replace("\r", " ") for name in tree.names.to_pylist()]
    paths = [""] * len(tree.trie)
    symbols, parents = tree.trie.symbol.tolist(), tree.trie.parent.tolist()
    for node in range(1, len(paths)):
        above = paths[parents[node]]
        paths[node] = f"{above};{names[symbols[node]]}" if above else names[symbols[node]]
    return paths


def write_json(export: Export) -> bytes:
    """The flame graph's names, levels, total and largest self; a diff's ticks of both sides as well."""
    graph = export.flamegraph()
    answer: dict[str, object] = {
        "names": graph.names,
        "levels": graph.levels,
        "total": graph.total,
        "max_self": graph.max_self,
    }
    if isinstance(graph, FlamegraphDiff):
        answer |= {"left_ticks": graph.left_ticks, "right_ticks": graph.right_ticks}
    return json.dumps(answer, separators=(",", ":")).encode()
