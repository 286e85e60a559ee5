"""Call frames and trees as V8 writes them, in CPU profiles, heap profiles and traces.

Source: https://chromedevtools.github.io/devtools-protocol/v8/Profiler/ and …/HeapProfiler/

A call frame is a function and where it is defined; which of its lines ran is said only of the frame on top, if at
all. So a frame's line is the function's first unless it is known better, and its column the function's.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from ...schema.errors import CorruptProfile
from .call_nodes import CallNodes
from .exact_numbers import IntArray
from .profile_builder import ProfileBuilder

ANONYMOUS = "(anonymous)"
"""What V8's own tools call a function without a name."""
ROOT = "(root)"
POSITION_BITS = 31
MAX_POSITION = 2**POSITION_BITS - 1
"""Lines and columns that are larger are none."""


class CallFrame(msgspec.Struct, rename="camel"):
    """A function: its name, its script, and where in it, counted from 0; -1 is not known."""

    function_name: str = ""
    url: str | None = None
    line_number: int | None = None
    column_number: int | None = None


Place = tuple[int, int, int]
"""Function (as the builder numbered it), its first line and the column there, counted from 1; 0 is not known."""


class V8Nodes:
    """The nodes of one tree as columns, put together in any order."""

    def __init__(self, builder: ProfileBuilder) -> None:
        self._builder = builder
        self._places: dict[tuple[str, str | None, int | None, int | None], Place] = {}
        self._row: dict[int, int] = {}
        self.place: list[Place] = []
        self._location: list[int] = []
        self._parent: list[int] = []
        self._is_root: list[bool] = []

    def __len__(self) -> int:
        return len(self.place)

    def add(self, node_id: int, frame: CallFrame) -> int:
        """Add a node; returns its row. Raises `CorruptProfile` for an id that was there before."""
        row = len(self.place)
        if self._row.setdefault(node_id, row) != row:
            raise CorruptProfile(f"nodes: id {node_id} occurs twice")
        key = (frame.function_name, frame.url, frame.line_number, frame.column_number)
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = self._place(frame)
        self.place.append(place)
        self._location.append(self._builder.location((place,)))
        self._parent.append(-1)
        self._is_root.append(frame.function_name == ROOT)
        return row

    def _place(self, frame: CallFrame) -> Place:
        line, column = (
            _position(number, frame.function_name) for number in (frame.line_number, frame.column_number)
        )
        name = frame.function_name or ANONYMOUS
        return self._builder.function(name, frame.url or "", line), line, column if line else 0

    def row_of(self, node_id: int, where: str) -> int:
        """The row of a node. Raises `CorruptProfile` for one that is not there."""
        row = self._row.get(node_id)
        if row is None:
            raise CorruptProfile(f"{where}: there is no node {node_id}")
        return row

    def rows_of(self, node_ids: IntArray, where: str, first: int = 0) -> IntArray:
        """The rows of nodes, the list's items from `first` on. Raises `CorruptProfile` for ids that are not there."""
        known = np.fromiter(self._row.keys(), np.int64, len(self._row))
        rows = _places_of(node_ids, known)
        bad = np.flatnonzero(rows < 0)
        if len(bad):
            raise CorruptProfile(f"{where}[{first + bad[0]}]: there is no node {node_ids[bad[0]]}")
        return rows

    def adopt(self, parent: int, child: int) -> None:
        """Make the node in row `child` a child of that in row `parent`."""
        self._parent[child] = parent

    def own_line(self, row: int, line: int, column: int = 0) -> int:
        """The location of a node of which a line is known to have run; 0 is not known."""
        function, first_line, first_column = self.place[row]
        if line <= 0 or line > MAX_POSITION:
            return self._location[row]
        if not 0 < column <= MAX_POSITION:
            column = first_column if line == first_line else 0
        return self._builder.location(((function, line, column),))

    def locations(self) -> IntArray:
        """The location of each node."""
        return np.array(self._location, np.int64)

    def columns(self) -> CallNodes:
        """The tree. A root that stands for the program as a whole is no frame of what it calls."""
        parent = np.array(self._parent, np.int64)
        program = np.array(self._is_root, np.bool_) & (parent < 0)
        parent[np.append(program, False)[parent]] = -1
        return CallNodes(parent, self.locations())


def _places_of(numbers: IntArray, known: IntArray) -> IntArray:
    """The place of each number in `known`, -1 for one that is not there."""
    if not len(known):
        return np.full(len(numbers), -1)
    least, largest = int(known.min()), int(known.max())
    if largest - least < 16 * len(known):
        # V8 counts its nodes, so that a table does it.
        table = np.full(largest - least + 1, -1)
        table[known - least] = np.arange(len(known))
        fits = (numbers >= least) & (numbers <= largest)
        found: IntArray = np.where(fits, table[np.where(fits, numbers - least, 0)], -1)
        return found
    order = np.argsort(known)
    candidates = order[np.minimum(np.searchsorted(known, numbers, sorter=order), len(known) - 1)]
    return np.where(known[candidates] == numbers, candidates, -1)


def _position(number: int | None, name: str) -> int:
    """A line or column counted from 1; 0 for one that is not known."""
    if number is None or number < 0:
        return 0
    if number >= MAX_POSITION:
        raise CorruptProfile(f"callFrame of {name!r}: position {number} is above {MAX_POSITION - 1}")
    return number + 1


def split_by_ticks(value: int, ticks: Iterable[int]) -> list[int]:
    """A value in whole parts that are to each other as `ticks`, as near as can be, and add up to it."""
    counts = list(ticks)
    total, seen, given = sum(counts), 0, 0
    parts = []
    for count in counts:
        seen += count
        upto = value * seen // total if total else 0
        parts.append(upto - given)
        given = upto
    return parts
