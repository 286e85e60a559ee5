"""Maps that bpftrace prints, keyed by stacks: `@[`, a frame a line, leaf first, `]: 5`.

Every map with stacks is a profile. Of a histogram or statistics, the number of events is what counts. Two stacks in one
key are the kernel's on top of the user's. A map's name may say what its numbers are (`@us`, `@read_bytes`); else they
are samples.

Source of the format: the bpftrace manual.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ...schema.errors import CorruptProfile, LimitExceeded
from . import Decoded, Failed, Input, Row, one_by_one
from .names import name_reader
from .piecewise import Piecewise
from .profile_builder import Label, Labels, MappedFile, ProfileBuilder
from .profile_columns import ProfileHeader, ValueType
from .text import is_text
from .text_lines import line_number, read_lines, text_of

_ENTRY = re.compile(rb"^@(\w*)(?=[\[:])", re.MULTILINE)
_STACK_ENTRY = re.compile(rb"^@\w*\[(?:[^\n]*, ?)?\r?\n[ \t]+\S", re.MULTILINE)
_END = re.compile(rb"(.*)\]: ?(.*)", re.DOTALL)
_COUNT = re.compile(rb"-?\d{1,19}")
_STATISTICS = re.compile(rb"count (\d{1,19}), average -?\d+, total -?\d+")
_BUCKET = re.compile(rb"[\[(].*[\])] +(\d{1,19}) \|[@ ]*\|")
_FRAME = re.compile(
    r"(?:(?P<address>[0-9a-f]{4,16}) )?(?P<name>.+?)(?:\+(?:0x[0-9a-f]+|\d+))?(?: \((?P<file>[^()]+)\))?"
)
_ADDRESS = re.compile(r"(?:0x)?([0-9a-f]{1,16})")
_KERNEL_ENTRY = re.compile(
    rb"\s*(entry_|asm_|do_syscall_64|ret_from_fork|el0t?_|secondary_startup|start_secondary)"
)
_SAMPLES: ValueType = ("samples", "count")
_MOST_MAPS = 200
_MOST_LINES = 100_000

_UNITS: Mapping[str, tuple[ValueType, int]] = MappingProxyType(
    {
        "ns": (("time", "nanoseconds"), 1),
        "nsecs": (("time", "nanoseconds"), 1),
        "us": (("time", "nanoseconds"), 1000),
        "usecs": (("time", "nanoseconds"), 1000),
        "ms": (("time", "nanoseconds"), 1_000_000),
        "msecs": (("time", "nanoseconds"), 1_000_000),
        "bytes": (("size", "bytes"), 1),
    }
)
"""By the end of a map's name."""


class Bpftrace:
    """`@[\\n    read+12\\n    main+3\\n]: 5`."""

    name = "bpftrace"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it is text with a map's entry whose key goes on in indented lines."""
        return is_text(head) and _STACK_ENTRY.search(head) is not None

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each map of an input is one profile."""
        return one_by_one(inputs, _maps)


def _maps(number: int, one: Input) -> Iterator[Decoded]:
    """The profiles of one input. Raises `CorruptProfile` when no map has a stack."""
    runs = _runs(one.raw)
    found = False
    for name, bounds in runs.items():
        for piece in _Map(number, one, name).read(bounds):
            found = True
            yield piece
    if not found:
        raise CorruptProfile("no map has a stack in its key")


def _runs(raw: bytes) -> dict[str, array[int]]:
    """Where the entries of each map are: starts and stops of stretches without another map's."""
    runs: dict[str, array[int]] = {}
    last = b""
    start = -1
    for entry in _ENTRY.finditer(raw):
        if entry.group(1) == last and start >= 0:
            continue
        if start >= 0:
            _note_run(runs, last, start, entry.start())
        last, start = entry.group(1), entry.start()
    if start >= 0:
        _note_run(runs, last, start, len(raw))
    return runs


def _note_run(runs: dict[str, array[int]], name: bytes, start: int, stop: int) -> None:
    runs.setdefault(text_of(name), array("q")).extend((start, stop))
    if len(runs) > _MOST_MAPS:
        raise LimitExceeded(f"{len(runs)} maps; limit {_MOST_MAPS}")


@dataclass
class _Entry:
    """One entry of a map: the stacks in its key, leaf first, the other parts of the key, and the value's lines."""

    line: int
    stacks: list[list[bytes]]
    parts: list[bytes]
    value: list[bytes]

    def frames(self) -> list[bytes]:
        """All frames, leaf first: the kernel's before the user's."""
        stacks = self.stacks
        if len(stacks) == 2 and _KERNEL_ENTRY.match(stacks[1][-1]) and not _KERNEL_ENTRY.match(stacks[0][-1]):
            stacks = [stacks[1], stacks[0]]
        return [line for stack in stacks for line in stack]


def _entries(lines: Iterable[bytes]) -> Iterator[_Entry]:
    """The entries of a stretch, which begins with one; their lines are counted from 0."""
    first = 0
    entry: list[bytes] = []
    for number, line in enumerate(lines):
        if line.startswith(b"@") and entry:
            yield _entry(first, entry)
            entry, first = [], number
        entry.append(line)
        if len(entry) > _MOST_LINES:
            raise LimitExceeded(f"an entry of more than {_MOST_LINES} lines")
    if entry:
        yield _entry(first, entry)


