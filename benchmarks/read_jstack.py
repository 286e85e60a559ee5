"""Java's thread dumps on one core, against splitting the bytes into lines.

python -m benchmarks.read_jstack
"""

from __future__ import annotations

from .made_stacks import made_stacks
from .reading import Reading, measure_reading, read_bytes

THREADS = 40_000


def framed(function: int) -> str:
    """The line of a frame."""
    place = f"app@1.0/Type{function % 50}.java:{function % 900 + 1}"
    return f"\tat com.example.package{function % 50}.Type.method{function}({place})"


def main() -> None:
    """Measure the dump of a process with very many threads."""
    parts = ["2026-01-02 03:04:05\nFull thread dump OpenJDK 64-Bit Server VM (25 mixed mode):\n"]
    for number, stack in enumerate(made_stacks(THREADS)):
        frames = "\n".join(map(framed, reversed(stack)))
        head = f'"worker-{number % 500}" #{number} daemon prio=5 os_prio=0 cpu=1.2ms tid=0x{number:012x} nid=0x1 runnable'
        parts.append(
            f"{head}  [0x0]\n   java.lang.Thread.State: RUNNABLE\n{frames}\n\t- locked <0x1> (a Lock)\n"
        )
    raw = "\n".join(parts).encode()
    measure_reading(Reading("jstack", raw, {"threads:threads:count:threads:count": THREADS}, read_bytes))


if __name__ == "__main__":
    main()
