"""`flameduck labels`: label names, the values of one, or whole label sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from .asking import ask_plainly, opened
from .explained import explain_option
from .options import OutputOptions, SelectOptions, StoreOptions, output_options, select_options, store_options
from .output import write_table

if TYPE_CHECKING:
    from ..schema.request import Request, Rows, Selection


@click.command()
@store_options
@select_options
@click.option("--name", metavar="LABEL", help="The values of this label.")
@click.option("--sets", is_flag=True, help="Whole label sets.")
@click.option("--by", multiple=True, metavar="LABEL", help="Label sets, of these labels only.")
@explain_option
@output_options()
def command(store: StoreOptions, select: SelectOptions, output: OutputOptions, **what: Any) -> None:
    """Label names, the values of one, or the distinct label sets. JSON is a list of strings, or of objects.

    \b
    Example:
      flameduck labels
      flameduck labels --name service_name
      flameduck labels --by service_name --by region
    """
    with opened(store) as connection:
        answer = cast("Rows", ask_plainly(connection, _request(select.selection(), what)))
    column = answer.table.column_names[0]
    write_table(answer.table, output, shape=lambda row: row[column])


def _request(selection: Selection, what: dict[str, Any]) -> Request:
    from ..schema.request import LabelNamesRequest, LabelValuesRequest, SeriesLabelsRequest

    if what["name"] and (what["sets"] or what["by"]):
        raise click.UsageError("--name is for the values of one label; leave out --sets and --by")
    if what["name"]:
        return LabelValuesRequest(selection, what["name"])
    if what["sets"] or what["by"]:
        return SeriesLabelsRequest(selection, tuple(what["by"]))
    return LabelNamesRequest(selection)
