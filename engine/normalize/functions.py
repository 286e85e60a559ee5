"""Functions of a batch by content: the name, the system's name, the file and the first line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema import identity, profile
from .columns import Column, Distinct, IntArray, U64Array, distinct
from .ids import Ids
from .strings import Strings

_NAMES = ("name", "system_name", "filename")


@dataclass(frozen=True)
class Functions:
    """The function rows of all profiles: how to find them, their hashes, and where each hash is first seen."""

    ids: Ids
    hash: U64Array
    known: Distinct
    names: Sequence[IntArray]
    start_line: npt.NDArray[np.int64]

    def table(self, used: IntArray, strings: Strings) -> pa.Table:
        """The functions at the `used` rows, each once."""
        rows = self.known.firsts(used)
        texts = [strings.texts(numbers[rows]) for numbers in self.names]
        return pa.table([self.hash[rows], *texts, self.start_line[rows]], schema=profile.FUNCTIONS)


def read_functions(batch: pa.RecordBatch, strings: Strings) -> Functions:
    """The functions of a batch. Raises `BadProfiles`."""
    column = Column.of(batch.column("function"))
    ids = Ids(column, "function")
    names = [strings.numbers(column.numbers(name), column, f"function.{name}") for name in _NAMES]
    start_line = column.numbers("start_line")
    hashes = identity.combine(*(strings.hash[numbers] for numbers in names), start_line.view(np.uint64))
    known = distinct(hashes)
    require_same(known, column, [*(strings.hash[numbers] for numbers in names), start_line], "functions")
    return Functions(ids, hashes, known, names, start_line)


def require_same(known: Distinct, column: Column, contents: Sequence[npt.NDArray[Any]], what: str) -> None:
    """Every row has the contents of the first row of its hash; else its profile is refused. Raises `BadProfiles`."""
    if len(known.rows) == len(known.code):
        return
    leader = known.leader
    for content in contents:
        differs = content[leader] != content
        if differs.any():
            column.refuse_rows(differs, f"two different {what} have one hash")
