"""`flameduck profiles`: the single profiles that match."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from .asking import ask_plainly, opened
from .explained import explain_option
from .options import (
    OutputOptions,
    SelectOptions,
    StoreOptions,
    limit_option,
    output_options,
    select_options,
    store_options,
)
from .output import Shown, write_table
from .values import format_second, format_value, unit_of

if TYPE_CHECKING:
    import pyarrow as pa

    from ..schema.request import Rows


@click.command()
@store_options
@select_options
@limit_option(50)
@explain_option
@output_options()
def command(store: StoreOptions, select: SelectOptions, limit: int, output: OutputOptions) -> None:
    """The single profiles that match, newest first.

    \b
    Example:
      flameduck profiles --from -1h -q '{service_name="checkout"}'
      flameduck profiles profiles/ --format csv --limit 0
    """
    from ..schema.request import ProfilesRequest

    with opened(store) as connection:
        answer = cast("Rows", ask_plainly(connection, ProfilesRequest(select.selection(), limit)))
    write_table(answer.table, output, _show)


def _show(table: pa.Table) -> Shown:
    rows = [
        [
            format_second(row["ts"]),
            row["profile_type"],
            row["service_name"] or "",
            str(row["samples"]),
            format_value(row["total"], unit_of(row["profile_type"])),
            format_value(row["duration_ns"], "ns") if row["duration_ns"] else "",
            str(row["profile_id"]),
        ]
        for row in table.to_pylist()
    ]
    header = ["time", "type", "service", "samples", "total", "duration", "profile_id"]
    return Shown(header, rows, [False, False, False, True, True, True, False])
