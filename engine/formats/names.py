"""Function names made readable: what a compiler mangled is written as in its language. The raw name is kept.

Which uploads want that is said by `name_reader`; the readers of formats pass every function's name through it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from . import Input

IntArray = npt.NDArray[np.int64]

MAX_MANGLED_BYTES = 4096
"""Longer names stay as they are: a name can be written to keep a demangler busy for ever."""

_MANGLED = ("_Z", "__Z", "_R", "__R", "?")


def name_reader(one: Input) -> NameReader:
    """How the names of an upload are read. Pyroscope leaves them as they are, and so do its rules."""
    return NameReader(raw=one.raw_names or one.rules == "pyroscope")


class NameReader:
    """Readable names of functions; with `raw`, the names as they are."""

    def __init__(self, raw: bool) -> None:
        self._raw = raw

    def read(self, name: str) -> str:
        """The name to show."""
        return name if self._raw else readable(name)

    def read_all(self, names: pa.Array) -> tuple[pa.Array, IntArray, IntArray]:
        """Names (bytes) as texts, of which the first is empty, and the numbers of each name as shown and as it is."""
        count = len(names)
        system = np.arange(1, count + 1)
        texts = pa.concat_arrays([pa.array([b""], pa.binary()), names])
        if self._raw:
            return texts, system, system
        shown = system.copy()
        more: list[bytes] = []
        for row in np.flatnonzero(_may_change(names)).tolist():
            raw = names[row].as_py().decode("utf-8", "surrogateescape")
            better = readable(raw)
            if better != raw:
                more.append(better.encode("utf-8", "surrogateescape"))
                shown[row] = count + len(more)
        return pa.concat_arrays([texts, pa.array(more, pa.binary())]), shown, system


def _may_change(names: pa.Array) -> npt.NDArray[np.bool_]:
    found = [pc.starts_with(names, prefix.encode()) for prefix in _MANGLED]
    marks: npt.NDArray[np.bool_] = np.logical_or.reduce([one.to_numpy(zero_copy_only=False) for one in found])
    return marks


@lru_cache(maxsize=65_536)
def readable(name: str) -> str:
    """A name as a person writes it; a name that is not understood stays as it is."""
    if not name.startswith(_MANGLED) or not name.isascii() or len(name) > MAX_MANGLED_BYTES:
        return name
    from pydemumble import demangle

    return str(demangle(name)) or name
