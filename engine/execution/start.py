"""What a process of ours does first, and what it does with memory that it no longer needs."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


class _Hidden(MetaPathFinder):
    """Finds that pandas is not installed."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Raises `ModuleNotFoundError` for pandas; says nothing of others."""
        if fullname == "pandas":
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def start_without_pandas() -> None:
    """Keep pyarrow from loading pandas, which it does with the first list that becomes an array, where it is installed:
    that takes a second, for nothing. To be called in processes that are ours alone, before they import what is heavy.

    pyarrow looks once, so it looks here. Who imports pandas later, a plug-in or pyarrow's `to_pandas`, gets it.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(hidden)


def has_one_core() -> bool:
    """Whether this process is one of several workers, of which each is to use a core: more threads would only fight."""
    return "FLAMEDUCK_WORKER" in os.environ


_M_ARENA_MAX = -8
_ARENAS = 2


def start_giving_memory_back() -> None:
    """Let what is freed go back to the system, for a process that lives long: Arrow's own allocator and glibc's arenas,
    one for every few threads, keep it. After a minute of pushes and questions that is a third of the process.

    Arrow looks once, when it is loaded: a pool that is set later is not the one that its Parquet code takes.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    _glibc("mallopt", _M_ARENA_MAX, _ARENAS)


def give_memory_back() -> None:
    """What was freed between things that stay, after much was: the allocator returns only what is at its end."""
    _glibc("malloc_trim", 0)


def _glibc(name: str, *numbers: int) -> None:
    """Call what other C libraries may not have; the numbers are those of its malloc.h."""
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*numbers)
