"""What the Python API hands back: SQL answers and flame graphs that know how to show and save themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..schema.errors import RequestError
from .text_table import REPR_ROWS, format_html, format_text

if TYPE_CHECKING:
    import os

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from ..schema.request import Exported, Flamegraph, FlamegraphDiff

FORMAT_OF_SUFFIX = {
    ".html": "html",
    ".json": "json",
    ".folded": "folded",
    ".txt": "folded",
    ".dot": "dot",
    ".svg": "svg",
    ".pgo": "go-pgo",
    ".pb.gz": "pprof",
    ".pprof": "pprof",
    ".speedscope.json": "speedscope",
    ".cpuprofile": "cpuprofile",
    ".otlp": "otlp",
    ".otlp.json": "otlp-json",
    ".arrow": "arrow",
    ".parquet": "parquet",
    ".csv": "csv",
}
"""The output format that a file's name asks for; the longest suffix wins."""


def format_of_path(path: str | os.PathLike[str]) -> str:
    """The output format of a file name. Raises `RequestError` when its suffix says nothing."""
    name = Path(path).name
    for suffix in sorted(FORMAT_OF_SUFFIX, key=len, reverse=True):
        if name.endswith(suffix):
            return FORMAT_OF_SUFFIX[suffix]
    raise RequestError(
        f"{name}: its suffix names no output format; known are {', '.join(sorted(FORMAT_OF_SUFFIX))}"
    )


class SqlResult:
    """The rows of an answer. Shows itself as a table in the shell and in a notebook."""

    def __init__(self, table: pa.Table, notes: Sequence[str] = ()) -> None:
        self._table = table
        self.notes = tuple(notes)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self._table.column_names)

    def arrow(self) -> pa.Table:
        """The rows as an Arrow table; nothing is copied."""
        return self._table

    def pl(self) -> pl.DataFrame:
        """The rows as a Polars frame."""
        import polars

        frame = polars.from_arrow(self._table)
        if isinstance(frame, polars.Series):
            return frame.to_frame()
        return frame

    def df(self) -> pd.DataFrame:
        """The rows as a pandas frame; pandas must be installed."""
        return self._table.to_pandas()

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows as dicts of Python values."""
        from .cells import python_rows

        return python_rows(self._table)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows as tuples of Python values."""
        from .cells import python_tuples

        return python_tuples(self._table)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.fetchall())

    def __repr__(self) -> str:
        return format_text(self._table.slice(0, REPR_ROWS)) + self._rest()

    def _repr_html_(self) -> str:
        return format_html(self._table.slice(0, REPR_ROWS)) + escape(self._rest())

    def _rest(self) -> str:
        hidden = len(self) - REPR_ROWS
        return f"\n... {hidden} more of {len(self)} rows" if hidden > 0 else ""


@dataclass(frozen=True)
class FlamegraphView:
    """A flame graph, or the difference of two, as rows of bars; shows itself in a notebook.

    `levels` holds the bars of `schema.request.Flamegraph` or `FlamegraphDiff`.
    """

    data: Flamegraph | FlamegraphDiff
    export: Callable[[str], Exported] = field(repr=False)

    @property
    def names(self) -> Sequence[str]:
        """Function names, by the index that a bar holds."""
        return self.data.names

    @property
    def levels(self) -> Sequence[Sequence[int]]:
        """Rows of bars, top down."""
        return self.data.levels

    @property
    def total(self) -> int:
        """The value of the whole graph."""
        return self.data.total

    @property
    def max_self(self) -> int:
        """The largest self value."""
        return self.data.max_self

    @property
    def profile_type(self) -> str:
        """The id of the type that was resolved."""
        return self.data.profile_type

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for a person: defaults taken, windows that differ."""
        return self.data.notes

    def to_dict(self) -> dict[str, Any]:
        """`names`, `levels`, `total` and `max_self`, ready for JSON."""
        return {
            "names": list(self.names),
            "levels": [list(level) for level in self.levels],
            "total": self.total,
            "max_self": self.max_self,
        }

    def to_html(self) -> str:
        """One self-contained interactive page."""
        return self.export("html").data.decode()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the graph in the format that the file's suffix names. Raises `RequestError`."""
        name = format_of_path(path)
        data = json.dumps(self.to_dict()).encode() if name == "json" else self.export(name).data
        Path(path).write_bytes(data)

    def _repr_html_(self) -> str:
        page = escape(self.to_html(), quote=True)
        style = "width:100%;height:600px;border:0"
        return f'<iframe srcdoc="{page}" style="{style}" sandbox="allow-scripts allow-downloads"></iframe>'
