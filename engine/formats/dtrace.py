"""DTrace's aggregations by stacks: the frames of a stack, leaf first, and below them the count.

What stands less deep than frames is the rest of the key: a text is the command's name. Of a distribution the number of
events is taken. A frame is `module`function+0x1f`: the module becomes the mapping.

Source of the format: the DTrace guide, aggregations and `stack()`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ...schema.errors import CorruptProfile, LimitExceeded
from . import Decoded, Failed, Input, Row, one_by_one
from .names import name_reader
from .piecewise import Piecewise
from .profile_builder import Label, Labels, MappedFile, ProfileBuilder
from .profile_columns import ProfileHeader
from .text import is_text
from .text_lines import read_lines, text_of

FRAME_INDENT = 8
"""Spaces before a frame: DTrace writes 14 unless it is told otherwise, and 2 before keys."""

_FRAME_LINE = rb"^[ \t]{8,}(?:[^\s`]+`\S.*|0x[0-9a-f]+)\r?\n"
_BLOCK = re.compile(
    _FRAME_LINE + rb"(?:(?:[ \t]+\S.*|[ \t]*)\r?\n){0,3}?[ \t]*(?:\S.*[ \t])?\d+[ \t]*\r?$", re.MULTILINE
)
_COUNT = re.compile(rb"\s*(?:(\S.*?)\s+)?(-?\d{1,19})\s*")
_BUCKET = re.compile(rb"\s*[<>=]*\s*-?\d+\s*\|[@ ]*\s(\d{1,19})\s*")
_DISTRIBUTION = re.compile(rb"\s*(?:value|key)\s+-+ Distribution -+.*")
_FRAME = re.compile(r"(?:(?P<module>[^\s`]+)`)?(?P<name>.+?)(?:\+0x[0-9a-f]+)?")
_ADDRESS = re.compile(r"0x([0-9a-f]{1,16})")
_COLUMNS = re.compile(rb"\s{2,}")
_MOST_LINES = 100_000


class Dtrace:
    """Indented frames, then an integer on a line of its own."""

    name = "dtrace"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it is text with frames of DTrace and a count below them."""
        return is_text(head) and _BLOCK.search(head) is not None

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile: `samples/count`."""
        return one_by_one(inputs, _read)


def _read(number: int, one: Input) -> Iterator[Decoded]:
    """The pieces of the profile. Raises `CorruptProfile` when no stack has a count."""
    builder = ProfileBuilder(ProfileHeader((("samples", "count"),)), name_reader(one))
    profile = Piecewise(builder, Row(number, "process_cpu"))
    frames = _Frames(builder)
    found = False
    for stack, keys, count in _Blocks(one.raw).read():
        found = True
        profile.add(list(map(frames.__getitem__, stack)), (count,), _labels(keys))
        if profile.full:
            yield profile.cut()
    if not found:
        raise CorruptProfile("no stack has a count below it")
    yield profile.cut()


class _Blocks:
    """The text, cut where counts stand: frames, the other parts of the key, the count."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._stack: list[bytes] = []
        self._keys: list[bytes] = []
        self._events = -1

    def read(self) -> Iterator[tuple[list[bytes], list[bytes], int]]:
        """The blocks. Raises `CorruptProfile` for frames at the end without a count, `LimitExceeded`."""
        line = b""
        for line in read_lines(self._raw):
            if self._events >= 0:
                bucket = _BUCKET.fullmatch(line)
                if bucket:
                    self._events += int(bucket.group(1))
                    continue
                yield self._end((), self._events)
            count = self._take(line)
            if count is not None:
                yield self._end(_COLUMNS.split(count[0]) if count[0] else (), count[1])
        if self._events >= 0:
            yield self._end((), self._events)
        elif self._stack:
            raise CorruptProfile(f"the last stack has no count: it ends with {text_of(line[:40])!r}")

    def _take(self, line: bytes) -> tuple[bytes, int] | None:
        """A line of a block; what it counts and a key before that, where it ends the block."""
        text = line.strip()
        if not text:
            # A key stands right above its stack.
            self._keys = self._keys if self._stack else []
            return None
        indent = len(line) - len(line.lstrip())
        count = _COUNT.fullmatch(line) if self._stack else None
        if count and not (indent >= FRAME_INDENT and count.group(1) and b"`" in count.group(1)):
            return count.group(1) or b"", int(count.group(2))
        if _DISTRIBUTION.fullmatch(line):
            self._events = 0
        elif indent >= FRAME_INDENT or b"`" in text:
            self._stack.append(text)
            if len(self._stack) > _MOST_LINES:
                raise LimitExceeded(f"a stack of more than {_MOST_LINES} frames")
        elif indent:
            self._keys = _COLUMNS.split(text)
        return None

    def _end(self, keys: Sequence[bytes], count: int) -> tuple[list[bytes], list[bytes], int]:
        block = self._stack, [*self._keys, *keys], count
        self._stack, self._keys, self._events = [], [], -1
        return block


class _Frames(dict[bytes, int]):
    """Locations by the text of a frame."""

    def __init__(self, builder: ProfileBuilder) -> None:
        super().__init__()
        self._builder = builder

    def __missing__(self, frame: bytes) -> int:
        text = text_of(frame)
        address = _ADDRESS.fullmatch(text)
        found = _FRAME.fullmatch(text)
        if address:
            line = (self._builder.function(text), 0, 0)
            location = self._builder.location((line,), address=int(address.group(1), 16))
        elif found is None:
            location = self._builder.frame(text)
        else:
            mapping = self._builder.mapping(MappedFile(found["module"])) if found["module"] else 0
            location = self._builder.location(((self._builder.function(found["name"]), 0, 0),), mapping)
        self[frame] = location
        return location


def _labels(keys: Sequence[bytes]) -> Labels:
    """The parts of a key beside the stack; the first text is taken for the command's name."""
    labels: list[Label] = []
    for place, key in enumerate(keys, start=1):
        if key.isdigit() and len(key) < 19:
            labels.append(Label(f"key{place}", number=int(key)))
        else:
            taken = any(label.key == "comm" for label in labels)
            labels.append(Label(f"key{place}" if taken else "comm", text_of(key)))
    return tuple(labels)
