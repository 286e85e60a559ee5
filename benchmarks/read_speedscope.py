"""speedscope files on one core, sampled and evented, against json.loads.

python -m benchmarks.read_speedscope
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from .made_calls import FUNCTIONS, file_of, made_tree, name_of, walk
from .reading import Reading, measure_reading

SAMPLES = 300_000
EVENTS = 1_000_000


def document(profile: dict[str, Any], length: float) -> bytes:
    """A file of one profile in seconds."""
    frames = [{"name": name_of(at), "file": file_of(at), "line": at % 300 + 1} for at in range(FUNCTIONS)]
    said = {"name": "made", "unit": "seconds", "startValue": 0, "endValue": length}
    schema = "https://www.speedscope.app/file-format-schema.json"
    return json.dumps(
        {"$schema": schema, "shared": {"frames": frames}, "profiles": [said | profile]}, separators=(",", ":")
    ).encode()


def sampled(chance: Random) -> tuple[bytes, int]:
    """Samples of 10 ms, and what they add up to."""
    tree = made_tree(chance)
    stacks = [tree.stack(node) for node in range(len(tree.parent))]
    samples = chance.choices(stacks, k=SAMPLES)
    raw = document({"type": "sampled", "samples": samples, "weights": [0.01] * SAMPLES}, SAMPLES / 100)
    return raw, SAMPLES * 10_000_000


def evented(chance: Random) -> tuple[bytes, int]:
    """Events a microsecond and a bit apart."""
    calls = walk(made_tree(chance), EVENTS, chance)
    at_ns = 0
    events, depth, total_ns = [], 0, 0
    for kind, frame in calls:
        step_ns = chance.randint(100, 5000)
        at_ns += step_ns
        total_ns += step_ns if depth else 0
        depth += 1 if kind == "O" else -1
        events.append({"type": kind, "frame": frame, "at": at_ns / 1e9})
    return document({"type": "evented", "events": events}, at_ns / 1e9), total_ns


def main() -> None:
    """Measure both."""
    for make in (sampled, evented):
        raw, total_ns = make(Random(1))
        measure_reading(Reading(f"speedscope {make.__name__}", raw, {"wall:wall:nanoseconds::": total_ns}))


if __name__ == "__main__":
    main()
