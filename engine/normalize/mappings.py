"""Mappings of a batch by content: all their columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema import identity, profile
from .columns import Column, IntArray, U64Array, distinct
from .ids import Ids
from .strings import Strings

_NUMBERS = ("memory_start", "memory_limit", "file_offset")
_FLAGS = ("has_functions", "has_filenames", "has_line_numbers", "has_inline_frames")


@dataclass(frozen=True)
class Mappings:
    """The mapping rows of all profiles; `column` tells which are whose."""

    column: Column
    ids: Ids
    hash: U64Array
    filename: IntArray
    build_id: IntArray
    plain: Mapping[str, npt.NDArray[Any]]

    @property
    def load_shift(self) -> U64Array:
        """What to take from an address in memory to get one in the file."""
        shift: U64Array = self.plain["memory_start"] - self.plain["file_offset"]
        return shift

    def table(self, strings: Strings) -> pa.Table:
        """Each distinct mapping once."""
        rows = distinct(self.hash).rows
        plain = [pa.array(self.plain[name][rows]) for name in (*_NUMBERS, *_FLAGS)]
        texts = [strings.texts(numbers[rows]) for numbers in (self.filename, self.build_id)]
        return pa.table([self.hash[rows], *texts, *plain], schema=profile.MAPPINGS)


def read_mappings(batch: pa.RecordBatch, strings: Strings) -> Mappings:
    """The mappings of a batch. Raises `BadProfiles`."""
    column = Column.of(batch.column("mapping"))
    ids = Ids(column, "mapping")
    filename = strings.numbers(column.numbers("filename"), column, "mapping.filename")
    build_id = strings.numbers(column.numbers("build_id"), column, "mapping.build_id")
    plain = {name: column.numbers(name) for name in (*_NUMBERS, *_FLAGS)}
    flags = np.zeros(len(filename), np.uint64)
    for bit, name in enumerate(_FLAGS):
        flags |= plain[name].astype(np.uint64) << np.uint64(bit)
    hashes = identity.combine(
        strings.hash[filename], strings.hash[build_id], *(plain[name] for name in _NUMBERS), flags
    )
    return Mappings(column, ids, hashes, filename, build_id, plain)
