"""Goroutine dumps on one core, against splitting the bytes into lines.

python -m benchmarks.read_goroutine_dump
"""

from __future__ import annotations

from .made_stacks import made_stacks
from .reading import Reading, measure_reading, read_bytes

GOROUTINES = 30_000
STATES = ("chan receive", "select, 3 minutes", "IO wait, 12 minutes, locked to thread", "running")


def framed(function: int, number: int) -> str:
    """The two lines of a frame; arguments differ by goroutine."""
    name = f"example.com/app/package{function % 50}.(*Type).Function{function}"
    place = f"/src/app/package{function % 50}/file{function}.go:{function % 900 + 1} +0x{function % 97:x}"
    return f"{name}(0xc{number:09x}, {{0x{function:x}?, 0x1}})\n\t{place}"


def main() -> None:
    """Measure the dump of a process with many goroutines, whose arguments all differ."""
    parts = []
    for number, stack in enumerate(made_stacks(GOROUTINES)):
        frames = "\n".join(framed(function, number) for function in reversed(stack))
        created = f"created by main.serve in goroutine {number}\n\t/src/app/main.go:7 +0x1d"
        parts.append(f"goroutine {number + 1} [{STATES[number % 4]}]:\n{frames}\n{created}\n")
    raw = "\n".join(parts).encode()
    totals = {"goroutine:goroutine:count:goroutine:count": GOROUTINES}
    measure_reading(Reading("goroutine-dump", raw, totals, read_bytes))


if __name__ == "__main__":
    main()