def _entry(number: int, lines: Sequence[bytes]) -> _Entry:
    """Lines as an entry: `@name[`, parts of the key and stacks, `]: ` and the value."""
    entry = _Entry(number, [], [], [])
    bracket = lines[0].find(b"[")
    if bracket < 0:
        entry.value = [lines[0].partition(b":")[2].strip(), *lines[1:]]
        return entry
    in_stack = False
    for at, line in enumerate((lines[0][bracket + 1 :], *lines[1:])):
        if at and line[:1] in (b" ", b"\t"):
            if not in_stack:
                entry.stacks.append([])
            entry.stacks[-1].append(line)
            in_stack = True
            continue
        in_stack = False
        ended = _END.fullmatch(line) if b"]:" in line else None
        key = ended.group(1) if ended else line
        entry.parts += [part.strip(b" ,") for part in key.split(b", ") if part.strip(b" ,")]
        if ended:
            entry.value = [ended.group(2).strip(), *lines[at + 1 :]]
            break
    return entry


class _Frames(dict[bytes, int]):
    """Locations by the line of a stack."""

    def __init__(self, builder: ProfileBuilder) -> None:
        super().__init__()
        self._builder = builder

    def __missing__(self, line: bytes) -> int:
        self[line] = location = self._location(text_of(line.strip()))
        return location

    def _location(self, text: str) -> int:
        """`name+offset`, `address name+offset (file)`, or an address alone, which is shown as it is."""
        builder = self._builder
        bare = _ADDRESS.fullmatch(text)
        if bare:
            return builder.location(((builder.function(text), 0, 0),), address=int(bare.group(1), 16))
        found = _FRAME.fullmatch(text)
        if found is None:
            return builder.frame(text)
        mapping = builder.mapping(MappedFile(found["file"])) if found["file"] else 0
        line = (builder.function(found["name"]), 0, 0)
        return builder.location((line,), mapping, int(found["address"] or "0", 16))


class _Map:
    """One map of an input."""

    def __init__(self, number: int, one: Input, name: str) -> None:
        self._raw = one.raw
        self._name = name
        kind, self._scale = _unit_of(name)
        builder = ProfileBuilder(ProfileHeader((kind,)), name_reader(one))
        row = Row(number, name or "process_cpu", part=f"@{name}".encode())
        self._profile = Piecewise(builder, row)
        self._frames = _Frames(builder)
        self._labels: dict[tuple[bytes, ...], Labels] = {}

    def read(self, bounds: Sequence[int]) -> Iterator[Decoded]:
        """The pieces of the profile; none when no entry has a stack."""
        has_stack = is_settled = False
        for start, stop in zip(bounds[::2], bounds[1::2], strict=True):
            for entry in _entries(read_lines(self._raw, start, stop)):
                if not is_settled and not _COUNT.fullmatch(entry.value[0] if entry.value else b""):
                    # Of a histogram or of statistics it is the events that are counted.
                    self._scale = 1
                    self._profile.builder.header = ProfileHeader((_SAMPLES,))
                is_settled = True
                has_stack = has_stack or bool(entry.stacks)
                stack = list(map(self._frames.__getitem__, entry.frames()))
                self._profile.add(stack, (self._value(entry, start),), self._labels_of(tuple(entry.parts)))
                if self._profile.full and has_stack:
                    yield self._profile.cut()
        if has_stack:
            yield self._profile.cut()

    def _value(self, entry: _Entry, start: int) -> int:
        text = entry.value[0] if entry.value else b""
        if _COUNT.fullmatch(text):
            return int(text) * self._scale
        statistics = _STATISTICS.fullmatch(text)
        if statistics:
            return int(statistics.group(1))
        buckets = [bucket for line in entry.value[1:] if (bucket := _BUCKET.fullmatch(line.strip()))]
        if not text and buckets:
            return sum(int(bucket.group(1)) for bucket in buckets)
        line = line_number(self._raw, start) + entry.line
        raise CorruptProfile(f"the entry in line {line}: value {text_of(text[:40])!r} is no number")

    def _labels_of(self, parts: tuple[bytes, ...]) -> Labels:
        """The parts of a key that are no stacks: the first text is taken for the command's name."""
        labels = self._labels.get(parts)
        if labels is None:
            labels = self._labels[parts] = tuple(_labels(parts))
        return labels


def _labels(parts: Sequence[bytes]) -> Iterator[Label]:
    has_text = False
    for place, part in enumerate(parts, start=1):
        if _COUNT.fullmatch(part) and abs(int(part)) < 2**63:
            yield Label(f"key{place}", number=int(part))
        elif has_text:
            yield Label(f"key{place}", text_of(part))
        else:
            yield Label("comm", text_of(part))
            has_text = True


def _unit_of(name: str) -> tuple[ValueType, int]:
    """What the numbers of a map are, and how many of the unit one is."""
    unit = name.rpartition("_")[2]
    if unit in _UNITS:
        return _UNITS[unit]
    return _SAMPLES, 1
