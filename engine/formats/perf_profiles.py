"""Samples of one event of perf, added up to a profile."""

from __future__ import annotations

from ...schema.errors import CorruptProfile
from . import Decoded, Input, Row
from .names import name_reader
from .perf_events import SAMPLES, is_tracepoint, measured_by, read_switch
from .perf_recording import Recording
from .perf_stacks import Place, Stacks
from .perf_text import Head, time_ns
from .profile_builder import Labels, MappedFile, ProfileBuilder
from .profile_columns import ProfileHeader

EVENT_LABEL = "event"
"""The label of every profile that says perf's name of the event."""

_MAX_PERIOD = 2**63 - 1


class EventProfile:
    """The profile of one event: for each stack and set of labels the number of samples, and what they stand for."""

    def __init__(self, event: str, number: int, one: Input, recording: Recording) -> None:
        self.measured = measured_by(event)
        self.is_tracepoint = is_tracepoint(event)
        self._recording = recording
        self._builder = ProfileBuilder(ProfileHeader((SAMPLES,)), name_reader(one).without_place())
        labels = {EVENT_LABEL: event, **one.labels} if event else None
        self._row = Row(number, self.measured.name, labels, event.encode())
        self._locations: dict[int, int] = {}
        self._sums: dict[tuple[int, int], list[int]] = {}
        self._left: dict[int, tuple[int, tuple[int, int]]] = {}
        self._period = 0
        self._types = 0

    @property
    def held(self) -> int:
        """Distinct samples that are held."""
        return len(self._sums)

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
        since_ns, off = self._left.pop(entered, (now_ns, key))
        if now_ns > since_ns:
            self._sums.setdefault(off, [0, 0])[1] += now_ns - since_ns
        # Thread 0 is what runs when nothing does.
        if left:
            self._left[left] = now_ns, key

    def take(self, stacks: Stacks, labels: list[Labels], more: bool) -> Decoded:
        """What is held, as a batch that continues the one before; `more` may follow. Raises `CorruptProfile`."""
        continues = self._types > 0
        measured = any(sums[1] for sums in self._sums.values())
        if not continues:
            self._types = 2 if measured or (more and self.measured.weight == "switch") else 1
        elif measured and self._types == 1:
            raise CorruptProfile("the first samples say no period, later ones do")
        for (stack, label), sums in self._sums.items():
            locations = [self._location(place, stacks.places[place]) for place in stacks.stacks[stack]]
            self._builder.add(locations, sums[: self._types], labels[label])
        self._sums.clear()
        self._builder.header = self._header()
        batch = self._builder.to_batch()
        self._builder.drop_samples()
        return Decoded(batch, [self._row], continues)

    def _location(self, number: int, place: Place) -> int:
        found = self._locations.get(number)
        if found is None:
            lines, file, address = place
            functions = tuple(
                (self._builder.function(name, source, first), line, 0) for name, source, first, line in lines
            )
            mapping = self._builder.mapping(MappedFile(file)) if file else 0
            found = self._locations[number] = self._builder.location(functions, mapping, address)
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
