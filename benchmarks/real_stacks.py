"""Stacks of real profiles, and more of their kind: splices of two stacks at a function that they share."""

from __future__ import annotations

import gzip
import random
from collections.abc import Sequence
from pathlib import Path

from flameduck.schema.proto.profile_pb2 import Profile

from .measure import SHARED

Frame = tuple[str, str, int, int]
"""A function: name, file, first line; and the line in it."""
Location = tuple[Frame, ...]
Stack = tuple[Location, ...]
"""Leaf first."""

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
_DEEPEST = 200
_TRIES_PER_STACK = 20


def real_profiles() -> list[tuple[str, Profile]]:
    """Real pprof files: those beside the repository where they are there, else the repository's own."""
    folder = SHARED / "data" / "pprof"
    if folder.is_dir():
        paths = sorted(path for path in folder.iterdir() if path.suffix != ".json")
    else:
        paths = sorted(path for path in FIXTURES.iterdir() if path.suffix in (".gz", ".pb"))
    return [(path.name, _parse(path.read_bytes())) for path in paths]


def _parse(data: bytes) -> Profile:
    profile = Profile()
    profile.ParseFromString(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    return profile


def stacks_of(profile: Profile) -> list[Stack]:
    """The distinct stacks of a profile."""
    texts = [text.decode("utf-8", "replace") for text in profile.string_table]
    functions = {f.id: (texts[f.name], texts[f.filename], f.start_line) for f in profile.function}
    locations = {
        one.id: tuple((*functions[line.function_id], line.line) for line in one.line)
        or (("[unknown]", "", 0, 0),)
        for one in profile.location
    }
    return list(
        dict.fromkeys(tuple(locations[i] for i in s.location_id) for s in profile.sample if s.location_id)
    )


def spliced(stacks: Sequence[Stack], count: int, rnd: random.Random) -> list[Stack]:
    """Up to `count` distinct stacks: the given ones, then leaf halves of some on root halves of others."""
    found = dict.fromkeys(stacks)
    through: dict[str, list[tuple[Stack, int]]] = {}
    for stack in stacks:
        for depth, location in enumerate(stack):
            through.setdefault(location[0][0], []).append((stack, depth))
    for _ in range(count * _TRIES_PER_STACK):
        if len(found) >= count:
            break
        leafward = rnd.choice(stacks)
        cut = rnd.randrange(len(leafward))
        rootward, join = rnd.choice(through[leafward[cut][0][0]])
        made = leafward[:cut] + rootward[join:]
        if len(made) <= _DEEPEST:
            found[made] = None
    return list(found)[:count]


class ProfileWriter:
    """A pprof under construction; ids and strings are numbered as they are first met, as Go's runtime does."""

    def __init__(self, sample_types: Sequence[tuple[str, str]], period: tuple[str, str, int]) -> None:
        self.profile = Profile(string_table=[b""])
        self._texts = {"": 0}
        self._functions: dict[tuple[str, str, int], int] = {}
        self._locations: dict[Location, int] = {}
        for kind, unit in sample_types:
            self.profile.sample_type.add(type=self._text(kind), unit=self._text(unit))
        self.profile.period_type.type, self.profile.period_type.unit = map(self._text, period[:2])
        self.profile.period = period[2]
        binary = self._text("/app/server")
        self.profile.mapping.add(id=1, memory_start=0x400000, memory_limit=0x4000000, filename=binary)

    def add(self, stack: Stack, values: Sequence[int]) -> None:
        """One sample."""
        self.profile.sample.add(location_id=[self._location(one) for one in stack], value=values)

    def _text(self, text: str) -> int:
        number = self._texts.setdefault(text, len(self._texts))
        if number == len(self.profile.string_table):
            self.profile.string_table.append(text.encode())
        return number

    def _location(self, location: Location) -> int:
        number = self._locations.get(location)
        if number is None:
            number = self._locations[location] = len(self._locations) + 1
            added = self.profile.location.add(id=number, mapping_id=1, address=0x400000 + 16 * number)
            for name, filename, start_line, line in location:
                added.line.add(function_id=self._function((name, filename, start_line)), line=line)
        return number

    def _function(self, function: tuple[str, str, int]) -> int:
        number = self._functions.get(function)
        if number is None:
            number = self._functions[function] = len(self._functions) + 1
            name, filename = self._text(function[0]), self._text(function[1])
            self.profile.function.add(
                id=number, name=name, system_name=name, filename=filename, start_line=function[2]
            )
        return number
