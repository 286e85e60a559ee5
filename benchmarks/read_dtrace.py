"""DTrace's aggregations on one core, against splitting the bytes into lines.

python -m benchmarks.read_dtrace
"""

from __future__ import annotations

from .made_stacks import made_stacks
from .reading import Reading, measure_reading, read_bytes

STACKS = 60_000


def main() -> None:
    """Measure an aggregation by command and stack."""
    parts, total = [], 0
    for number, stack in enumerate(made_stacks(STACKS)):
        frames = "\n".join(
            f"              lib{function % 50}.so.1`function_{function}+0x{function % 97:x}"
            for function in reversed(stack)
        )
        parts.append(f"\n  worker-{number % 20}\n{frames}\n            {number % 7 + 1:>6}\n")
        total += number % 7 + 1
    raw = "".join(parts).encode()
    measure_reading(Reading("dtrace", raw, {"process_cpu:samples:count::": total}, read_bytes))


if __name__ == "__main__":
    main()
