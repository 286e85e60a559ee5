"""Exact stacks as lists of frames, with files and lines: what formats of whole stacks write."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from ....schema.errors import RequestError
from ....schema.partial import LocationPartial
from ...trie import Ragged, offsets_of
from ..naming import bare_names

IntArray = npt.NDArray[np.int64]

PROFILE_NAME = "profile_name"
"""The sample label that tells profiles of one upload apart, in formats that have several in a file."""


@dataclass(frozen=True)
class Frame:
    """A call; lines and columns begin at 1, and 0 is not known. `start_line` is the first of the function."""

    name: str
    file: str = ""
    line: int = 0
    column: int = 0
    start_line: int = 0


@dataclass(frozen=True)
class StackFrames:
    """Distinct frames, and stacks as lists of their numbers, root first, in the order of the partial's stacks."""

    frames: list[Frame]
    stacks: Ragged


def stack_frames(partial: LocationPartial) -> StackFrames:
    """The stacks of a partial; inlined calls are frames of their own."""
    frames: dict[Frame, int] = {}
    functions = {row["function_id"]: row for row in partial.functions.to_pylist()}
    lengths, flat = [], []
    for row, bare in zip(partial.locations.to_pylist(), bare_names(partial).to_pylist(), strict=True):
        calls = [Frame(bare)] if not row["lines"] else []
        for line in reversed(row["lines"]):
            of = functions[line["function_id"]]
            calls.append(Frame(of["name"], of["filename"], line["line"], line["column"], of["start_line"]))
        lengths.append(len(calls))
        flat += [frames.setdefault(call, len(frames)) for call in calls]
    of_location = Ragged(np.array(flat, np.int64), offsets_of(np.array(lengths, np.int64)))
    lists = partial.stacks.column("locations").combine_chunks()
    ids = partial.locations.column("location_id").combine_chunks()
    rows = pc.index_in(lists.values, value_set=ids).to_numpy().astype(np.int64)
    paths = Ragged(rows, lists.offsets.to_numpy().astype(np.int64)).reversed()
    taken = of_location.take(paths.values)
    stacks = Ragged(taken.values, offsets_of(of_location.lengths[paths.values])[paths.offsets])
    return StackFrames(list(frames), stacks)


def values_by_stack(partial: LocationPartial, label: str = "") -> dict[tuple[str, str], dict[int, int]]:
    """The values of each stack, by profile type and by the text of a sample label; "" where it is not set.

    Raises `RequestError` for a negative one: what these formats hold is weights.
    """
    text_of = {0: ""}
    for row in partial.labelsets.to_pylist():
        text_of[row["labelset_id"]] = next((one["str"] for one in row["labels"] if one["key"] == label), "")
    ids = partial.stacks.column("stack_id").combine_chunks()
    found: dict[tuple[str, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    columns = {name: partial.values.column(name).to_pylist() for name in partial.values.column_names}
    stacks = pc.index_in(partial.values.column("stack_id"), value_set=ids).to_pylist()
    for stack, labelset, kind, value in zip(
        stacks, columns["labelset_id"], columns["profile_type"], columns["value"], strict=True
    ):
        if value < 0:
            raise RequestError(f"{kind} has a stack with {value}: the format has no negative weights")
        found[kind, text_of.get(labelset, "")][stack] += value
    return found
