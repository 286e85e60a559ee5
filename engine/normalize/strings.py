"""The string tables of a batch: each distinct text once, with its hash."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema import identity
from .columns import BadProfiles, BoolArray, Column, IntArray, U64Array, distinct, refuse

GO_SHAPE = "[go.shape"


class Strings:
    """Texts by number. `replaced` are the profiles in which invalid UTF-8 became U+FFFD, with what it was.

    Raises `BadProfiles` for tables that do not begin with the empty string.
    """

    def __init__(self, tables: pa.ListArray) -> None:
        column = Column.of(tables)
        refuse(column.lengths == 0, "string_table is empty")
        encoded = column.values.dictionary_encode()
        self._number: IntArray = encoded.indices.to_numpy().astype(np.int64)
        self._offsets = column.offsets
        first = self._number[column.offsets[:-1]]
        known = pc.index(encoded.dictionary, b"").as_py()
        refuse(first != known, "string_table[0] is not empty")
        self.empty = int(known)
        self.replaced: dict[int, bytes] = {}
        self._set(self._as_text(encoded.dictionary))

    def _set(self, text: pa.Array) -> None:
        self.text = text
        self.hash: U64Array = identity.hash_texts(text)
        known = distinct(self.hash)
        if len(known.rows) < len(text):
            differs = pc.not_equal(text.take(pa.array(known.leader)), text).to_numpy(zero_copy_only=False)
            for profile, _ in self._users(np.flatnonzero(differs)):
                raise BadProfiles({profile: "two different strings have one hash"})

    def _as_text(self, raw: pa.Array) -> pa.Array:
        try:
            return raw.cast(pa.string())
        except pa.ArrowInvalid:
            pass
        values = raw.to_pylist()
        texts = [value.decode("utf-8", "replace") for value in values]
        invalid = [n for n, text in enumerate(texts) if "\ufffd" in text and text.encode() != values[n]]
        for profile, number in self._users(np.array(invalid, np.int64)):
            self.replaced.setdefault(profile, values[number])
        return pa.array(texts, pa.string())

    def _users(self, numbers: IntArray) -> Iterator[tuple[int, int]]:
        """The profiles whose tables hold some texts, with the text's number, in order."""
        for row in np.flatnonzero(np.isin(self._number, numbers)):
            yield int(np.searchsorted(self._offsets, row, side="right")) - 1, int(self._number[row])

    def numbers(self, index: npt.NDArray[Any], column: Column, field: str) -> IntArray:
        """The number of each text that the rows of `column`, whose lists are profiles, name by `index`."""
        return self.resolve(index, column.lengths, field)

    def resolve(self, index: npt.NDArray[Any], lengths: IntArray, field: str) -> IntArray:
        """The number of each text; profile `p` has the next `lengths[p]` of the indices.

        Raises `BadProfiles` for an index that is outside of its profile's table.
        """
        size = np.repeat(np.diff(self._offsets), lengths)
        outside = index.view(np.uint64) >= size.view(np.uint64)
        if outside.any():
            owner = np.repeat(np.arange(len(lengths)), lengths)[outside]
            worst = index[outside]
            found = {
                int(p): f"{field} {int(i)} is outside of string_table"
                for p, i in zip(owner, worst, strict=True)
            }
            raise BadProfiles(found)
        numbers: IntArray = self._number[index + np.repeat(self._offsets[:-1], lengths)]
        return numbers

    def texts(self, numbers: IntArray) -> pa.Array:
        """The texts, by number."""
        return self.text.take(pa.array(numbers))

    def keep_tails(self, limit_bytes: int) -> None:
        """Cut longer texts to their last bytes, as Pyroscope does."""
        if limit_bytes and (pc.max(pc.binary_length(self.text)).as_py() or 0) > limit_bytes:
            cut = [text.encode()[-limit_bytes:].decode("utf-8", "ignore") for text in self.text.to_pylist()]
            self._set(pa.array(cut, pa.string()))

    def drop_go_shapes(self) -> None:
        """Remove the type parameters `[go.shape…]`, which only tell the compiler's instances of a function apart."""
        hit: BoolArray = pc.match_substring(self.text, GO_SHAPE).to_numpy(zero_copy_only=False)
        if hit.any():
            texts = self.text.to_pylist()
            for number in np.flatnonzero(hit).tolist():
                texts[number] = without_go_shape(texts[number])
            self._set(pa.array(texts, pa.string()))


def without_go_shape(name: str) -> str:
    """A Go function name without its `[go.shape…]` blocks, inner brackets included."""
    start = name.find(GO_SHAPE)
    while start >= 0:
        depth = 0
        for stop in range(start, len(name)):
            depth += (name[stop] == "[") - (name[stop] == "]")
            if depth == 0:
                break
        else:
            return name
        name = name[:start] + name[stop + 1 :]
        start = name.find(GO_SHAPE)
    return name
