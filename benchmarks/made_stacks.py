"""Stacks for benchmarks of readers: a walk through a made-up program, so that stacks share their callers."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

FUNCTIONS = 3000
FANOUT = 6


def made_stacks(count: int, seed: int = 1) -> Iterator[list[int]]:
    """Stacks of functions, root first, 8 to 40 deep; most of them differ."""
    chance = Random(seed)
    for _ in range(count):
        function = 0
        stack = [function]
        for depth in range(chance.randint(7, 39)):
            function = (function * FANOUT + chance.randrange(FANOUT) + depth + 1) % FUNCTIONS
            stack.append(function)
        yield stack
