"""A made call tree and a walk over it: what the benchmarks of readers of browsers' formats are fed with."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

FUNCTIONS = 2000
NODES = 20_000
DEEPEST = 40


@dataclass(frozen=True)
class CallTree:
    """Nodes with parents before them (-1: none), and the function of each."""

    parent: list[int]
    function: list[int]
    depth: list[int]

    def stack(self, node: int) -> list[int]:
        """The functions on the way to a node, root first."""
        found = []
        while node >= 0:
            found.append(self.function[node])
            node = self.parent[node]
        return found[::-1]


def made_tree(chance: Random) -> CallTree:
    """A tree as programs have: long branches that split near their ends."""
    tree = CallTree([-1], [0], [1])
    while len(tree.parent) < NODES:
        above = chance.randrange(max(len(tree.parent) - 500, 0), len(tree.parent))
        if tree.depth[above] < DEEPEST:
            tree.parent.append(above)
            tree.function.append(chance.randrange(FUNCTIONS))
            tree.depth.append(tree.depth[above] + 1)
        else:
            tree.parent.append(chance.randrange(1000) if len(tree.parent) > 1000 else 0)
            tree.function.append(chance.randrange(FUNCTIONS))
            tree.depth.append(tree.depth[tree.parent[-1]] + 1)
    return tree


def name_of(function: int) -> str:
    """What a function is called."""
    return f"module{function % 50}.handler{function}"


def file_of(function: int) -> str:
    """Where it is."""
    return f"file:///srv/app/src/module{function % 50}/handlers.js"


def walk(tree: CallTree, steps: int, chance: Random) -> list[tuple[str, int]]:
    """Calls (`O`) and returns (`C`) of functions, nested as the tree is, and as many of one as of the other."""
    below: dict[int, list[int]] = {}
    for node, parent in enumerate(tree.parent):
        below.setdefault(parent, []).append(node)
    events: list[tuple[str, int]] = []
    open_nodes: list[int] = []
    while len(events) + len(open_nodes) < steps:
        children = below.get(open_nodes[-1] if open_nodes else -1, [])
        if children and (not open_nodes or chance.random() < 0.55):
            node = chance.choice(children)
            open_nodes.append(node)
            events.append(("O", tree.function[node]))
        else:
            events.append(("C", tree.function[open_nodes.pop()]))
    return events + [("C", tree.function[node]) for node in reversed(open_nodes)]
