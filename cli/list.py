"""`flameduck list`: values by source line."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from .asking import ask, opened
from .options import OutputOptions, Question, limit_option, output_options, question_options
from .output import Shown, write_table
from .values import format_value, unit_of

if TYPE_CHECKING:
    import pyarrow as pa

    from ..schema.request import Rows


@click.command()
@click.argument("pattern", metavar="REGEX")
@question_options
@limit_option(0)
@output_options()
def command(pattern: str, question: Question, limit: int, output: OutputOptions) -> None:
    """Values by source line of the functions whose name matches REGEX.

    \b
    Example:
      flameduck list 'main\\.work' cpu.pb.gz
    """
    from ..schema.request import LinesRequest

    with opened(question.store) as connection:
        answer = cast(
            "Rows", ask(connection, LinesRequest(question.query(), pattern), question.tree.aggregate)
        )
    table = answer.table.slice(0, limit) if limit else answer.table
    write_table(table, output, lambda rows: _show(rows, unit_of(answer.profile_type)))


def _show(table: pa.Table, unit: str) -> Shown:
    rows = [
        [
            format_value(row["self"], unit),
            format_value(row["total"], unit),
            f"{row['filename']}:{row['line']}",
            row["function"],
        ]
        for row in table.to_pylist()
    ]
    return Shown(["self", "total", "line", "function"], rows, [True, True, False, False])
