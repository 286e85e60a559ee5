"""Writes answers: tables in every format, bytes, notes. Data goes to stdout or a file, the rest to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

if TYPE_CHECKING:
    import pyarrow as pa

    from .options import OutputOptions

BINARY_FORMATS = ("parquet", "arrow")


@dataclass(frozen=True)
class Shown:
    """A table as people see it: texts, and which columns stand to the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[bool]


Show = Callable[["pa.Table"], Shown]
Shape = Callable[[dict[str, Any]], Any]


def note(text: str) -> None:
    """A sentence for a person, on stderr."""
    click.echo(f"note: {text}", err=True)


def notes(texts: Iterable[str]) -> None:
    """Sentences for a person, on stderr."""
    for text in texts:
        note(text)


def is_terminal(stream: Any) -> bool:
    """Whether a person reads this stream."""
    return bool(stream.isatty())


def write_table(
    table: pa.Table, output: OutputOptions, show: Show | None = None, shape: Shape | None = None
) -> None:
    """Write rows in the chosen format.

    `show` makes what people see; `shape` turns a row into what JSON shows, where that is not an object.
    """
    if output.format in BINARY_FORMATS:
        write_bytes(_binary(table, output.format), output.output)
    elif output.format == "csv":
        write_bytes(_csv(table), output.output)
    elif output.format == "table":
        show_table((show or show_cells)(table), output.output)
    else:
        write_text(_json(table, output.format, shape), output.output)


def write_json(value: Any, output: str | None) -> None:
    """One JSON value."""
    write_text(json.dumps(value, ensure_ascii=False) + "\n", output)


def write_text(text: str, output: str | None) -> None:
    """Text to a file, or to stdout."""
    write_bytes(text.encode("utf-8", "surrogateescape"), output)


def write_bytes(data: bytes, output: str | None) -> None:
    """Bytes to a file, or to stdout; binary data never goes to a terminal."""
    if output not in (None, "-"):
        Path(str(output)).write_bytes(data)
        return
    stdout: BinaryIO = sys.stdout.buffer
    if is_terminal(sys.stdout) and not _is_text(data):
        raise click.UsageError(
            "binary data does not go to a terminal: name a file with --output, or use a pipe"
        )
    stdout.write(data)
    stdout.flush()


def _is_text(data: bytes) -> bool:
    return b"\0" not in data[:4096] and not data.startswith(b"\x1f\x8b")


def show_cells(table: pa.Table) -> Shown:
    """Every cell as its text."""
    from ..engine.text_table import cell_texts, right_aligned

    return Shown(table.column_names, cell_texts(table), [right_aligned(kind) for kind in table.schema.types])


def show_table(shown: Shown, output: str | None = None) -> None:
    """A table for people, to a file or to stdout."""
    from ..engine.text_table import format_columns

    if output is None and is_terminal(sys.stdout):
        _write_rich(shown)
    else:
        write_text(format_columns(shown.header, shown.rows, shown.right) + "\n", output)


def _write_rich(shown: Shown) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..engine.text_table import one_line

    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for name, right in zip(shown.header, shown.right, strict=True):
        table.add_column(Text(name), justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row in shown.rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    Console().print(table)


def _json(table: pa.Table, name: str, shape: Shape | None) -> str:
    from ..engine.cells import json_rows

    rows: list[Any] = json_rows(table)
    if shape is not None:
        rows = [shape(row) for row in rows]
    if name == "ndjson":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return json.dumps(rows, ensure_ascii=False) + "\n"


def _binary(table: pa.Table, name: str) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    if name == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, sink, compression="zstd")
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return bytes(sink.getvalue())


def _csv(table: pa.Table) -> bytes:
    """Comma-separated values with a header; null is empty, what is not a plain value is JSON."""
    import csv
    import io

    from ..engine.text_table import cell_texts

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(cell_texts(table))
    return text.getvalue().encode()
