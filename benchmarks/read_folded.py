"""Folded stacks on one core, against splitting the bytes into lines.

python -m benchmarks.read_folded
"""

from __future__ import annotations

from random import Random

from .reading import Reading, measure_reading, read_bytes

LINES = 400_000


def main() -> None:
    """Measure a text of many distinct stacks."""
    chance = Random(1)
    names = [f"module_{number % 50}.function_{number}" for number in range(2000)]
    lines, total = [], 0
    for _ in range(LINES):
        depth = chance.randint(5, 40)
        count = chance.randint(1, 1000)
        first = chance.randrange(len(names) - depth)
        lines.append(f"{';'.join(names[first : first + depth])} {count}")
        total += count
    raw = "\n".join(lines).encode()
    measure_reading(Reading("folded", raw, {"process_cpu:samples:count::": total}, read_bytes))


if __name__ == "__main__":
    main()
