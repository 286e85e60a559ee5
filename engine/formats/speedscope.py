"""speedscope's JSON: sampled and evented profiles over one table of frames.

Source: https://www.speedscope.app/file-format-schema.json

Profiles of one unit become one profile, of which the label `profile_name` tells what came from which. Under the
pyroscope rules counts mean what a Pyroscope server makes of them (`speedscope_meaning.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

import msgspec
import numpy as np

from ...schema.errors import CorruptProfile
from ..trie import Ragged, offsets_of
from . import Decoded, Failed, Input, Row, one_by_one
from .exact_numbers import IntArray, scaled_number
from .json_document import Int64, array_pieces, decode_json
from .json_head import json_paths
from .names import name_reader
from .profile_builder import Label, Labels, ProfileBuilder
from .sample_pieces import SamplePieces
from .speedscope_events import EVENTS, Event, read_events
from .speedscope_meaning import Meaning, Said, meanings_of

SCHEMA = "https://www.speedscope.app/file-format-schema.json"
PROFILE_NAME = "profile_name"

_SHAPES = (
    {"shared.frames"},
    {"profiles[].unit", "profiles[].startValue"},
    {"profiles[].events[].at", "profiles[].events[].frame"},
)


class Frame(msgspec.Struct):
    """An entry of `shared.frames`; lines and columns begin at 1."""

    name: str
    file: str | None = None
    line: int | None = None
    col: int | None = None


class Shared(msgspec.Struct):
    """What all profiles use."""

    frames: msgspec.Raw = msgspec.Raw(b"[]")


class Profile(msgspec.Struct, rename="camel"):
    """One profile: `samples` and `weights` when it is sampled, `events` when it is evented."""

    type: str
    unit: str
    name: str | None = None
    start_value: int | float = 0
    end_value: int | float = 0
    samples: msgspec.Raw = msgspec.Raw(b"[]")
    weights: msgspec.Raw = msgspec.Raw(b"[]")
    events: msgspec.Raw = msgspec.Raw(b"[]")


class Document(msgspec.Struct):
    """The file."""

    schema: str = msgspec.field(default="", name="$schema")
    shared: Shared = msgspec.field(default_factory=Shared)
    profiles: list[Profile] = msgspec.field(default_factory=list)
    exporter: str | None = None


class Speedscope:
    """`{"$schema": "https://www.speedscope.app/file-format-schema.json", …}`."""

    name = "speedscope"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it is JSON that names the schema, or has its keys."""
        paths = json_paths(head)
        if "$schema" in paths and SCHEMA.encode() in head:
            return True
        return any(shape <= paths for shape in _SHAPES)

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is a profile for each unit that occurs in it."""
        return one_by_one(inputs, _decode)


def _decode(number: int, one: Input) -> Iterator[Decoded]:
    document = decode_json(one.raw, Document)
    if document.schema != SCHEMA:
        raise CorruptProfile(f"$schema is {document.schema!r}: expected {SCHEMA!r}")
    if not document.profiles:
        raise CorruptProfile("profiles: there are none")
    frames = _read_frames(document.shared)
    groups: dict[Meaning, list[tuple[int, Profile]]] = {}
    said = [Said(each.name or "", each.type, each.unit, each.start_value) for each in document.profiles]
    for at, meaning in enumerate(meanings_of(one, said, document.exporter or "")):
        groups.setdefault(meaning, []).append((at, document.profiles[at]))
    for place, (meaning, members) in enumerate(groups.items()):
        row = Row(number, meaning.name, meaning.series_labels, str(place).encode() if place else b"")
        duration_ns = max(_length_ns(profile, meaning, f"profiles[{at}]") for at, profile in members)
        yield from _Group(one, frames, meaning, row, duration_ns).read(members)


def _length_ns(profile: Profile, meaning: Meaning, where: str) -> int:
    """From the start of a profile to its end, where that is a time."""
    if not meaning.lasting:
        return 0
    first, last = (
        scaled_number(value, meaning.scale, where) for value in (profile.start_value, profile.end_value)
    )
    return min(max(last - first, 0), 2**63 - 1)


def _read_frames(shared: Shared) -> list[Frame]:
    frames: list[Frame] = []
    for piece in array_pieces(shared.frames):
        frames += decode_json(piece, list[Frame], "shared.frames")
    return frames


class _Group:
    """Profiles with one meaning, read into one profile."""

    def __init__(self, one: Input, frames: list[Frame], meaning: Meaning, row: Row, duration_ns: int) -> None:
        self._frames = frames
        self._meaning = meaning
        self._builder = ProfileBuilder(replace(meaning.header, duration_ns=duration_ns), name_reader(one))
        self._pieces = SamplePieces(self._builder, row)
        self._warned = False
        # Only the frames that are used get a location.
        self._location = np.zeros(len(frames), np.int64)

    def read(self, members: list[tuple[int, Profile]]) -> Iterator[Decoded]:
        """Every profile, one after the other."""
        for at, profile in members:
            where = f"profiles[{at}]"
            shown = self._meaning.label(profile.name or "")
            labels: Labels = (Label(PROFILE_NAME, shown),) if shown else ()
            if profile.type == "sampled":
                yield from self._sampled(profile, where, labels)
            elif profile.type == "evented":
                yield from self._evented(profile, where, labels)
            else:
                raise CorruptProfile(f"{where}.type {profile.type!r}: expected 'sampled' or 'evented'")
        yield from self._pieces.finish()

    def _sampled(self, profile: Profile, where: str, labels: Labels) -> Iterator[Decoded]:
        values = self._weights(profile, where)
        start = 0
        for piece in array_pieces(profile.samples):
            lists = decode_json(piece, list[list[Int64]], f"{where}.samples")
            stop = start + len(lists)
            if stop <= len(values):
                stacks = self._stacks(lists, f"{where}.samples")
                yield from self._pieces.add(stacks, self._meaning.columns(values[start:stop]), labels)
            start = stop
        if start != len(values):
            raise CorruptProfile(f"{where}: unequal numbers of samples ({start}) and weights ({len(values)})")

    def _weights(self, profile: Profile, where: str) -> IntArray:
        """The weights as values, whatever their unit."""
        found = [np.zeros(0, np.int64)]
        for piece in array_pieces(profile.weights):
            weights = decode_json(piece, list[int | float], f"{where}.weights")
            if weights and min(weights) < 0:
                raise CorruptProfile(f"{where}.weights: negative weight {min(weights)}")
            found.append(self._meaning.values(weights, f"{where}.weights"))
            self._warn_of_fractions(weights, where)
        return np.concatenate(found)

    def _warn_of_fractions(self, weights: list[int | float], where: str) -> None:
        if not self._warned and self._meaning.scale == 1 and any(weight % 1 for weight in weights):
            self._warned = True
            self._pieces.warn(f"{where}: weights that are no whole numbers were rounded")

    def _stacks(self, lists: list[list[Int64]], where: str) -> Ragged:
        """Lists of frames, root first, as locations, leaf first."""
        lengths = np.fromiter(map(len, lists), np.int64, len(lists))
        frames = np.fromiter(chain.from_iterable(lists), np.int64, int(lengths.sum()))
        return Ragged(self._locations(frames, where), offsets_of(lengths)).reversed()

    def _locations(self, frames: IntArray, where: str) -> IntArray:
        """The locations of frames. Raises `CorruptProfile` for frames that there are none of."""
        bad = np.flatnonzero((frames < 0) | (frames >= len(self._frames)))
        if len(bad):
            raise CorruptProfile(f"{where}: invalid frame {frames[bad[0]]}; there are {len(self._frames)}")
        found = self._location[frames]
        if (found == 0).any():
            for number in np.unique(frames[found == 0]).tolist():
                self._location[number] = self._frame(self._frames[number])
            found = self._location[frames]
        return found

    def _frame(self, frame: Frame) -> int:
        if self._meaning.pushed:
            return self._builder.frame(frame.name)
        line, column = max(frame.line or 0, 0), max(frame.col or 0, 0)
        return self._builder.frame(frame.name, frame.file or "", line, column)

    def _evented(self, profile: Profile, where: str, labels: Labels) -> Iterator[Decoded]:
        tree = read_events(self._events(profile, where), profile.start_value, self._meaning, where)
        used = np.unique(np.array(tree.frame[1:], np.int64))
        self._locations(used, f"{where}.events")
        nodes, ends, own = tree.columns(self._location)
        yield from self._pieces.add_tree(nodes, ends, self._meaning.columns(own), labels)

    def _events(self, profile: Profile, where: str) -> Iterator[list[Event]]:
        for piece in array_pieces(profile.events):
            yield decode_json(piece, EVENTS, f"{where}.events")
