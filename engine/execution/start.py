"""What a process of ours does first."""

from __future__ import annotations

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
