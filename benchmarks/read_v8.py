"""V8's CPU and heap profiles on one core, against json.loads.

python -m benchmarks.read_v8
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from .made_calls import CallTree, file_of, made_tree, name_of
from .reading import Reading, measure_reading

SAMPLES = 3_000_000
ALLOCATIONS = 400_000


def call_frame(function: int) -> dict[str, Any]:
    """A function as V8 names it."""
    place = {"lineNumber": function % 300, "columnNumber": function % 80}
    return {
        "functionName": name_of(function),
        "scriptId": str(function % 50),
        "url": file_of(function),
        **place,
    }


def cpu_profile(chance: Random) -> tuple[bytes, dict[str, int]]:
    """Samples a millisecond and a bit apart; each node says which of its lines ran."""
    tree = made_tree(chance)
    samples = chance.choices(range(len(tree.parent)), k=SAMPLES)
    deltas = [chance.randint(900, 1300) for _ in samples]
    hits = [0] * len(tree.parent)
    for node in samples:
        hits[node] += 1
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(tree.parent):
        children.setdefault(parent, []).append(node)
    nodes = [
        {"id": node, "callFrame": call_frame(tree.function[node]), "hitCount": hits[node]}
        | {"children": children.get(node, [])}
        | {
            "positionTicks": [{"line": tree.function[node] % 300 + 5, "ticks": hits[node]}]
            if hits[node]
            else []
        }
        for node in range(len(tree.parent))
    ]
    end = sum(deltas)
    found = {"nodes": nodes, "startTime": 0, "endTime": end, "samples": samples, "timeDeltas": deltas}
    totals = {"samples:count": SAMPLES, "wall:nanoseconds": (end - deltas[0]) * 1000}
    raw = json.dumps(found, separators=(",", ":")).encode()
    return raw, {f"wall:{key}:wall:nanoseconds": total for key, total in totals.items()}


def heap_node(tree: CallTree, children: dict[int, list[int]], sizes: list[int], node: int) -> dict[str, Any]:
    """A node and all below it."""
    return {
        "callFrame": call_frame(tree.function[node]),
        "selfSize": sizes[node],
        "id": node,
        "children": [heap_node(tree, children, sizes, child) for child in children.get(node, [])],
    }


def heap_profile(chance: Random) -> tuple[bytes, dict[str, int]]:
    """Allocations all over the tree."""
    tree = made_tree(chance)
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(tree.parent):
        children.setdefault(parent, []).append(node)
    samples = [
        {"size": chance.randint(16, 100_000), "nodeId": chance.randrange(len(tree.parent)), "ordinal": at}
        for at in range(ALLOCATIONS)
    ]
    sizes = [0] * len(tree.parent)
    for sample in samples:
        sizes[sample["nodeId"]] += sample["size"]
    found = {"head": heap_node(tree, children, sizes, 0), "samples": samples}
    totals = {"samples:count": ALLOCATIONS, "inuse_space:bytes": sum(sizes)}
    raw = json.dumps(found, separators=(",", ":")).encode()
    return raw, {f"memory:{key}:space:bytes": total for key, total in totals.items()}


def main() -> None:
    """Measure both."""
    for name, make in (("cpuprofile", cpu_profile), ("heapprofile", heap_profile)):
        measure_reading(Reading(name, *make(Random(1))))


if __name__ == "__main__":
    main()
