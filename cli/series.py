"""`flameduck series`: totals in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from .asking import ask, opened
from .explained import explain_option
from .options import (
    OutputOptions,
    SelectOptions,
    StoreOptions,
    executor_option,
    limit_option,
    output_options,
    select_options,
    store_options,
)
from .output import Shown, write_table
from .values import format_value, unit_of

if TYPE_CHECKING:
    import pyarrow as pa

    from ..engine.connection import Connection
    from ..schema.request import Rows, Selection

STEPS_S = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 604_800)
POINTS = 100
BARS = "▁▂▃▄▅▆▇█"
GRAPH_WIDTH = 40


@click.command()
@store_options
@select_options
@click.option(
    "--step", default="", metavar="DURATION", help="Width of a bucket; by default about 100 in the range."
)
@click.option("--by", multiple=True, metavar="LABEL", help="Group by this label; repeat it for more.")
@click.option("--aggregate", type=click.Choice(("sum", "avg")), help="Over the profiles of a bucket.")
@limit_option(0)
@executor_option("reads the blocks")
@explain_option
@output_options()
def command(store: StoreOptions, select: SelectOptions, output: OutputOptions, **how: Any) -> None:
    """Totals in time: a line a group for people, a row a point (labels, ts, value) for programs.

    \b
    Example:
      flameduck series --type cpu --from -1h --by service_name
      flameduck series profiles/ --type cpu --step 1m --format csv
    """
    from ..schema.request import SeriesRequest
    from ..schema.times import parse_duration_ns

    with opened(store, how["executor"]) as connection:
        selection = select.selection()
        step_ns = parse_duration_ns(how["step"]) if how["step"] else _step_ns(selection, connection)
        request = SeriesRequest(selection, step_ns, tuple(how["by"]), how["aggregate"] or "sum", how["limit"])
        answer = cast("Rows", ask(connection, request, how["aggregate"]))
    write_table(answer.table, output, lambda rows: _show(rows, answer.profile_type, step_ns))


def _step_ns(selection: Selection, connection: Connection) -> int:
    """The smallest usual step that cuts the range into no more than about a hundred buckets."""
    import pyarrow.compute as pc

    from ..schema.request import BlocksRequest

    start_ns, end_ns = selection.start_ns, selection.end_ns
    if start_ns is None or end_ns is None:
        blocks = cast("Rows", connection.database.ask(BlocksRequest())).table
        start_ns = (pc.min(blocks["min_ts"]).as_py() or 0) if start_ns is None else start_ns
        end_ns = (pc.max(blocks["max_ts"]).as_py() or 0) if end_ns is None else end_ns
    length_s = (end_ns - start_ns) / 10**9
    return 10**9 * next((step for step in STEPS_S if step * POINTS >= length_s), STEPS_S[-1])


def _show(table: pa.Table, profile_type: str, step_ns: int) -> Shown:
    """A row for each group; CPU time also as the cores that it kept busy on average."""
    groups: dict[tuple[tuple[str, str], ...], list[tuple[int, float]]] = {}
    for row in table.to_pylist():
        groups.setdefault(tuple(row["labels"]), []).append((row["ts"], row["value"]))
    times = [ts for points in groups.values() for ts, _ in points]
    span = (min(times), max(times)) if times else (0, 0)
    header = ["labels", "points", "min", "mean", "max", "total", "graph"]
    right = [False, True, True, True, True, True, False]
    rows = [_group_row(labels, points, unit_of(profile_type), span) for labels, points in groups.items()]
    if ":cpu:nanoseconds:" in profile_type:
        header.insert(4, "cores")
        right.insert(4, True)
        for row, points in zip(rows, groups.values(), strict=True):
            row.insert(4, f"{sum(value for _, value in points) / len(points) / step_ns:.3g}")
    return Shown(header, rows, right)


def _group_row(
    labels: tuple[tuple[str, str], ...], points: list[tuple[int, float]], unit: str, span: tuple[int, int]
) -> list[str]:
    values = [value for _, value in points]
    numbers = (min(values), sum(values) / len(values), max(values), sum(values))
    name = ", ".join(f"{key}={value}" for key, value in labels) or "all"
    return [
        name,
        str(len(points)),
        *(format_value(number, unit) for number in numbers),
        _sparkline(points, span),
    ]


def _sparkline(points: list[tuple[int, float]], span: tuple[int, int]) -> str:
    """The highest point of each of at most `GRAPH_WIDTH` equal parts of the span, as a row of blocks."""
    first, last = span
    width = min(GRAPH_WIDTH, max(len(points), 1))
    heights = [0.0] * width
    for ts, value in points:
        at = min((ts - first) * width // max(last - first, 1), width - 1)
        heights[at] = max(heights[at], value)
    top = max(heights) or 1.0
    return "".join(BARS[round(height / top * (len(BARS) - 1))] if height else " " for height in heights)
