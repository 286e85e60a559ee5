"""Firefox profiles on one core, against `json.loads`: the processed format as samply writes it, and the Gecko format.

python -m benchmarks.read_firefox
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from .made_stacks import FUNCTIONS, made_stacks
from .reading import Reading, measure_reading

THREADS = 8
STACKS = 6000
SAMPLES_PER_STACK = 4

Node = tuple[int | None, int]


def made_nodes(seed: int) -> tuple[list[Node], list[int]]:
    """The nodes of a thread's stacks, callers first, and the nodes at which stacks end."""
    numbers: dict[Node, int] = {}
    leaves = []
    for stack in made_stacks(STACKS, seed):
        node: int | None = None
        for function in stack:
            node = numbers.setdefault((node, function), len(numbers))
        assert node is not None
        leaves.append(node)
    return list(numbers), leaves


def processed_thread(number: int) -> dict[str, Any]:
    """A thread as samply writes it."""
    nodes, leaves = made_nodes(number)
    chance = Random(number)
    samples = [chance.choice(leaves) for _ in range(SAMPLES_PER_STACK * STACKS)]
    functions = range(FUNCTIONS)
    count, none = len(samples), [None] * FUNCTIONS
    return {
        "name": f"worker-{number}",
        "pid": "42",
        "tid": str(number),
        "samples": {
            "length": count,
            "weightType": "samples",
            "stack": samples,
            "timeDeltas": [round(chance.random(), 6) for _ in samples],
            "weight": [1] * count,
            "threadCPUDelta": [chance.randrange(1000) for _ in samples],
        },
        "stackTable": {
            "length": len(nodes),
            "prefix": [prefix for prefix, _ in nodes],
            "frame": [frame for _, frame in nodes],
        },
        "frameTable": {
            "length": FUNCTIONS,
            "address": [64 * function for function in functions],
            "inlineDepth": [0] * FUNCTIONS,
            "func": list(functions),
            "nativeSymbol": none,
            "line": [function % 900 + 1 for function in functions],
            "column": none,
        },
        "funcTable": {
            "length": FUNCTIONS,
            "name": list(functions),
            "resource": [0] * FUNCTIONS,
            "fileName": none,
            "lineNumber": none,
        },
        "resourceTable": {"length": 1, "lib": [0], "name": [0], "host": [None], "type": [1]},
        "nativeSymbols": {"length": 0, "address": [], "libIndex": [], "name": []},
        "stringArray": [f"app::module_{function % 50}::function_{function}" for function in functions],
    }


def gecko_thread(number: int) -> dict[str, Any]:
    """A thread as Firefox writes it."""
    nodes, leaves = made_nodes(number)
    chance = Random(number)
    return {
        "name": "GeckoMain",
        "pid": number,
        "tid": number,
        "samples": {
            "schema": {"stack": 0, "time": 1, "eventDelay": 2},
            "data": [[chance.choice(leaves), time + 0.5, 0] for time in range(SAMPLES_PER_STACK * STACKS)],
        },
        "stackTable": {"schema": {"prefix": 0, "frame": 1}, "data": nodes},
        "frameTable": {
            "schema": {"location": 0, "relevantForJS": 1, "innerWindowID": 2, "implementation": 3, "line": 4},
            "data": [[function, False, 0, None, function % 900 + 1] for function in range(FUNCTIONS)],
        },
        "stringTable": [f"function_{n} (https://example.com/app{n % 50}.js:{n}:3)" for n in range(FUNCTIONS)],
    }


def main() -> None:
    """Measure a profile of each format."""
    count = THREADS * STACKS * SAMPLES_PER_STACK
    meta = {"interval": 1, "startTime": 1.7e12, "version": 24, "product": "app"}
    processed: dict[str, Any] = {
        "meta": meta | {"preprocessedProfileVersion": 55, "sampleUnits": {"threadCPUDelta": "\u00b5s"}},
        "libs": [{"name": "app", "path": "/opt/app", "codeId": "feed"}],
        "threads": [processed_thread(number) for number in range(THREADS)],
    }
    cpu_us = sum(sum(thread["samples"]["threadCPUDelta"][1:]) for thread in processed["threads"])
    totals = {"process_cpu:samples:count": count, "process_cpu:wall:nanoseconds": count * 1_000_000}
    totals["process_cpu:cpu:nanoseconds"] = cpu_us * 1000
    with_period = {f"{kind}:cpu:nanoseconds": total for kind, total in totals.items()}
    measure_reading(Reading("firefox", json.dumps(processed).encode(), with_period))
    gecko = {"meta": meta, "libs": [], "threads": [gecko_thread(number) for number in range(THREADS)]}
    totals = {
        "wall:samples:count:wall:nanoseconds": count,
        "wall:wall:nanoseconds:wall:nanoseconds": count * 1_000_000,
    }
    measure_reading(Reading("firefox", json.dumps(gecko).encode(), totals))


if __name__ == "__main__":
    main()
