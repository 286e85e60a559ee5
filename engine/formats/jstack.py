"""Java's thread dumps: `jstack`, `jcmd Thread.print`, or what the JVM prints on SIGQUIT.

Every thread is a sample of 1; its name, state and whether it is a daemon are labels. Locks are passed over. Several
dumps in one file are profiles of their own.

Source of the format: the JDK's `Threads::print_on`, and the dumps it writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from ...schema.errors import CorruptProfile
from . import Decoded, Failed, Input, Row, one_by_one
from .names import name_reader
from .piecewise import Piecewise
from .profile_builder import Label, Labels, ProfileBuilder
from .profile_columns import ProfileHeader
from .text import is_text
from .text_lines import read_lines, text_of

_TITLE = re.compile(rb"^Full thread dump \S", re.MULTILINE)
_THREAD = re.compile(rb'"(.*)" (?:#\d+ |\[\d+\] |daemon |prio=|os_prio=|virtual |tid=).*')
_STATE = re.compile(rb"\s+java\.lang\.Thread\.State: (.+?)\s*")
_FRAME = re.compile(rb"\s+at (?P<name>[^()]+)\((?:[^()/]*/)*(?P<file>[^()/:]*)(?::(?P<line>\d{1,9}))?\)\s*")
_TIME = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_THREADS = ("threads", "count")


class Jstack:
    """`Full thread dump …`, then threads, their frames leaf first."""

    name = "jstack"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it is text with the line that such a dump begins with."""
        return is_text(head) and _TITLE.search(head) is not None

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each dump of an input is one profile: `threads/count`."""
        return one_by_one(inputs, _dumps)


def _dumps(number: int, one: Input) -> Iterator[Decoded]:
    """The dumps of one input. Raises `CorruptProfile` when there is none."""
    starts = [found.start() for found in _TITLE.finditer(one.raw)]
    if not starts:
        raise CorruptProfile("no line is as 'Full thread dump OpenJDK 64-Bit Server VM'")
    for place, (start, stop) in enumerate(zip(starts, [*starts[1:], len(one.raw)], strict=True)):
        part = str(place).encode() if place else b""
        yield from _Dump(one, Row(number, "threads", part=part), _time_ns(one, start)).read(start, stop)


def _time_ns(one: Input, start: int) -> int:
    """The time in the line before a dump, which is that of the machine and taken for UTC; 0 when there is none."""
    found = _TIME.search(one.raw, max(start - 30, 0), start)
    if not found or one.rules != "verbatim":
        return 0
    try:
        when = datetime.strptime(found.group().decode(), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return 0
    return int(when.timestamp()) * 1_000_000_000


class _Dump:
    """One dump."""

    def __init__(self, one: Input, row: Row, time_ns: int) -> None:
        header = ProfileHeader((_THREADS,), period_type=_THREADS, period=1, time_ns=time_ns)
        builder = ProfileBuilder(header, name_reader(one))
        self._raw = one.raw
        self._profile = Piecewise(builder, row)
        self._frames = _Frames(builder)

    def read(self, start: int, stop: int) -> Iterator[Decoded]:
        """The pieces of the profile."""
        labels: Labels | None = None
        stack: list[int] = []
        for line in read_lines(self._raw, start, stop):
            if line[:1] == b'"':
                self._add(labels, stack)
                labels, stack = _labels_of(line), []
                if self._profile.full:
                    yield self._profile.cut()
            elif not line.strip() or not line[:1].isspace():
                self._add(labels, stack)
                labels, stack = None, []
            elif labels is not None:
                location = self._frames[line]
                if location:
                    stack.append(location)
                elif not stack and (state := _STATE.fullmatch(line)):
                    labels = (*labels, Label("state", text_of(state.group(1))))
        self._add(labels, stack)
        yield self._profile.cut()

    def _add(self, labels: Labels | None, stack: Sequence[int]) -> None:
        if labels is not None:
            self._profile.add(stack, (1,), labels)


def _labels_of(line: bytes) -> Labels | None:
    """The labels of a thread by its first line; None for what is no thread."""
    found = _THREAD.fullmatch(line)
    if found is None:
        return None
    labels = [Label("thread", text_of(found.group(1)))] if found.group(1) else []
    if b" daemon " in line[found.end(1) :]:
        labels.append(Label("daemon", "true"))
    return tuple(labels)


class _Frames(dict[bytes, int]):
    """Locations by line; 0 for lines that are no frames."""

    def __init__(self, builder: ProfileBuilder) -> None:
        super().__init__()
        self._builder = builder

    def __missing__(self, line: bytes) -> int:
        found = _FRAME.fullmatch(line)
        location = 0
        if found:
            filename = text_of(found["file"]) if b"." in found["file"] else ""
            location = self._builder.frame(text_of(found["name"]), filename, int(found["line"] or 0))
        self[line] = location
        return location
