"""Small profiles for tests, written as folded text, and what a plain walk over them says."""

from __future__ import annotations

from collections import Counter

from flameduck.engine.embedded import FilesDatabase, open_files
from flameduck.schema.profile import Upload

Stack = tuple[str, ...]


def folded(stacks: Counter[Stack]) -> bytes:
    """`main;work 3` for each stack."""
    return "".join(f"{';'.join(stack)} {value}\n" for stack, value in stacks.items()).encode()


def opened(stacks: Counter[Stack]) -> FilesDatabase:
    """The stacks as a file that is open."""
    return open_files([Upload(folded(stacks), {"service_name": "test"}, "test.folded", time_ns=1)])


def top_of(stacks: Counter[Stack]) -> dict[str, tuple[int, int]]:
    """Self and total by function, recursion counted once."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for stack, value in stacks.items():
        own[stack[-1]] += value
        for function in set(stack):
            total[function] += value
    return {function: (own[function], total[function]) for function in total}


def tree_of(stacks: Counter[Stack]) -> dict[Stack, tuple[int, int]]:
    """Self and total of every path from the root; the root is the empty path."""
    nodes: dict[Stack, tuple[int, int]] = {(): (0, 0)}
    for stack, value in stacks.items():
        for depth in range(len(stack) + 1):
            own, total = nodes.get(stack[:depth], (0, 0))
            nodes[stack[:depth]] = (own + (value if depth == len(stack) else 0), total + value)
    return nodes
