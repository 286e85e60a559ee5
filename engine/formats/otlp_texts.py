"""All texts that the decoded profiles of one OTLP request may use, numbered: the dictionary's, and what comes up."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .names import NameReader
from .otlp_tables import IntArray, check_indices


class Texts:
    """Numbered texts, of which 0 is empty; the dictionary's strings come first."""

    def __init__(self, strings: pa.Array, names: NameReader) -> None:
        texts, shown, number = names.read_all(strings.cast(pa.binary()))
        self._strings = len(strings)
        empty = pc.equal(pc.binary_length(strings), 0).to_numpy(zero_copy_only=False)
        self._number = np.where(empty, 0, number)
        self._shown = np.append(0, shown)
        self._parts: list[pa.Array] = [texts]
        self._count = len(texts)
        self._known: dict[str, int] = {"": 0}
        self._new: list[bytes] = []

    def __len__(self) -> int:
        return self._count

    def of_strings(self, index: IntArray, field: str) -> IntArray:
        """The numbers of strings of the dictionary; 0 for those that are empty. Raises `CorruptProfile`."""
        if not self._strings:
            check_indices(index, 1, field, "string_table")
            return np.zeros_like(index)
        check_indices(index, self._strings, field, "string_table")
        numbers: IntArray = self._number[index]
        return numbers

    def shown(self, numbers: IntArray) -> IntArray:
        """The numbers of the readable forms of names that are strings of the dictionary."""
        shown: IntArray = self._shown[numbers]
        return shown

    def number(self, text: str) -> int:
        """The number of a text."""
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = self._count
            self._new.append(text.encode("utf-8", "surrogatepass"))
            self._count += 1
        return known

    def add(self, texts: pa.Array) -> IntArray:
        """The numbers of more texts, 0 for null."""
        self._flush()
        self._parts.append(pc.fill_null(texts, b""))
        numbers = np.arange(self._count, self._count + len(texts))
        self._count += len(texts)
        numbers[texts.is_null().to_numpy(zero_copy_only=False)] = 0
        return numbers

    def all(self) -> pa.Array:
        """Every text, by number."""
        self._flush()
        if len(self._parts) > 1:
            self._parts = [pa.concat_arrays(self._parts)]
        return self._parts[0]

    def _flush(self) -> None:
        if self._new:
            self._parts.append(pa.array(self._new, pa.binary()))
            self._new = []
