"""The tables of a Firefox profile: a JSON object of columns, or rows under a schema, as arrays.

What is null, and a column that is not there, becomes -1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.errors import CorruptProfile
from .json_document import array_pieces, decode_json
from .profile_columns import IntArray

FloatArray = npt.NDArray[np.float64]
Cell = int | float | str | bool | list[Any] | dict[str, Any] | None

NULL = -1
_ABSENT = msgspec.Raw(b"null")


@dataclass(frozen=True)
class Table:
    """A table by columns; `where` says which one it is."""

    where: str
    columns: Mapping[str, msgspec.Raw]

    def __contains__(self, name: str) -> bool:
        return bytes(self.columns.get(name, _ABSENT)) != b"null"

    @property
    def length(self) -> int:
        """Rows that the table says to have. Raises `CorruptProfile` for a length that is none."""
        length = decode_json(self.columns.get("length", msgspec.Raw(b"0")), int, f"{self.where}.length")
        if length < 0:
            raise CorruptProfile(f"{self.where}.length is {length}")
        return length

    def integers(self, name: str, length: int) -> IntArray:
        """A column of integers. Raises `CorruptProfile` when it has another length or other values."""
        if name not in self:
            self._refuse_length(name, length)
            return np.full(length, NULL, np.int64)
        where = f"{self.where}.{name}"
        pieces = [
            _int_array(decode_json(piece, list[int | None], where), where)
            for piece in array_pieces(self.columns[name])
        ]
        return self._whole(name, pieces, length)

    def floats(self, name: str, length: int) -> FloatArray:
        """A column of numbers; NaN for null. Raises `CorruptProfile`."""
        where = f"{self.where}.{name}"
        pieces = [
            np.array(decode_json(piece, list[float | None], where), np.float64)
            for piece in array_pieces(self.columns.get(name, _ABSENT))
        ]
        return self._whole(name, pieces, length)

    def texts(self, name: str, length: int) -> list[str]:
        """A column of texts. Raises `CorruptProfile`."""
        found = decode_json(self.columns.get(name, _ABSENT), list[str], f"{self.where}.{name}")
        if len(found) != length:
            raise CorruptProfile(f"{self.where}.{name} has {len(found)} entries, the table {length} rows")
        return found

    def _whole(self, name: str, pieces: Sequence[npt.NDArray[Any]], length: int) -> npt.NDArray[Any]:
        found = np.concatenate(pieces)
        if len(found) != length:
            raise CorruptProfile(f"{self.where}.{name} has {len(found)} entries, the table {length} rows")
        return found

    def _refuse_length(self, name: str, length: int) -> None:
        """A column that is left out must not be longer than the document could be."""
        longest = max((len(bytes(raw)) for raw in self.columns.values()), default=0)
        if length > longest:
            raise CorruptProfile(f"{self.where}.length is {length}, and {name} is not there")


@dataclass(frozen=True)
class Rows:
    """A table by rows, a JSON list of lists; `schema` says at which place of a row each column is.

    A row that is too short holds null.
    """

    where: str
    schema: Mapping[str, int]
    data: msgspec.Raw

    def integers(self, *names: str) -> list[IntArray]:
        """Some columns of integers. Raises `CorruptProfile` for other values."""
        found: list[list[IntArray]] = [[] for _ in names]
        for piece in self._pieces():
            for columns, name in zip(found, names, strict=True):
                cells = self._cells(piece, name, int)
                columns.append(_int_array(cells, f"{self.where}.{name}"))
        return [np.concatenate(columns) for columns in found]

    def floats(self, name: str) -> FloatArray:
        """A column of numbers; NaN for null. Raises `CorruptProfile` for other values."""
        try:
            pieces = [np.array(self._cells(piece, name, int, float), np.float64) for piece in self._pieces()]
        except OverflowError:
            raise CorruptProfile(f"{self.where}.{name}: a number does not fit 64 bits") from None
        return np.concatenate(pieces)

    def _pieces(self) -> Iterator[list[list[Cell]]]:
        for piece in array_pieces(self.data):
            yield decode_json(piece, list[list[Cell]], f"{self.where}.data")

    def _cells(self, piece: Sequence[Sequence[Cell]], name: str, *kinds: type) -> list[Cell]:
        place = self.schema.get(name, -1)
        if place < 0:
            return [None] * len(piece)
        cells = [row[place] if place < len(row) else None for row in piece]
        wrong = next((cell for cell in cells if cell is not None and type(cell) not in kinds), None)
        if wrong is not None:
            raise CorruptProfile(f"{self.where}.{name} has {str(wrong)[:40]!r}, no number")
        return cells


def _int_array(values: Sequence[object], where: str) -> IntArray:
    try:
        found: IntArray = pa.array(values, pa.int64()).fill_null(NULL).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, OverflowError):
        raise CorruptProfile(f"{where}: a number does not fit 64 bits") from None
    return found


def refuse_outside(numbers: IntArray, count: int, where: str) -> None:
    """Raises `CorruptProfile` for a number that is neither -1 nor a row of a table of `count` rows."""
    wrong = np.flatnonzero((numbers < NULL) | (numbers >= count))
    if len(wrong):
        row = int(wrong[0])
        raise CorruptProfile(f"{where}[{row}] is {numbers[row]}, of {count} rows")
