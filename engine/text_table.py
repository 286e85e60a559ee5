"""An Arrow table as plain aligned text, or as an HTML table: for pipes, files, reprs and notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pyarrow as pa

from .cells import json_rows, text_cell

REPR_ROWS = 20


def one_line(cell: str) -> str:
    """A cell without control characters, which would break the line or the terminal."""
    return cell if cell.isprintable() else "".join(char if char.isprintable() else " " for char in cell)


def cell_texts(table: pa.Table) -> list[list[str]]:
    """The rows as texts."""
    named = table.rename_columns([str(number) for number in range(table.num_columns)])
    return [[text_cell(value) for value in row.values()] for row in json_rows(named)]


def right_aligned(kind: pa.DataType) -> bool:
    """Whether a column holds numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def format_columns(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Lines of columns two spaces apart; the last column is not padded."""
    lines = [[one_line(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_format_line(line, widths, right) for line in lines)


def format_text(table: pa.Table) -> str:
    """The whole table as aligned text with a header."""
    return format_columns(
        table.column_names, cell_texts(table), [right_aligned(kind) for kind in table.schema.types]
    )


def format_html(table: pa.Table) -> str:
    """The whole table as one HTML `<table>`."""
    right = [right_aligned(kind) for kind in table.schema.types]
    head = "".join(f"<th>{escape(name)}</th>" for name in table.column_names)
    body = "".join(f"<tr>{_html_cells(row, right)}</tr>" for row in cell_texts(table))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _format_line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = [
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(cells, widths, right, strict=True)
    ]
    return "  ".join(padded).rstrip()


def _html_cells(row: Sequence[str], right: Sequence[bool]) -> str:
    aligned = zip(row, right, strict=True)
    return "".join(
        f'<td style="text-align:{"right" if to_right else "left"}">{escape(cell)}</td>'
        for cell, to_right in aligned
    )
