"""Stacks of plain names as a decoded batch: what formats without addresses, files and lines come to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from .names import NameReader
from .profile_columns import (
    FunctionColumns,
    IntArray,
    LocationColumns,
    ProfileColumns,
    ProfileHeader,
    SampleColumns,
)


@dataclass(frozen=True)
class StackProfile:
    """One profile with one value a sample.

    `frames` are numbers into `names` (distinct bytes), leaf first; those of sample `i` are `offsets[i]` to
    `offsets[i + 1]`.
    """

    header: ProfileHeader
    names: pa.Array
    frames: IntArray
    offsets: IntArray
    values: IntArray

    def to_batch(self, names: NameReader) -> pa.RecordBatch:
        """The profile as one row of schema `profile.DECODED`: a function and a location for each name."""
        count = len(self.names)
        zeros = np.zeros(count, np.int64)
        numbers = np.arange(1, count + 1)
        texts, shown, system = names.read_all(self.names.cast(pa.binary()))
        return ProfileColumns(
            header=self.header,
            texts=texts,
            samples=SampleColumns(self.offsets, self.frames + 1, self.values.reshape(-1, 1)),
            locations=LocationColumns(zeros, zeros, np.arange(count + 1), numbers, zeros, zeros),
            functions=FunctionColumns(shown, system, zeros, zeros),
        ).to_batch()
