"""Go's goroutine dumps: `/debug/pprof/goroutine?debug=2`, and what a panic, a fatal error or SIGQUIT prints.

Every goroutine is a sample of 1. Who created it is the label `created_by` and no frame, so that the stacks are those
of the goroutine profile of the same process. Arguments and offsets into functions are passed over; of a goroutine's
number nothing is kept, for no two would be equal.

Source of the format: the Go runtime, `traceback.go` and `runtime/pprof`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ...schema.errors import CorruptProfile
from . import Decoded, Failed, Input, Row, one_by_one
from .json_document import decode_json
from .names import name_reader
from .piecewise import Piecewise
from .profile_builder import Label, Labels, ProfileBuilder
from .profile_columns import ProfileHeader
from .text import is_text
from .text_lines import read_lines, text_of

_HEADER = re.compile(rb"goroutine \d+ (?:gp=\S+ m=\S+ (?:mp=\S+ )?)?\[(.+)\]:\s*")
_ANY_HEADER = re.compile(rb"^" + _HEADER.pattern.removesuffix(rb"\s*") + rb"\s*?$", re.MULTILINE)
_PLACE = re.compile(rb"\t(.*?)(?::(\d{1,9}))?(?: \+0x[0-9a-f]+)?(?: fp=.*)?")
_CREATED_BY = re.compile(rb"created by (.+?)(?: in goroutine \d+)?")
_ELIDED = re.compile(rb"\.\.\.((?:\d+|additional) frames elided)\.\.\.")
_MINUTES = re.compile(r"(\d{1,9}) minutes")
_REASON = (b"panic:", b"fatal error:", b"SIG", b"[signal ")
_LABELS = " labels:"
_MOST_REASONS = 10
_LONGEST_REASON = 1000

_GOROUTINES = ("goroutine", "count")


class GoroutineDump:
    """`goroutine 7 [chan receive]:`, and below it two lines a frame, leaf first."""

    name = "goroutine-dump"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it is text in which the stack of a goroutine begins."""
        return is_text(head) and _ANY_HEADER.search(head) is not None

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile: `goroutine/count`."""
        return one_by_one(inputs, lambda number, one: _Dump(number, one).read())


class _Frames(dict[tuple[bytes, bytes], int]):
    """Locations by function and the line below it."""

    def __init__(self, builder: ProfileBuilder) -> None:
        super().__init__()
        self._builder = builder

    def __missing__(self, key: tuple[bytes, bytes]) -> int:
        function, place = key
        found = _PLACE.fullmatch(place)
        filename, line = (found.group(1), int(found.group(2) or 0)) if found else (b"", 0)
        location = self._builder.frame(text_of(function), text_of(filename), line)
        self[key] = location
        return location


class _Dump:
    """One input, read line by line."""

    def __init__(self, number: int, one: Input) -> None:
        self._raw = one.raw
        builder = ProfileBuilder(
            ProfileHeader((_GOROUTINES,), period_type=_GOROUTINES, period=1), name_reader(one)
        )
        self._profile = Piecewise(builder, Row(number, "goroutine"))
        self._frames = _Frames(builder)
        self._states: dict[bytes, Labels] = {}
        self._reasons: list[str] = []

    def read(self) -> Iterator[Decoded]:
        """The pieces of the profile. Raises `CorruptProfile` when there is no goroutine at all."""
        state: bytes | None = None
        body: list[bytes] = []
        count = 0
        for line in read_lines(self._raw):
            if not line.startswith(b"goroutine ") or (found := _HEADER.fullmatch(line)) is None:
                if state is None:
                    self._note(line)
                else:
                    body.append(line)
                continue
            if state is not None:
                self._add(state, body)
                if self._profile.full:
                    yield self._cut()
            state, body, count = found.group(1), [], count + 1
        if state is None:
            raise CorruptProfile("no line is as 'goroutine 1 [running]:'")
        self._add(state, body)
        yield self._cut()

    def _cut(self) -> Decoded:
        return self._profile.cut()

    def _note(self, line: bytes) -> None:
        """What is said before the first goroutine: why the program ended."""
        if line.startswith(_REASON) and len(self._reasons) < _MOST_REASONS:
            self._reasons.append(text_of(line[:_LONGEST_REASON]).encode("utf-8", "replace").decode())
            self._profile.builder.header = ProfileHeader(
                (_GOROUTINES,), period_type=_GOROUTINES, period=1, comments=tuple(self._reasons)
            )

    def _add(self, state: bytes, body: Sequence[bytes]) -> None:
        """One goroutine. Its stack ends with the first empty line, or where it says who created it."""
        stack: list[int] = []
        labels = self._states.get(state)
        if labels is None:
            labels = self._states[state] = _labels_of(text_of(state))
        function = b""
        for line in body:
            if line.startswith(b"\t"):
                if function:
                    stack.append(self._frames[function, line])
                    function = b""
            elif not line:
                break
            elif line.startswith(b"created by ") and (by := _CREATED_BY.fullmatch(line)):
                labels = (*labels, Label("created_by", text_of(by.group(1))))
                break
            else:
                if function:
                    stack.append(self._frames[function, b""])
                function = _function_of(line)
        if function:
            stack.append(self._frames[function, b""])
        self._profile.add(stack, (1,), labels)


def _function_of(line: bytes) -> bytes:
    """The name without the arguments; frames that were left out become one that says so."""
    if line.startswith(b"..."):
        elided = _ELIDED.fullmatch(line)
        if elided:
            return b"[" + elided.group(1) + b"]"
    if line.endswith(b")"):
        return line[: line.rfind(b"(")] or line
    return line


def _labels_of(state: str) -> Labels:
    """The labels that what stands in the brackets comes to."""
    state, _, written = state.partition(_LABELS)
    words = state.split(", ")
    labels = [Label("state", words[0])]
    for word in words[1:]:
        minutes = _MINUTES.fullmatch(word)
        if minutes:
            labels.append(Label("wait", number=int(minutes.group(1)), unit="minutes"))
        elif word == "locked to thread":
            labels.append(Label("locked_to_thread", "true"))
        else:
            labels.append(Label("state_detail", word))
    return (*labels, *(Label(key, text) for key, text in _written(written).items() if key))


def _written(text: str) -> Mapping[str, str]:
    """The goroutine's own labels, which Go writes as JSON but for rare escapes; those are left out."""
    if not text:
        return {}
    try:
        return decode_json(text.encode("utf-8", "replace"), dict[str, str])
    except CorruptProfile:
        return {}
