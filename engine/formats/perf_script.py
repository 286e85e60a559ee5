"""The text of `perf script`, with and without its headers and most of its fields; a profile for each event.

What a sample's line may hold is said in `perf_text`, what an event becomes in `perf_events`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ...schema.errors import CorruptProfile, InputError, LimitExceeded
from . import Decoded, Failed, Input
from .perf_events import is_tracepoint
from .perf_profiles import EventProfile, Keys, Source
from .perf_recording import EDGE_BYTES, read_recording
from .perf_stacks import NoFrameError
from .perf_text import (
    PIECE_BYTES,
    Sample,
    is_frame,
    read_bare_head,
    read_frame,
    read_head,
    read_pieces,
    refuse_line,
    split_samples,
)
from .text import is_json, is_text

MAX_EVENTS = 2048
PIECE_SAMPLES = 250_000
PIECE_FRAMES = 8_000_000
"""When more distinct samples, or more frames of distinct stacks, are held than that, they become a batch."""

_CHAIN = re.compile(rb"\s+[0-9a-f]{1,16} \S.*")
_NO_SAMPLE = b"PERF_RECORD_"


class PerfScript:
    """`perf script`: `comm pid/tid [cpu] time: period event:`, and below it the call chain."""

    name = "perf-script"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether the first lines are a sample, or say that perf wrote them."""
        if not is_text(head) or is_json(head):
            return False
        lines = [line for line in head.split(b"\n") if line.strip()]
        comments = [line for line in lines if line.startswith(b"#")]
        first, second, *_ = *(line for line in lines if not line.startswith(b"#")), b"", b""
        if any(line.startswith(b"# perf version :") for line in comments):
            return True
        if first.startswith(b"\t"):
            return _CHAIN.fullmatch(first) is not None
        followed = second.startswith((b"\t", b"   ")) and _CHAIN.fullmatch(second) is not None
        found = read_head(first) or (read_bare_head(first) if followed and second[:1] == b"\t" else None)
        if found is None:
            return False
        if followed or not found.event:
            return followed
        alone = read_frame(found.rest.strip())
        return is_tracepoint(found.event.decode("latin-1")) or bool(alone and alone.file)

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile for each event in it."""
        for number, one in enumerate(inputs):
            recording = read_recording(one.raw[:EDGE_BYTES], one.raw[-EDGE_BYTES:])
            chunks = (one.raw[at : at + PIECE_BYTES] for at in range(0, len(one.raw), PIECE_BYTES))
            try:
                yield from SampleReader(Source(number, one, recording)).read(chunks)
            except InputError as error:
                yield Failed(number, str(error))


def _chain(rest: bytes, below: bytes) -> bytes:
    """The frames of a sample whose line ends with `rest`: without call chains it is the frame, its source below it."""
    if is_frame(rest):
        return rest + b"\n" + below if below else rest
    return below if is_frame(below.partition(b"\n")[0]) else b""


class SampleReader:
    """The samples of one text."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._keys = Keys()
        self._events: dict[bytes, EventProfile] = {}
        self._later: dict[bytes, list[Decoded]] = {}
        self._line = 1
        self._skipped = 0
        self._first_skipped = ""

    def read(self, chunks: Iterable[bytes]) -> Iterator[Decoded]:
        """The profiles of a text that comes in chunks. Raises `InputError`.

        Pieces of one profile must follow each other: those of the first event are handed on at once, those of
        others, which are smaller than their text, when all is read.
        """
        for piece in read_pieces(chunks):
            for sample in split_samples(piece):
                self._add(sample)
            self._line += piece.count(b"\n")
            held = sum(event.held for event in self._events.values())
            if held > PIECE_SAMPLES or self._keys.stacks.frames > PIECE_FRAMES:
                yield from self._take(more=True)
                self._keys.forget()
        if not self._events:
            raise CorruptProfile("the text holds no sample")
        batches = list(self._take(more=False))
        batches += [batch for held in self._later.values() for batch in held]
        if self._skipped:
            said = (
                f"{self._skipped} lines are no samples and were left out, the first is {self._first_skipped}"
            )
            batches[0] = replace(batches[0], warnings=(said,))
        yield from batches

    def _take(self, more: bool) -> Iterator[Decoded]:
        for place, (name, event) in enumerate(self._events.items()):
            if more and not event.held:
                continue
            batch = event.take(more)
            if place:
                self._later.setdefault(name, []).append(batch)
            else:
                yield batch

    def _add(self, sample: Sample) -> None:
        head, frames = sample.head, sample.frames
        if head is None:
            self._skip(sample)
            return
        if head.rest.startswith(_NO_SAMPLE) or head.event.startswith(_NO_SAMPLE):
            return
        event = self._events.get(head.event) or self._new_event(head.event)
        if head.rest and not frames.startswith(b"\t"):
            frames = _chain(b"" if event.is_tracepoint else head.rest, frames)
        try:
            event.add(head, (self._keys.stacks.read(frames), self._keys.label(head)))
        except NoFrameError as error:
            raise self._refused(sample, frames, error.place) from None
        except CorruptProfile as error:
            raise CorruptProfile(f"line {self._line + sample.place}: {error}") from None

    def _refused(self, sample: Sample, frames: bytes, place: int) -> CorruptProfile:
        below = frames is sample.frames and bool(sample.line)
        line = frames.split(b"\n")[place]
        return refuse_line(self._line + sample.place + below + place, line, "frame of a call chain")

    def _skip(self, sample: Sample) -> None:
        if not self._skipped:
            shown = sample.line[:60].decode("utf-8", "replace")
            self._first_skipped = f"line {self._line + sample.place}: {shown!r}"
        self._skipped += 1

    def _new_event(self, raw: bytes) -> EventProfile:
        if len(self._events) >= MAX_EVENTS:
            raise LimitExceeded(f"more than {MAX_EVENTS} events")
        name = raw.decode("utf-8", "replace") or self._source.recording.event
        self._events[raw] = EventProfile(name, self._source, self._keys)
        return self._events[raw]
