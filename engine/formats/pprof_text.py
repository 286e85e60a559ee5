"""The text profiles of Go's `/debug/pprof/…?debug=1`: goroutine, threadcreate, heap, allocs, mutex, block, and one's own.

A record is values, `@`, the addresses of a stack leaf first, and a comment for each frame that Go names; the frames
without a comment, which are the runtime's own, are passed over then. Sampled allocations and contentions are scaled to
all of them, as pprof does when it reads the same text.

Source of the format: Go's `runtime/pprof`, and `profile/legacy_profile.go` of google/pprof.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp

from ...schema.errors import CorruptProfile
from . import Decoded, Failed, Input, Row, one_by_one
from .json_document import decode_json
from .names import name_reader
from .piecewise import Piecewise
from .profile_builder import Label, Labels, ProfileBuilder
from .profile_columns import ProfileHeader, ValueType
from .text_lines import read_lines, text_of

_COUNT_TITLE = re.compile(rb"(\S{1,200}) profile: total \d+\s*")
_HEAP_TITLE = re.compile(
    rb"heap profile: *\d+: *\d+ *\[ *\d+: *\d+\] *@ *(heap|heap_v2|heapz_v2|heapprofile)(?:/(\d{1,15}))?\s*"
)
_CONTENTION_TITLE = re.compile(rb"--- (mutex|contention):\s*")
_TITLES = (_COUNT_TITLE, _HEAP_TITLE, _CONTENTION_TITLE)
_SETTING = re.compile(rb"([a-z/ ]+?) ?= ?(\d{1,18})")
_RECORD = re.compile(rb"([\d: \[\]]+) @((?: 0x[0-9a-f]{1,16})*)\s*")
_SYMBOL = re.compile(rb"#\t0x([0-9a-f]{1,16})\t(.+?)(?:\+0x[0-9a-f]+)?\t+(.+?):(\d{1,9})\s*")
_LABELS = b"# labels: "
_END = (b"# runtime.MemStats", b"MAPPED_LIBRARIES:", b"--- Memory map: ---")
_NUMBER = re.compile(rb"\d{1,19}")
_MAX = 2**63

_HEAP_TYPES = (
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
)


class PprofText:
    """`goroutine profile: total 7`, `heap profile: …`, `--- mutex:`."""

    name = "pprof-text"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether the first line is the title of such a profile."""
        first = head[:4096].split(b"\n", 1)[0]
        return any(title.fullmatch(first) for title in _TITLES)

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile."""
        return one_by_one(inputs, lambda number, one: _Text(number, one).read())


@dataclass(frozen=True)
class _Kind:
    """What the values of records mean: sampling at `rate` (0: every one), `period` events for each, `ghz` of cycles."""

    name: str
    types: Sequence[ValueType]
    rate: int = 0
    period: int = 1
    ghz: float = 0.0

    def header(self) -> ProfileHeader:
        """The same, as a profile says it."""
        if self.name == "memory":
            return ProfileHeader(self.types, ("space", "bytes"), self.rate, default_sample_type="inuse_space")
        return ProfileHeader(self.types, self.types[0], self.period)

    def values(self, numbers: Sequence[int]) -> Sequence[int]:
        """The values of a record. Raises `CorruptProfile` when it has another number of them."""
        wanted = {"memory": 4, "mutex": 2, "block": 2}.get(self.name, 1)
        if len(numbers) != wanted:
            raise CorruptProfile(f"a record has {len(numbers)} values, of {wanted}")
        if self.name == "memory":
            inuse, alloc = self._scaled(*numbers[:2]), self._scaled(*numbers[2:])
            return (*alloc, *inuse)
        if wanted == 2:
            cycles, count = numbers
            delay = cycles * self.period
            return (count * self.period, _whole(delay / self.ghz) if self.ghz else delay)
        return numbers

    def _scaled(self, objects: int, size_bytes: int) -> tuple[int, int]:
        """What was sampled as what there was: large objects are sampled more often than small ones."""
        if self.rate <= 1 or not objects or not size_bytes:
            return objects, size_bytes
        scale = 1 / (1 - exp(-size_bytes / objects / self.rate))
        return _whole(objects * scale), _whole(size_bytes * scale)


def _whole(value: float) -> int:
    if not abs(value) < _MAX:
        raise CorruptProfile(f"a value of {value:.3g} does not fit 64 bits")
    return int(value)


def _kind_of(title: bytes) -> _Kind:
    """The kind that a title line says. Raises `CorruptProfile` for another line."""
    heap = _HEAP_TITLE.fullmatch(title)
    if heap:
        rate = int(heap.group(2) or 0)
        # Go and old collectors write twice the rate here.
        rate = {b"heap": rate // 2, b"heapprofile": 0}.get(heap.group(1), rate)
        return _Kind("memory", _HEAP_TYPES, rate)
    contention = _CONTENTION_TITLE.fullmatch(title)
    if contention:
        name = "mutex" if contention.group(1) == b"mutex" else "block"
        return _Kind(name, (("contentions", "count"), ("delay", "nanoseconds")))
    count = _COUNT_TITLE.fullmatch(title)
    if count:
        name = count.group(1).decode("utf-8", "replace")
        return _Kind(name, ((name, "count"),))
    raise CorruptProfile("the first line is no title as 'goroutine profile: total 7'")


@dataclass
class _Record:
    """A record as far as it was read."""

    values: Sequence[int]
    addresses: bytes
    stack: list[int]
    labels: Labels = ()


class _Text:
    """One input."""

    def __init__(self, number: int, one: Input) -> None:
        self._raw = one.raw
        self._lines = enumerate(read_lines(one.raw), start=1)
        self._kind = _kind_of(next(self._lines, (1, b""))[1])
        builder = ProfileBuilder(self._kind.header(), name_reader(one))
        self._profile = Piecewise(builder, Row(number, self._kind.name))
        self._frames = _Frames(builder)
        self._labels: dict[bytes, Labels] = {}

    def read(self) -> Iterator[Decoded]:
        """The pieces of the profile. Raises `CorruptProfile` naming the line of a record that is none."""
        record: _Record | None = None
        for number, line in self._lines:
            if line.startswith(_END):
                break
            if line.startswith(b"#"):
                self._comment(record, line)
            elif b"@" in line:
                self._add(record)
                record = self._record(number, line)
                if self._profile.full:
                    yield self._profile.cut()
            elif record is None and (setting := _SETTING.fullmatch(line.strip())):
                self._set(setting)
        self._add(record)
        yield self._profile.cut()

    def _record(self, number: int, line: bytes) -> _Record:
        found = _RECORD.fullmatch(line)
        if found is None:
            raise CorruptProfile(f"line {number}: {text_of(line[:40])!r} is no record")
        numbers = _NUMBER.findall(found.group(1))
        try:
            return _Record(self._kind.values([int(one) for one in numbers]), found.group(2), [])
        except CorruptProfile as error:
            raise CorruptProfile(f"line {number}: {error}") from None

    def _comment(self, record: _Record | None, line: bytes) -> None:
        if record is None:
            return
        if line.startswith(_LABELS):
            labels = self._labels.get(line)
            if labels is None:
                labels = self._labels[line] = _labels_of(line.removeprefix(_LABELS))
            record.labels = labels
            return
        location = self._frames[line]
        if location:
            record.stack.append(location)

    def _add(self, record: _Record | None) -> None:
        if record is not None:
            # Addresses are of what is returned to; the call is before it.
            stack = record.stack or [
                self._frames.bare(int(one, 16) - 1) for one in record.addresses.split() if int(one, 16)
            ]
            self._profile.add(stack, record.values, record.labels)

    def _set(self, setting: re.Match[bytes]) -> None:
        """A line of a contention profile's head."""
        key, value = setting.group(1).strip(), int(setting.group(2))
        if key == b"cycles/second":
            self._kind = replace(self._kind, ghz=value / 1e9)
        elif key == b"sampling period" and value:
            self._kind = replace(self._kind, period=value)
            self._profile.builder.header = self._kind.header()


class _Frames(dict[bytes, int]):
    """Locations by comment; 0 for comments that name no frame."""

    def __init__(self, builder: ProfileBuilder) -> None:
        super().__init__()
        self._builder = builder

    def __missing__(self, line: bytes) -> int:
        found = _SYMBOL.fullmatch(line)
        location = 0
        if found:
            function = self._builder.function(text_of(found.group(2)), text_of(found.group(3)))
            location = self._builder.location(
                ((function, int(found.group(4)), 0),), address=int(found.group(1), 16)
            )
        self[line] = location
        return location

    def bare(self, address: int) -> int:
        """The location of an address of which nothing is known: it is its own name."""
        address = max(address, 0)
        return self._builder.location(((self._builder.function(f"{address:#x}"), 0, 0),), address=address)


def _labels_of(text: bytes) -> Labels:
    """Labels as Go writes them, which is JSON but for rare escapes; those are left out."""
    try:
        found: Mapping[str, str] = decode_json(text, dict[str, str])
    except CorruptProfile:
        return ()
    return tuple(Label(key, value) for key, value in found.items() if key)
