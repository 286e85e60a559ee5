"""The string table of an OTLP request, for what refers to it by number many times.

A few bytes can refer to a long string, so what is taken from the table in all is limited by the request's size.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from ...schema.errors import CorruptProfile, LimitExceeded

_FREE = 1 << 24
_PER_BYTE = 64
"""So much may a request mean, in bytes of text or in frames, and so much more for each of its bytes."""


class Budget:
    """What a request may still mean."""

    def __init__(self, size_bytes: int) -> None:
        self.limit = _FREE + _PER_BYTE * size_bytes
        self._spent = 0

    def spend(self, count: int) -> None:
        """Count frames, lines or bytes of text. Raises `LimitExceeded`."""
        self._spent += count
        if self._spent > self.limit:
            raise LimitExceeded(f"the profiles mean more than {self.limit} frames, lines and bytes of text")


class StringTable:
    """Strings by number; `values` are bytes."""

    def __init__(self, values: pa.Array, budget: Budget) -> None:
        self.values = values
        self._budget = budget
        self._texts: dict[int, str] = {}

    def text(self, index: int) -> str:
        """One string. Raises `CorruptProfile`, and `LimitExceeded` after too many."""
        found = self._texts.get(index)
        if found is None:
            if not 0 <= index < len(self.values):
                raise CorruptProfile(
                    f"strindex {index} is outside of string_table, which has {len(self.values)} entries"
                )
            found = self._texts[index] = str(self.values[index].as_py(), "utf-8", "replace")
        self._budget.spend(len(found))
        return found

    def take(self, index: pa.Array) -> pa.Array:
        """Strings, null where the number is null or outside of the table. Raises `LimitExceeded`."""
        inside = pc.and_(pc.greater_equal(index, 0), pc.less(index, len(self.values)))
        valid = pc.if_else(inside, index, None)
        self._budget.spend(int(pc.sum(pc.binary_length(self.values).take(valid)).as_py() or 0))
        return self.values.take(valid)
