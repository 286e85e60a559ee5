"""Firefox profiles written for tests, and a plain walk over recorded ones."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.engine.formats.text_examples import FIREFOX


def document(**thread: Any) -> dict[str, Any]:
    """`main;work` with a weight of 7 bytes; `thread` replaces what its one thread holds, or adds to its tables."""
    found: dict[str, Any] = json.loads(FIREFOX)
    for name, value in thread.items():
        known = found["threads"][0].get(name)
        if isinstance(known, dict) and isinstance(value, dict):
            known |= value
        else:
            found["threads"][0][name] = value
    return found


def with_meta(found: dict[str, Any], **meta: Any) -> dict[str, Any]:
    """The same with more said about it."""
    changed = copy.deepcopy(found)
    changed["meta"] |= meta
    return changed


def shared_tables() -> dict[str, Any]:
    """The same as the newest versions write it: all tables shared, callers by their distance, flags for nulls."""
    found = document(samples={"weightType": "samples"})
    thread = found["threads"][0]
    shared = {name: thread.pop(name) for name in ("stringArray", "stackTable", "frameTable", "funcTable")}
    shared |= {name: thread.pop(name) for name in ("resourceTable", "nativeSymbols")}
    shared["stackTable"] = {"length": 2, "prefixOffset": [0, 1], "frame": [0, 1]}
    shared["frameTable"] |= {"flags": [0, 0], "nativeSymbol": [0, 0]}
    shared["funcTable"] |= {"flags": [0, 0], "source": [0, 0]}
    del shared["funcTable"]["fileName"]
    found["shared"] = shared
    found["threads"].append(copy.deepcopy(thread) | {"name": "other"})
    return found


def gecko() -> dict[str, Any]:
    """Two processes as Firefox writes them, with a script, a label, and an address in a library."""
    lib = {"name": "libc", "path": "/lib/libc.so", "codeId": "feed", "start": 4096, "end": 8192, "offset": 0}
    thread = {
        "name": "GeckoMain",
        "processType": "default",
        "pid": 12,
        "tid": 13,
        "samples": {
            "schema": {"stack": 0, "time": 1, "eventDelay": 2, "threadCPUDelta": 3},
            "data": [[2, 1.5, 0, 900], [2, 2.5, 0, 5000], [1, 3.5], [None, 4.5]],
        },
        "stackTable": {"schema": {"prefix": 0, "frame": 1}, "data": [[None, 0], [0, 1], [1, 2]]},
        "frameTable": {
            "schema": {"location": 0, "line": 4, "column": 5},
            "data": [[0], [1, False, 0, None, 12, 3], [2]],
        },
        "stringTable": ["(root)", "price (file:///page.html:5:24)[7]", "0x1010"],
    }
    meta = {"version": 34, "interval": 2, "startTime": 1e12, "sampleUnits": {"threadCPUDelta": "ns"}}
    child = {"meta": meta, "libs": [], "sources": {}, "threads": [copy.deepcopy(thread)], "processes": []}
    return {"libs": [lib], "meta": meta, "sources": {}, "threads": [thread], "processes": [child]}


def plain_stacks(found: dict[str, Any]) -> Counter[tuple[str, ...]]:
    """How often each stack of names was seen, root first: a walk over a recording of either format."""
    counts: Counter[tuple[str, ...]] = Counter()
    for process in (found, *found.get("processes", [])):
        for thread in process["threads"]:
            rows = list(_samples(thread))
            names = list(_node_names(thread))
            for stack, weight in rows:
                path = []
                node = stack
                while node is not None:
                    path.append(names[node][1])
                    node = names[node][0]
                if path:
                    counts[tuple(reversed(path))] += weight
    return counts


def _samples(thread: dict[str, Any]) -> Iterator[tuple[int | None, int]]:
    samples = thread["samples"]
    if "data" in samples:
        yield from ((row[0], 1) for row in samples["data"])
    else:
        yield from zip(samples["stack"], samples["weight"], strict=True)


def _node_names(thread: dict[str, Any]) -> Iterator[tuple[int | None, str]]:
    stacks, frames = thread["stackTable"], thread["frameTable"]
    if "data" in stacks:
        for prefix, frame in stacks["data"]:
            yield prefix, thread["stringTable"][frames["data"][frame][0]]
    else:
        for prefix, frame in zip(stacks["prefix"], stacks["frame"], strict=True):
            yield prefix, thread["stringArray"][thread["funcTable"]["name"][frames["func"][frame]]]
