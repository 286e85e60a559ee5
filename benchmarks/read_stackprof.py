"""stackprof's JSON on one core, against `json.loads`.

python -m benchmarks.read_stackprof
"""

from __future__ import annotations

import json

from .made_stacks import FUNCTIONS, made_stacks
from .reading import Reading, measure_reading

STACKS = 60_000
FIRST_ID = 139_979_437_045_800


def main() -> None:
    """Measure a profile of many stacks."""
    frames = {
        str(FIRST_ID + 40 * function): {
            "name": f"Module{function % 50}::Type#method_{function}",
            "file": f"/app/lib/file{function % 50}.rb",
            "line": function % 900 + 1,
            "total_samples": 1,
            "samples": 1,
        }
        for function in range(FUNCTIONS)
    }
    raw: list[int] = []
    total = 0
    for number, stack in enumerate(made_stacks(STACKS)):
        raw += [len(stack), *(FIRST_ID + 40 * function for function in stack), number % 7 + 1]
        total += number % 7 + 1
    document = {"version": 1.2, "mode": "wall", "interval": 1000, "samples": total, "gc_samples": 0}
    document |= {"missed_samples": 0, "frames": frames, "raw": raw}
    totals = {
        "wall:samples:count:wall:nanoseconds": total,
        "wall:wall:nanoseconds:wall:nanoseconds": total * 1_000_000,
    }
    measure_reading(Reading("stackprof", json.dumps(document).encode(), totals))


if __name__ == "__main__":
    main()
