"""MOJO, the binary format of austin: a stream of events that define strings and frames and then refer to them.

`MOJ`, a version, then events: a byte that tells the kind, and its fields, each a varint or a text that ends in a zero
byte. The first byte of a varint holds a sign and six bits, the others seven bits each. Keys of strings and frames
hold within a process.

Sources: "The MOJO File Format", versions 1, 3 and 4, of austin's documentation; recordings of austin 3.7; of events
13 to 16, that version 4 and its successors have, how austin's own reader understands them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from . import Decoded, Failed, Input, Row, one_by_one
from .austin import thread_labels
from .austin_metrics import NS_PER_US, Measure, header_of, measures_of
from .mojo_events import MAGIC, Samples, Stream
from .names import NameReader, name_reader
from .profile_builder import ProfileBuilder


class Mojo:
    """What `austin -b` writes."""

    name = "mojo"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it begins as every such file does."""
        return head.startswith(MAGIC) and len(head) > len(MAGIC) and 0 < head[len(MAGIC)] < 32

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile, or in the mode `full` three."""
        return one_by_one(inputs, _profiles)


def _profiles(number: int, one: Input) -> Iterator[Decoded]:
    """Read once if all samples fit one piece, else once for each profile: pieces of one follow each other."""
    stream = Stream(one.raw)
    pieces = stream.pieces()
    first, second = next(pieces), next(pieces, None)
    if second is None:
        measures = measures_of(stream.said.get("mode", "wall"))
        for measure in measures:
            profile = _Profile(number, measure, len(measures) > 1, name_reader(one))
            yield profile.piece(stream, first, more=False)
        return
    del first, second, pieces
    measures = measures_of(stream.said.get("mode", "wall"))
    for measure in measures:
        profile = _Profile(number, measure, len(measures) > 1, name_reader(one))
        stream = Stream(one.raw)
        for count, piece in enumerate(stream.pieces()):
            yield profile.piece(stream, piece, more=count > 0)


@dataclass(frozen=True)
class _Profile:
    """One profile of an input; `is_part` of several."""

    number: int
    measure: Measure
    is_part: bool
    names: NameReader

    def piece(self, stream: Stream, samples: Samples, more: bool) -> Decoded:
        """The samples as a batch."""
        builder = ProfileBuilder(header_of(self.measure, stream.said), self.names)
        locations = {
            frame: builder.frame(*stream.frames[frame]) for frame in set(chain.from_iterable(samples.stacks))
        }
        stacks = [tuple(locations[frame] for frame in reversed(stack)) for stack in samples.stacks]
        threads = {
            thread: thread_labels(*stream.threads[thread])
            for thread in {thread for thread, _ in samples.sums}
        }
        first, second, scale = _COLUMNS[self.measure.name]
        for (thread, stack), sums in samples.sums.items():
            values = (sums[first], sums[second] * scale)
            if any(values):
                builder.add(stacks[stack], values, threads[thread])
        part = self.measure.name.encode() if self.is_part else b""
        return Decoded(builder.to_batch(), [Row(self.number, self.measure.name, part=part)], more)


_COLUMNS = {"wall": (0, 2, NS_PER_US), "process_cpu": (1, 3, NS_PER_US), "memory": (4, 5, 1)}
"""Which of the sums a profile holds, and what the second is multiplied by."""
