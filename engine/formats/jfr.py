"""JDK Flight Recorder files, as the JDK, async-profiler and Pyroscope's agent for Java write them.

Under the verbatim rules every chunk becomes profiles of its own, with the chunk's time: a recording of an hour keeps
its hour. Under the pyroscope rules a recording is one profile of each kind, with the request's time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ...schema.errors import CorruptProfile, InputError
from . import Decoded, Failed, Input, Row
from .app_names import SAMPLE_RATE_HZ
from .jfr_chunk import MAGIC, Chunk, read_chunks
from .jfr_columns import IntArray
from .jfr_events import Events, Reading, read_events
from .jfr_frames import read_frames
from .jfr_kinds import Kind
from .jfr_labels import ATTACHMENT, ContextLabels, read_labels
from .jfr_periods import Sampling
from .jfr_samples import Labelling, to_batch
from .profile_columns import ProfileHeader

EVENT_LABEL = "jfr_event"
SHORT_BYTES = 16 << 20
"""Up to which size a recording's profiles are held until it was read to its end."""
MAX_ROWS = 512


class Jfr:
    """`FLR`, format versions 2.0 and 2.1."""

    name = "jfr"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it begins with the magic of a chunk."""
        return head.startswith(MAGIC)

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is several profiles, one of each kind of event.

        Those of short inputs share batches: to work on a profile alone costs more than to read it.
        """
        short: list[Decoded] = []
        for number, one in enumerate(inputs):
            try:
                if len(one.raw) > SHORT_BYTES:
                    yield from _decode(number, one)
                    continue
                found = list(_decode(number, one))
            except InputError as error:
                yield Failed(number, str(error))
                continue
            if any(piece.continues for piece in found):
                yield from found
            else:
                short += found
            if len(short) >= MAX_ROWS or sum(piece.batch.nbytes for piece in short) >= SHORT_BYTES:
                yield _together(short)
                short = []
        if short:
            yield _together(short)


def _together(found: Sequence[Decoded]) -> Decoded:
    """Profiles of one row each as one batch."""
    batch = pa.concat_batches([one.batch for one in found])
    return Decoded(batch, [row for one in found for row in one.rows])


@dataclass(frozen=True)
class _Piece:
    """A profile of one chunk."""

    kind: Kind
    batch: pa.RecordBatch


@dataclass
class _Recording:
    """A recording while it is read: `sampling` follows the settings."""

    input: Input
    snapshot: ContextLabels | None
    sampling: Sampling = field(default_factory=Sampling)

    def pieces(self, chunk: Chunk) -> Iterator[_Piece]:
        """The profiles of a chunk. Raises `CorruptProfile`."""
        self.sampling = self.sampling.after(chunk.settings)
        all_events = read_events(chunk, self._reading())
        stacks = chunk.pools.stacks.keys
        known = [_with_stack(one, stacks) for one in all_events]
        used = np.unique(np.concatenate([rows for _, rows in known])) if known else np.zeros(0, np.int64)
        frames = read_frames(chunk.pools, used)
        labelling = Labelling(chunk.pools, self.input.rules, self.snapshot)
        for events, rows in known:
            header = self._header(events, chunk)
            yield _Piece(
                events.kind, to_batch(header, events, np.searchsorted(used, rows), frames, labelling)
            )

    def _reading(self) -> Reading:
        said, rules = self.input.sample_rate_hz, self.input.rules
        if rules == "pyroscope" or said:
            period_ns = 10**9 // (said or SAMPLE_RATE_HZ)
            return Reading(rules, self.sampling, period_ns, period_ns)
        return Reading(rules, self.sampling, self.sampling.cpu_period_ns, self.sampling.wall_period_ns)

    def _header(self, events: Events, chunk: Chunk) -> ProfileHeader:
        kind, verbatim = events.kind, self.input.rules == "verbatim"
        return ProfileHeader(
            sample_types=kind.sample_types,
            period_type=kind.period_type,
            period=events.period_ns,
            time_ns=chunk.header.start_ns if verbatim else 0,
            duration_ns=chunk.header.duration_ns if verbatim else self.input.duration_ns,
            default_sample_type=kind.sample_types[-1][0],
        )


def _with_stack(events: Events, keys: IntArray) -> tuple[Events, IntArray]:
    """The events whose stack trace is there, and its row."""
    if not len(keys):
        return events.only(np.zeros(len(events.stacks), np.bool_)), np.zeros(0, np.int64)
    rows = np.minimum(np.searchsorted(keys, events.stacks), len(keys) - 1)
    found = keys[rows] == events.stacks
    return events.only(found), rows[found]


def _decode(number: int, one: Input) -> Iterator[Decoded]:
    attached = one.attachments.get(ATTACHMENT)
    recording = _Recording(one, None if attached is None else read_labels(attached))
    if one.rules == "verbatim":
        count = 0
        for chunk, piece in _pieces(recording):
            count += 1
            yield Decoded(
                piece.batch, [Row(number, piece.kind.name, part=f"{piece.kind.key} {chunk}".encode())]
            )
        if not count:
            raise CorruptProfile("the recording holds no samples")
        return
    whole: dict[str, list[_Piece]] = {}
    for _, piece in _pieces(recording):
        whole.setdefault(piece.kind.key, []).append(piece)
    labels = {**one.labels, EVENT_LABEL: recording.sampling.event} if recording.sampling.event else None
    for key, pieces in whole.items():
        for at, piece in enumerate(pieces):
            yield Decoded(piece.batch, [Row(number, piece.kind.name, labels, key.encode())], at > 0)


def _pieces(recording: _Recording) -> Iterator[tuple[int, _Piece]]:
    """The number of a chunk, and a profile of it. Raises `CorruptProfile`, naming the chunk."""
    for number, chunk in enumerate(read_chunks(recording.input.raw)):
        try:
            for piece in recording.pieces(chunk):
                yield number, piece
        except CorruptProfile as error:
            raise CorruptProfile(f"chunk {number + 1} at byte {chunk.header.at}: {error}") from None
