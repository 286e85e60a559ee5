"""The stack traces of a JFR chunk as lists of locations: a function by name, and a line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ..trie import Ragged, offsets_of
from .jfr_columns import IntArray
from .jfr_pools import Pools

_LINE_BITS = np.int64(0xFFFFFFFF)


@dataclass(frozen=True)
class Frames:
    """Lists of locations, leaf first; `function` of a location is a number into `names`."""

    stacks: Ragged
    function: IntArray
    line: IntArray
    names: list[str]


def read_frames(pools: Pools, rows: IntArray) -> Frames:
    """The stack traces at `rows` of `pools.stacks`; frames whose method or class is missing are left out."""
    stacks = Ragged(pools.stacks.methods, pools.stacks.offsets).take(rows)
    lines = Ragged(pools.stacks.lines, pools.stacks.offsets).take(rows).values & _LINE_BITS
    lines[lines >> 31 > 0] = 0  # the JVM writes -1 where it knows none
    methods, codes = _distinct(stacks.values)
    functions: dict[str, int] = {}
    shown = [pools.frame_name(method) for method in methods.view(np.uint64).tolist()]
    numbers = [-1 if name is None else functions.setdefault(name, len(functions)) for name in shown]
    function = np.array(numbers, np.int64)[codes]
    kept = function >= 0
    lengths = np.diff(np.concatenate([[0], np.cumsum(kept)])[stacks.offsets])
    pairs, locations = _distinct(function[kept] << np.int64(32) | lines[kept])
    return Frames(
        Ragged(locations, offsets_of(lengths)), pairs >> np.int64(32), pairs & _LINE_BITS, list(functions)
    )


def _distinct(values: IntArray) -> tuple[IntArray, IntArray]:
    """Distinct values in the order in which they appear, and the number of each value among them."""
    found = pa.array(values, pa.int64()).dictionary_encode()
    return found.dictionary.to_numpy(), found.indices.to_numpy().astype(np.int64)
