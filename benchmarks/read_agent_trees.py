"""Tries and trees of old Pyroscope agents on one core, against looking at every byte once.

python -m benchmarks.read_agent_trees
"""

from __future__ import annotations

from random import Random

from .reading import Reading, measure_reading, read_bytes

NODES = 200_000
DEEPEST = 40


def uvarint(number: int) -> bytes:
    """A number as the formats write it."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def made_tree(separator: bytes) -> tuple[bytes, int]:
    """A tree of functions, depth first, with `separator` before the name of a frame that has a caller; its total."""
    chance = Random(1)
    names = [
        f"github.com/shop/checkout/module_{number % 50}.function_{number}".encode() for number in range(2000)
    ]
    depths = [0, 1]
    while len(depths) < NODES:
        depths.append(min(chance.randint(max(1, depths[-1] - 3), depths[-1] + 1), DEEPEST))
    children = [0] * NODES
    path: list[int] = []
    for number, depth in enumerate(depths):
        del path[depth:]
        if path:
            children[path[-1]] += 1
        path.append(number)
    parts, total = [b"\0\0", uvarint(children[0])], 0
    for depth, count in zip(depths[1:], children[1:], strict=True):
        name = (separator if depth > 1 else b"") + chance.choice(names)
        value = chance.randint(1, 1000) if chance.random() < 0.5 else 0
        total += value
        parts += [uvarint(len(name)), name, uvarint(value), uvarint(count)]
    return b"".join(parts), total


def main() -> None:
    """Measure both, one after the other."""
    for name, separator in (("tree", b""), ("trie", b";")):
        raw, total = made_tree(separator)
        measure_reading(
            Reading(name, raw, {"process_cpu:samples:count::": total}, read_bytes, detected=False)
        )


if __name__ == "__main__":
    main()
