"""Samples as columns that come bit by bit, and leave as batches of bounded size: for readers that vectorise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..trie import Ragged, offsets_of
from . import Decoded, Row
from .call_nodes import CallNodes, stack_pieces
from .exact_numbers import check_sum
from .profile_builder import Labels, ProfileBuilder
from .profile_columns import LabelColumns, SampleColumns

IntArray = npt.NDArray[np.int64]

PIECE_FRAMES = 4_000_000
PIECE_SAMPLES = 1_000_000


@dataclass(frozen=True)
class Tops:
    """Nodes that were on top of stacks: each node's row, its location there, and a row of values for each."""

    node: IntArray
    location: IntArray
    values: IntArray


class SamplePieces:
    """One profile whose symbols `builder` numbers; hands on a batch whenever enough samples are there."""

    def __init__(self, builder: ProfileBuilder, row: Row, warnings: tuple[str, ...] = ()) -> None:
        self.builder = builder
        self._row = row
        self._warnings = warnings
        self._pieces = 0
        self._start_anew()

    def _start_anew(self) -> None:
        self._stacks: list[Ragged] = []
        self._values: list[IntArray] = []
        self._labels: list[Labels] = []
        self._frames = self._samples = 0

    def warn(self, text: str) -> None:
        """Say something of the profile; it goes with the next batch."""
        self._warnings += (text,)

    def add(self, stacks: Ragged, values: IntArray, labels: Labels = ()) -> Iterator[Decoded]:
        """Add samples that share their labels: locations leaf first, a row of values for each.

        Raises `CorruptProfile` for values that do not add up within 64 bits.
        """
        if len(values):
            check_sum(values, "sample.value")
            self._stacks.append(stacks)
            self._values.append(values)
            self._labels.append(labels)
            self._frames += len(stacks.values)
            self._samples += len(values)
        if self._frames >= PIECE_FRAMES or self._samples >= PIECE_SAMPLES:
            yield self._batch()

    def add_tree(
        self, nodes: CallNodes, ends: IntArray, values: IntArray, labels: Labels = ()
    ) -> Iterator[Decoded]:
        """Add the stacks that end at nodes of a call tree, each with a row of values."""
        yield from self.add_tops(nodes, Tops(ends, nodes.location[ends], values), labels)

    def add_tops(self, nodes: CallNodes, tops: Tops, labels: Labels = ()) -> Iterator[Decoded]:
        """The same, with locations in place of those of the nodes on top."""
        for part, stacks in stack_pieces(nodes, tops.node):
            stacks.values[stacks.offsets[:-1]] = tops.location[part]
            yield from self.add(stacks, tops.values[part], labels)

    def finish(self) -> Iterator[Decoded]:
        """What is left, or a profile without samples if there were none."""
        if self._samples or not self._pieces:
            yield self._batch()

    def _batch(self) -> Decoded:
        types = len(self.builder.header.sample_types)
        flat = [stacks.values for stacks in self._stacks] or [np.zeros(0, np.int64)]
        lengths = [stacks.lengths for stacks in self._stacks] or [np.zeros(0, np.int64)]
        samples = SampleColumns(
            offsets=offsets_of(np.concatenate(lengths)),
            location=np.concatenate(flat),
            values=np.concatenate([np.zeros((0, types), np.int64), *self._values]),
            labels=self._label_columns(),
        )
        batch = self.builder.batch_of(samples)
        decoded = Decoded(batch, [self._row], self._pieces > 0, self._warnings)
        self._pieces += 1
        self._warnings = ()
        self._start_anew()
        return decoded

    def _label_columns(self) -> LabelColumns | None:
        if not any(self._labels):
            return None
        text = self.builder.text
        counts = np.array([len(values) for values in self._values], np.int64)
        rows = [
            np.array(
                [(text(one.key), text(one.text), one.number, text(one.unit)) for one in labels], np.int64
            ).reshape(-1, 4)
            for labels in self._labels
        ]
        repeated = [np.tile(row, (count, 1)) for row, count in zip(rows, counts.tolist(), strict=True)]
        lengths = np.repeat([len(row) for row in rows], counts).astype(np.int64)
        columns = np.concatenate(repeated)
        key, texts, number, unit = (np.ascontiguousarray(columns[:, at]) for at in range(4))
        return LabelColumns(offsets_of(lengths), key, texts, number, unit)
