"""Chrome traces on one core, duration events and CPU profiles, against json.loads.

python -m benchmarks.read_chrome_trace
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from .made_calls import made_tree, name_of, walk
from .read_v8 import call_frame
from .reading import Reading, measure_reading

EVENTS = 400_000
CHUNKS = 8000
CHUNK_SAMPLES = 100


def spans(chance: Random) -> tuple[bytes, dict[str, int]]:
    """Begins and ends on one thread, with arguments as programs add them."""
    at_us = depth = total_us = 0
    events: list[dict[str, Any]] = []
    for kind, function in walk(made_tree(chance), EVENTS, chance):
        step_us = chance.randint(1, 500)
        at_us += step_us
        total_us += step_us if depth else 0
        depth += 1 if kind == "O" else -1
        events.append(
            {"args": {"id": len(events)}, "cat": "made", "name": name_of(function), "pid": 17, "tid": 18}
            | {"ph": "B" if kind == "O" else "E", "ts": at_us}
        )
    return json.dumps({"traceEvents": events}).encode(), {"wall:wall:nanoseconds::": total_us * 1000}


def profiles(chance: Random) -> tuple[bytes, dict[str, int]]:
    """A CPU profile that is streamed, a few nodes with each chunk."""
    tree = made_tree(chance)
    said = {"cat": "disabled-by-default-v8.cpu_profiler", "id": "0x1", "pid": 17, "tid": 18, "ph": "P"}
    events = [said | {"name": "Profile", "ts": 1, "args": {"data": {"startTime": 0}}}]
    known, first_us, total_us = 0, 0, 0
    for chunk in range(CHUNKS):
        upto = min(known + 10, len(tree.parent))
        nodes = [
            {"callFrame": call_frame(tree.function[node]), "id": node + 1}
            | ({"parent": tree.parent[node] + 1} if node else {})
            for node in range(known, upto)
        ]
        known = upto
        samples = [chance.randrange(known) + 1 for _ in range(CHUNK_SAMPLES)]
        deltas = [chance.randint(90, 300) for _ in samples]
        first_us, total_us = first_us or deltas[0], total_us + sum(deltas)
        data = {"cpuProfile": {"nodes": nodes, "samples": samples}, "timeDeltas": deltas}
        data["lines"] = [tree.function[node - 1] % 300 + 5 for node in samples]
        events.append(said | {"name": "ProfileChunk", "ts": chunk, "args": {"data": data}})
    raw = json.dumps({"traceEvents": events}, separators=(",", ":")).encode()
    totals = {"samples:count": CHUNKS * CHUNK_SAMPLES, "wall:nanoseconds": (total_us - first_us) * 1000}
    return raw, {f"wall:{key}:wall:nanoseconds": total for key, total in totals.items()}


def main() -> None:
    """Measure both."""
    for make in (spans, profiles):
        measure_reading(Reading(f"chrome-trace {make.__name__}", *make(Random(1))))


if __name__ == "__main__":
    main()
