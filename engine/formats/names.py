"""Function names made readable: what a compiler or a runtime wrote for itself, as it is written in the source.

Mangled C++, Rust, Swift and MSVC names are demangled as c++filt shows them; names of the perf maps that runtimes
write become those of their language. Other names stay as they are. The raw name is kept as the system's name.
Which uploads want that is said by `name_reader`; the readers of formats pass every function's name through it.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from . import Input
from .runtime_names import RUNTIME_NAMES, placed, readable_runtime_name

if TYPE_CHECKING:
    from demangle import Style

IntArray = npt.NDArray[np.int64]

MAX_NAME = 4096
"""Longer names stay as they are: a name can be written to keep whoever reads it busy."""

MAX_SHOWN = 8192
"""Characters of a readable name: a short name can be written to become a very long one, and then stays as it is."""

_SCHEMES = ("itanium", "rust", "swift", "msvc")
"""What is demangled. Older schemes are left out: a plain C name, `f__Fi`, can look like one of theirs."""

_MANGLED = r"_{1,4}Z|_{1,2}R|\?|_{0,2}\$[sSe]|_{1,2}T"
_TELLING = rf"^(?:{_MANGLED}|{RUNTIME_NAMES})"
_BEGINS_MANGLED = re.compile(_MANGLED)


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

    def without_place(self) -> NameReader:
        """The same for a format that keeps files and lines: what V8 and CPython write of them into a name goes."""
        return _NamesWithoutPlace(self._raw)

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


class _NamesWithoutPlace(NameReader):
    def read(self, name: str) -> str:
        found = None if self._raw else placed(name)
        return found.name if found else super().read(name)


def _may_change(names: pa.Array) -> npt.NDArray[np.bool_]:
    marks: npt.NDArray[np.bool_] = pc.match_substring_regex(names, _TELLING).to_numpy(zero_copy_only=False)
    return marks


@lru_cache(maxsize=16_384)
def readable(name: str) -> str:
    """A name as a person writes it; a name that is not understood stays as it is."""
    if len(name) > MAX_NAME:
        return name
    return readable_runtime_name(name) or _demangled(name)


def _demangled(name: str) -> str:
    if not _BEGINS_MANGLED.match(name):
        return name
    from demangle import demangle

    # A style that is handed over is not cached by the library, whose cache is counted in names, not in bytes.
    shown = demangle(name, style=_style(), language=_SCHEMES)
    return shown if len(shown) <= MAX_SHOWN else name


@cache
def _style() -> Style:
    from demangle import style

    return style("gnu")
