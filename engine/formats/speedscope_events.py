"""Evented profiles of speedscope: frames that open and close, as a call tree with the time on top of each stack."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
import numpy as np

from ...schema.errors import CorruptProfile
from .call_nodes import GrowingTree
from .exact_numbers import IntArray, scaled
from .json_document import Int64
from .speedscope_meaning import Meaning


class Event(msgspec.Struct):
    """A frame opens (`O`) or closes (`C`) at a time, in the unit of the profile."""

    type: Literal["O", "C"]
    frame: Int64
    at: int | float


EVENTS = list[Event]


def read_events(
    pieces: Iterable[list[Event]], start: int | float, meaning: Meaning, where: str
) -> GrowingTree:
    """The calls of the events, with their own time in integers of the meaning.

    Raises `CorruptProfile` for events out of order, and for a frame that closes but is not on top.
    """
    tree = GrowingTree()
    last, node, seen = int(scaled([start], meaning.scale, f"{where}.startValue")[0]), 0, 0
    for events in pieces:
        times = scaled([event.at for event in events], meaning.scale, f"{where}.events")
        _check_order(times, last, events, f"{where}.events", seen)
        last, node = _follow(tree, node, events, (last, times), meaning, f"{where}.events")
        seen += len(events)
    return tree


def _check_order(times: IntArray, last: int, events: list[Event], where: str, seen: int) -> None:
    early = np.flatnonzero(np.diff(times, prepend=last) < 0)
    if len(early):
        at = int(early[0])
        before = events[at - 1].at if at else last
        raise CorruptProfile(f"{where}[{seen + at}]: events out of order, {events[at].at} < {before}")


def _follow(
    tree: GrowingTree,
    node: int,
    events: list[Event],
    clock: tuple[int, IntArray],
    meaning: Meaning,
    where: str,
) -> tuple[int, int]:
    """Walk the tree along events from a node and a time on; returns the time and the node at their end."""
    parent, frame_of, own, child = tree.parent, tree.frame, tree.own, tree.child
    worth, divisor = meaning.worth, meaning.opening_divisor
    last, times = clock
    for event, at in zip(events, times.tolist(), strict=True):
        if event.type == "O":
            own[node] += (at - last) // divisor * worth
            node = child(node, event.frame)
        elif node and frame_of[node] == event.frame:
            own[node] += (at - last) * worth
            node = parent[node]
        else:
            what = "no frame is open" if not node else f"closing non-open frame {event.frame}"
            raise CorruptProfile(f"{where}: {what} at {event.at}")
        last = at
    return last, node
