"""Samples of one event of perf, added up to a profile."""

from __future__ import annotations

from dataclasses import dataclass

from ...schema.errors import CorruptProfile, LimitExceeded
from . import Decoded, Input, Row
from .names import name_reader
from .perf_events import SAMPLES, is_tracepoint, measured_by, read_switch
from .perf_recording import Recording
from .perf_stacks import MAX_PLACES, Stack, Stacks
from .perf_text import Head, time_ns
from .profile_builder import Label, Labels, MappedFile, ProfileBuilder
from .profile_columns import ProfileHeader

EVENT_LABEL = "event"
"""The label of every profile that says perf's name of the event."""

_MAX_PERIOD = 2**63 - 1


@dataclass(frozen=True)
class Source:
    """Where samples come from: input number `number`, and what it says of all of them."""

    number: int
    input: Input
    recording: Recording


class Keys:
    """The stacks and the sets of labels of samples, by number, shared by the profiles of a text."""

    def __init__(self) -> None:
        self.stacks = Stacks()
        self.labels: list[Labels] = []
        self.locations = 0
        """Locations of all profiles."""
        self._label_numbers: dict[tuple[bytes, ...], int] = {}

    def label(self, head: Head) -> int:
        """The number of the labels comm, pid, tid and cpu, as far as they are there."""
        said = head[:4]
        found = self._label_numbers.get(said)
        if found is None:
            found = self._label_numbers[said] = len(self.labels)
            self.labels.append(_labels(head))
        return found

    def forget(self) -> None:
        """Forget all, so that numbers begin anew; places of code stay."""
        self.stacks.forget_stacks()
        self.labels.clear()
        self._label_numbers.clear()


def _labels(head: Head) -> Labels:
    comm = [Label("comm", head.comm.decode("utf-8", "surrogateescape"))] if head.comm else []
    # One number alone is the thread: perf prints the process only when it is asked for it.
    pid, tid = (head.pid, head.tid) if head.tid else (b"", head.pid)
    numbers = (("pid", pid), ("tid", tid), ("cpu", head.cpu))
    return (*comm, *(Label(key, number=int(text)) for key, text in numbers if text))


class EventProfile:
    """The profile of one event: for each stack and set of labels the number of samples, and what they stand for."""

    def __init__(self, event: str, source: Source, keys: Keys) -> None:
        self.measured = measured_by(event)
        self.is_tracepoint = is_tracepoint(event)
        self._recording = source.recording
        names = name_reader(source.input).without_place()
        self._builder = ProfileBuilder(ProfileHeader((SAMPLES,)), names)
        labels = {EVENT_LABEL: event, **source.input.labels} if event else None
        self._row = Row(source.number, self.measured.name, labels, event.encode())
        self._keys = keys
        self._locations: dict[int, int] = {}
        self._sums: dict[tuple[int, int], list[int]] = {}
        self._off: dict[tuple[Stack, Labels], int] = {}
        self._left: dict[int, tuple[int, tuple[Stack, Labels]]] = {}
        self._period = 0
        self._types = 0

    @property
    def held(self) -> int:
        """Distinct samples that are held."""
        return len(self._sums) + len(self._off)

    def add(self, head: Head, key: tuple[int, int]) -> None:
        """Add one sample, with the numbers of its stack and its labels. Raises `CorruptProfile`."""
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = [0, 0]
        sums[0] += 1
        period = int(head.period or 0)
        if period > _MAX_PERIOD:
            raise CorruptProfile(f"period {period} does not fit 64 bits")
        if period <= 1 and self.measured.weight == "switch":
            self._switch(head, key)
        elif period:
            sums[1] += period
            self._period = self._period or period

    def _switch(self, head: Head, key: tuple[int, int]) -> None:
        """A thread that gets the CPU was off it since it lost it, in the stack and with the labels of then."""
        threads = read_switch(head.rest)
        if threads is None or not head.time:
            return
        now_ns, (left, entered) = time_ns(head.time), threads
        known = self._left.pop(entered, None)
        if known and now_ns > known[0]:
            self._off[known[1]] = self._off.get(known[1], 0) + now_ns - known[0]
        # Thread 0 is what runs when nothing does.
        if left:
            self._left[left] = now_ns, (self._keys.stacks.stacks[key[0]], self._keys.labels[key[1]])

    def take(self, more: bool) -> Decoded:
        """What is held, as a batch that continues the one before; `more` may follow.

        Raises `CorruptProfile`, `LimitExceeded`.
        """
        continues = self._types > 0
        measured = bool(self._off) or any(sums[1] for sums in self._sums.values())
        if not continues:
            self._types = 2 if measured or (more and self.measured.weight == "switch") else 1
        elif measured and self._types == 1:
            raise CorruptProfile("the first samples say no period, later ones do")
        for (stack, label), sums in self._sums.items():
            self._hand_on(self._keys.stacks.stacks[stack], self._keys.labels[label], sums)
        for (places, labels), off_ns in self._off.items():
            self._hand_on(places, labels, [0, off_ns])
        self._sums.clear()
        self._off.clear()
        self._builder.header = self._header()
        batch = self._builder.to_batch()
        self._builder.drop_samples()
        return Decoded(batch, [self._row], continues)

    def _hand_on(self, places: Stack, labels: Labels, sums: list[int]) -> None:
        self._builder.add([self._location(place) for place in places], sums[: self._types], labels)

    def _location(self, place: int) -> int:
        found = self._locations.get(place)
        if found is None:
            self._keys.locations += 1
            if self._keys.locations > MAX_PLACES:
                raise LimitExceeded(f"more than {MAX_PLACES} places of code in all events")
            lines, file, address = self._keys.stacks.places[place]
            functions = tuple(
                (self._builder.function(name, source, first), line, 0) for name, source, first, line in lines
            )
            mapping = self._builder.mapping(MappedFile(file)) if file else 0
            found = self._locations[place] = self._builder.location(functions, mapping, address)
        return found

    def _header(self) -> ProfileHeader:
        said = self._recording
        value_type = self.measured.value_type
        return ProfileHeader(
            sample_types=(SAMPLES, value_type)[: self._types],
            period_type=value_type if self._period else ("", ""),
            period=self._period,
            time_ns=said.time_ns,
            duration_ns=said.duration_ns,
            comments=said.comments,
            default_sample_type=value_type[0] if self._types > 1 else "",
        )
