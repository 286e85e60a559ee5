"""Folded stacks whose frames name files, lines, processes and threads, as a decoded batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..trie import Ragged, offsets_of
from .frame_text import Dialect, Frames, read_frames
from .names import NameReader
from .profile_builder import Label
from .profile_columns import (
    FunctionColumns,
    IntArray,
    LabelColumns,
    LocationColumns,
    ProfileColumns,
    ProfileHeader,
    SampleColumns,
)


@dataclass(frozen=True)
class FramedStacks:
    """Stacks of one profile: bytes, frames root first joined by `;`. `values` has a row a stack, a column a type."""

    header: ProfileHeader
    stacks: pa.Array
    values: IntArray
    dialect: Dialect

    def to_batch(self, names: NameReader) -> pa.RecordBatch:
        """The profile as one row of schema `profile.DECODED`; of labels of one key, a stack keeps the last."""
        lists = pc.split_pattern(self.stacks, ";")
        encoded = lists.values.dictionary_encode()
        frame_numbers = encoded.indices.to_numpy().astype(np.int64)
        stacks = Ragged(frame_numbers, lists.offsets.to_numpy().astype(np.int64))
        frames = read_frames(encoded.dictionary, self.dialect)
        symbols = _Symbols(frames, names)
        samples, labels = symbols.split(stacks)
        root_last = samples.reversed()
        return ProfileColumns(
            header=self.header,
            texts=symbols.texts,
            samples=SampleColumns(root_last.offsets, root_last.values, self.values, labels),
            locations=symbols.locations,
            functions=symbols.functions,
        ).to_batch()


class _Symbols:
    """Texts, functions and locations of frames; `split` tells the frames of stacks from their labels."""

    def __init__(self, frames: Frames, names: NameReader) -> None:
        labels = list(frames.labels.values())
        said = sorted({text for one in labels for label in one for text in (label.key, label.text)})
        encoded_said = [text.encode("utf-8", "surrogateescape") for text in said]
        together = pa.concat_arrays([frames.name, frames.filename, pa.array(encoded_said, pa.binary())])
        encoded = together.dictionary_encode()
        numbers = encoded.indices.to_numpy().astype(np.int64)
        self.texts, shown, system = names.read_all(encoded.dictionary)
        count = len(frames.name)
        self._text_number = dict(zip(said, system[numbers[2 * count :]].tolist(), strict=True))
        self._frame_labels = frames.labels
        is_frame = np.ones(count, np.bool_)
        is_frame[list(frames.labels)] = False
        self._location = np.where(is_frame, np.cumsum(is_frame), 0)
        pairs = np.stack([numbers[:count], numbers[count : 2 * count]])[:, is_frame]
        distinct, function = np.unique(pairs, axis=1, return_inverse=True)
        self.functions = FunctionColumns(
            shown[distinct[0]],
            system[distinct[0]],
            system[distinct[1]],
            np.zeros(distinct.shape[1], np.int64),
        )
        kept = pairs.shape[1]
        zeros = np.zeros(kept, np.int64)
        lines = frames.line[is_frame]
        self.locations = LocationColumns(
            zeros, zeros, np.arange(kept + 1), function.reshape(-1) + 1, lines, zeros
        )

    def split(self, stacks: Ragged) -> tuple[Ragged, LabelColumns | None]:
        """Stacks of locations, and the labels of each."""
        located = self._location[stacks.values]
        is_frame = located > 0
        count = len(stacks.offsets) - 1
        row = np.repeat(np.arange(count), stacks.lengths)
        offsets = offsets_of(np.bincount(row[is_frame], minlength=count))
        frames = Ragged(located[is_frame], offsets)
        if not self._frame_labels:
            return frames, None
        return frames, self._labels(row[~is_frame], stacks.values[~is_frame], count)

    def _labels(self, row: IntArray, frame: IntArray, count: int) -> LabelColumns:
        """The labels of `count` stacks: `row` has the label frame `frame`."""
        rows = _LabelRows(list(self._frame_labels.values()), self._text_number)
        place = np.zeros(len(self._location), np.int64)
        place[list(self._frame_labels)] = np.arange(len(self._frame_labels))
        chosen = rows.lists.take(place[frame])
        of_stack = np.repeat(row, chosen.lengths)
        table = rows.table[chosen.values]
        # The last of a key is the first that unique meets back to front.
        keyed = np.stack([of_stack, table[:, 0]])[:, ::-1]
        _, first = np.unique(keyed, axis=1, return_index=True)
        kept = np.sort(len(of_stack) - 1 - first)
        columns = [np.ascontiguousarray(column) for column in table[kept].T]
        return LabelColumns(offsets_of(np.bincount(of_stack[kept], minlength=count)), *columns)


class _LabelRows:
    """Labels of several frames as numbers: key, text, number, unit; `lists` tells the rows of each frame."""

    def __init__(self, labels: Sequence[tuple[Label, ...]], texts: dict[str, int]) -> None:
        flat = [(texts[one.key], texts[one.text], one.number, 0) for some in labels for one in some]
        self.table = np.array(flat, np.int64).reshape(-1, 4)
        lengths = np.fromiter(map(len, labels), np.int64, len(labels))
        self.lists = Ragged(np.arange(len(flat)), offsets_of(lengths))
