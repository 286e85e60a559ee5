"""`flameduck tree`: the call tree, node by node."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from .asking import ask, opened
from .options import OutputOptions, Question, output_options, question_options
from .output import Shown, note, write_table
from .values import column_sum, format_share, format_value, unit_of

if TYPE_CHECKING:
    import pyarrow as pa

    from ..schema.request import Rows

PEOPLE_MIN_SHARE = 0.5
"""Percent of the total below which people are not shown a node."""


@click.command()
@question_options
@click.option(
    "--min-share",
    type=click.FloatRange(0, 100),
    help=f"Leave out nodes below this percentage of the total; {PEOPLE_MIN_SHARE} for tables, else 0.",
)
@output_options()
def command(question: Question, min_share: float | None, output: OutputOptions) -> None:
    """The call tree: every node with its depth, its own and its total value.

    Nodes are in pre-order: `parent` is the number of the node above.

    \b
    Example:
      flameduck tree cpu.pb.gz
      flameduck tree cpu.pb.gz --focus 'json' --format csv
    """
    from ..schema.request import TreeRequest

    with opened(question.store) as connection:
        answer = cast("Rows", ask(connection, TreeRequest(question.query()), question.tree.aggregate))
    total = column_sum(answer.table, "self")
    share = min_share if min_share is not None else PEOPLE_MIN_SHARE if output.format == "table" else 0
    table = _at_least(answer.table, total * share / 100)
    write_table(table, output, lambda rows: _show(rows, total, unit_of(answer.profile_type)))
    hidden = answer.table.num_rows - table.num_rows
    if hidden:
        note(f"{hidden} nodes below {share:g}% are left out; --min-share 0 shows them")


def _at_least(table: pa.Table, value: float) -> pa.Table:
    import pyarrow.compute as pc

    return table.filter(pc.greater_equal(pc.abs(table["total"]), value)) if value else table


def _show(table: pa.Table, total: int, unit: str) -> Shown:
    rows = [
        [
            format_value(row["total"], unit),
            format_share(row["total"], total),
            format_value(row["self"], unit),
            "  " * row["depth"] + row["function"],
        ]
        for row in table.to_pylist()
    ]
    return Shown(["total", "total %", "self", "function"], rows, [True, True, True, False])
