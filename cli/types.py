"""`flameduck types`: the profile types that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from .asking import ask_plainly, opened
from .explained import explain_option
from .options import OutputOptions, SelectOptions, StoreOptions, output_options, select_options, store_options
from .output import write_table

if TYPE_CHECKING:
    from ..schema.request import Rows


@click.command()
@store_options
@select_options
@explain_option
@output_options()
def command(store: StoreOptions, select: SelectOptions, output: OutputOptions) -> None:
    """The profile types that are there: what --type takes. JSON is a list of ids.

    \b
    Example:
      flameduck types heap.pb.gz
      flameduck types -q '{service_name="checkout"}' --format json
    """
    from ..schema.request import ProfileTypesRequest

    with opened(store) as connection:
        answer = cast("Rows", ask_plainly(connection, ProfileTypesRequest(select.selection())))
    write_table(answer.table, output, shape=lambda row: row["profile_type"])
