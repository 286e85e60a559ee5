"""Reports of macOS's `sample` on one core, against splitting the bytes into lines.

python -m benchmarks.read_sample
"""

from __future__ import annotations

from random import Random

from .reading import Reading, measure_reading, read_bytes

THREADS = 60
DEPTH = 30
NODES = 6000


def thread_lines(chance: Random, number: int) -> tuple[list[str], int]:
    """The tree of one thread, and the samples at its root."""
    depths = [0]
    for _ in range(NODES):
        depths.append(min(chance.randint(max(depths[-1] - 8, 1), depths[-1] + 1), DEPTH))
    counts = [1] * len(depths)
    open_nodes: list[int] = []
    parents = []
    for row, depth in enumerate(depths):
        del open_nodes[depth:]
        parents.append(open_nodes[-1] if open_nodes else -1)
        open_nodes.append(row)
    for row in range(len(depths) - 1, 0, -1):
        counts[parents[row]] += counts[row]
    lines = [f"    {counts[0]} Thread_{number}   DispatchQueue_1: com.apple.main-thread  (serial)"]
    for depth, count in zip(depths[1:], counts[1:], strict=True):
        function = chance.randrange(3000)
        indent = "    " + "+ ! : | "[: 2 * (depth % 4)] + "  " * (depth - depth % 4)
        address = f"0x{0x100000000 + function * 64:x}"
        frame = f"function_{function}(int)  (in lib{function % 50}.dylib) + {function % 97}"
        place = f"[{address}]  file{function % 50}.cpp:{function % 900}"
        lines.append(f"{indent}{count} {frame}  {place}")
    return lines, counts[0]


def main() -> None:
    """Measure the trees of many threads."""
    chance = Random(1)
    lines = ["Analysis of sampling app (pid 42) every 1 millisecond", "Call graph:"]
    total = 0
    for number in range(THREADS):
        more, count = thread_lines(chance, number)
        lines += more
        total += count
    raw = "\n".join([*lines, "", "Total number in stack", ""]).encode()
    totals = {
        "wall:samples:count:wall:nanoseconds": total,
        "wall:wall:nanoseconds:wall:nanoseconds": total * 1_000_000,
    }
    measure_reading(Reading("sample", raw, totals, read_bytes))


if __name__ == "__main__":
    main()
