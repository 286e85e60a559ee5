"""Go's text profiles on one core, against splitting the bytes into lines.

python -m benchmarks.read_pprof_text
"""

from __future__ import annotations

from .made_stacks import made_stacks
from .reading import Reading, measure_reading, read_bytes

RECORDS = 30_000


def commented(function: int) -> str:
    """The comment that names a frame."""
    name = f"example.com/app.(*Type{function % 50}).Function{function}+0x{function % 97:x}"
    return (
        f"#\t0x{0x3FFFFF + 64 * function:x}\t{name}\t\t/src/app/file{function % 50}.go:{function % 900 + 1}"
    )


def main() -> None:
    """Measure a heap profile whose every allocation was sampled."""
    parts, objects, size_bytes = ["heap profile: 1: 1 [1: 1] @ heapprofile\n"], 0, 0
    for number, stack in enumerate(made_stacks(RECORDS)):
        addresses = " ".join(f"0x{0x400000 + 64 * function:x}" for function in reversed(stack))
        frames = "\n".join(map(commented, reversed(stack)))
        parts.append(f"0: 0 [{number % 7 + 1}: {number % 7 * 100 + 8}] @ {addresses}\n{frames}\n\n")
        objects += number % 7 + 1
        size_bytes += number % 7 * 100 + 8
    raw = "".join(parts).encode()
    totals = {
        "memory:alloc_objects:count:space:bytes": objects,
        "memory:alloc_space:bytes:space:bytes": size_bytes,
    }
    totals |= {"memory:inuse_objects:count:space:bytes": 0, "memory:inuse_space:bytes:space:bytes": 0}
    measure_reading(Reading("pprof-text", raw, totals, read_bytes))


if __name__ == "__main__":
    main()
