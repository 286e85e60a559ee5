"""`flameduck top`: functions by their own and their total value."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from .asking import ask, opened
from .options import OutputOptions, Question, executor_option, limit_option, output_options, question_options
from .output import Shown, write_table
from .values import column_sum, format_share, format_value, unit_of

if TYPE_CHECKING:
    import pyarrow as pa

    from ..schema.request import Rows


@click.command()
@question_options
@limit_option(20)
@executor_option("reads the blocks")
@output_options()
def command(question: Question, limit: int, executor: str, output: OutputOptions) -> None:
    """Functions by self value: what each spends itself, and with everything it calls.

    Recursion is counted once. JSON is a list of {"function", "self", "total"}.

    \b
    Example:
      flameduck top cpu.pb.gz
      flameduck top -q '{service_name="checkout"}' --type cpu --from -1h --limit 50
    """
    from ..schema.request import TopRequest

    with opened(question.store, executor) as connection:
        # The shares need the whole, so everything is asked for and the limit is applied here.
        answer = cast("Rows", ask(connection, TopRequest(question.query()), question.tree.aggregate))
    total = column_sum(answer.table, "self")
    table = answer.table.slice(0, limit) if limit else answer.table
    write_table(table, output, lambda rows: _show(rows, total, unit_of(answer.profile_type)))


def _show(table: pa.Table, total: int, unit: str) -> Shown:
    rows = [
        [
            format_value(row["self"], unit),
            format_share(row["self"], total),
            format_value(row["total"], unit),
            format_share(row["total"], total),
            row["function"],
        ]
        for row in table.to_pylist()
    ]
    return Shown(["self", "self %", "total", "total %", "function"], rows, [True, True, True, True, False])
