"""bpftrace's maps on one core, against splitting the bytes into lines.

python -m benchmarks.read_bpftrace
"""

from __future__ import annotations

from .made_stacks import made_stacks
from .reading import Reading, measure_reading, read_bytes

ENTRIES = 60_000


def main() -> None:
    """Measure a map of kernel and user stacks and commands."""
    parts, total = [], 0
    for number, stack in enumerate(made_stacks(ENTRIES)):
        frames = [
            f"    module_{function % 50}_function_{function}+{function % 97}" for function in reversed(stack)
        ]
        kernel, user = "\n".join(frames[:5]), "\n".join(frames[5:])
        parts.append(f"@[\n{kernel}\n, \n{user}\n, worker-{number % 20}]: {number % 7 + 1}\n")
        total += number % 7 + 1
    raw = ("Attaching 1 probe...\n\n" + "".join(parts)).encode()
    measure_reading(Reading("bpftrace", raw, {"process_cpu:samples:count::": total}, read_bytes))


if __name__ == "__main__":
    main()
