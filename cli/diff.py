"""`flameduck diff`: what changed between two sets of profiles."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import click

from .asking import ask, opened, report, start_engine
from .graphs import write_html
from .options import (
    OutputOptions,
    Question,
    limit_option,
    output_options,
    packed,
    question_options,
)
from .output import Shown, write_table
from .values import format_value, unit_of

if TYPE_CHECKING:
    import pyarrow as pa

    from ..engine.connection import Connection
    from ..schema.request import Normalisation, Rows, TreeQuery

NORMALISATIONS = ("share", "rate")


@dataclass(frozen=True)
class VersusOptions:
    """The other side, where it differs from the first, and how the two are made comparable."""

    vs_query: str | None
    vs_start: str | None
    vs_end: str | None
    normalize: str | None

    @property
    def given(self) -> bool:
        """Whether the other side is another selection of the same place."""
        return any(value is not None for value in (self.vs_query, self.vs_start, self.vs_end))


versus_options = packed(
    VersusOptions,
    "versus",
    click.option(
        "--vs-query", metavar="SELECTOR", help="Selector of the other side; by default that of --query."
    ),
    click.option(
        "--vs-from", "vs_start", metavar="TIME", help="Start of the other side; by default that of --from."
    ),
    click.option("--vs-to", "vs_end", metavar="TIME", help="End of the other side; by default that of --to."),
    click.option(
        "--normalize",
        type=click.Choice(NORMALISATIONS),
        is_flag=False,
        flag_value="share",
        help="Compare shares of each side's total (also the bare flag), or values per profiled second.",
    ),
)


class DiffCommand(click.Command):
    """A bare `--normalize` before a file name means `share`, it does not take the file as its value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join the flag with its value, given or not."""
        joined = []
        rest = iter(enumerate(args))
        for at, word in rest:
            if word == "--normalize":
                value = args[at + 1] if args[at + 1 : at + 2] and args[at + 1] in NORMALISATIONS else ""
                joined.append(f"--normalize={value or 'share'}")
                if value:
                    next(rest)
            else:
                joined.append(word)
        return super().parse_args(ctx, joined)


@click.command(cls=DiffCommand)
@question_options
@versus_options
@click.option(
    "--html", type=click.Path(dir_okay=False, allow_dash=True), help="Write a red and blue flame graph."
)
@limit_option(30)
@output_options()
def command(
    question: Question, versus: VersusOptions, html: str | None, limit: int, output: OutputOptions
) -> None:
    """What changed: functions of two sets of profiles, the largest change of their total first.

    The sides are two files (or directories, or globs in quotes), or two selections of one store, or of the
    same files.

    \b
    Example:
      flameduck diff before.pb.gz after.pb.gz
      flameduck diff before.pb.gz after.pb.gz --html diff.html
      flameduck diff -q '{version="v1"}' --vs-query '{version="v2"}' --type cpu --normalize
      flameduck diff --from -2h --to -1h --vs-from -1h --vs-to now --type cpu
    """
    from ..schema.request import DiffTopRequest, ExportRequest

    left, right, place = _sides(question, versus)
    normalise = cast("Normalisation", versus.normalize or "none")
    with place as connection:
        if html:
            write_html(
                ask(connection, ExportRequest(left, "html", versus=right), question.tree.aggregate), html
            )
        request = DiffTopRequest(left, right, limit, normalise)
        if not html or output.output or output.format != "table":
            answer = cast("Rows", ask(connection, request, question.tree.aggregate))
            unit = unit_of(answer.profile_type)
            write_table(answer.table, output, lambda rows: _show(rows, unit, normalise))


def _sides(
    question: Question, versus: VersusOptions
) -> tuple[TreeQuery, TreeQuery, AbstractContextManager[Connection]]:
    """The two tree queries, and the place that answers both. Raises a usage error."""
    files = question.store.files
    now_ns = time.time_ns()
    select = question.select
    other = replace(
        select,
        query=select.query if versus.vs_query is None else versus.vs_query,
        start=select.start if versus.vs_start is None else versus.vs_start,
        end=select.end if versus.vs_end is None else versus.vs_end,
    )
    selections = select.selection(now_ns), other.selection(now_ns)
    if versus.given:
        left, right = (question.tree.tree(selection) for selection in selections)
        return left, right, opened(question.store)
    if len(files) != 2:
        raise click.UsageError(
            "name two files, or say how the sides differ with --vs-query, --vs-from or --vs-to"
        )
    left, right = (
        question.tree.tree(replace(selection, selector=_with_side(selection.selector, side)))
        for selection, side in zip(selections, ("before", "after"), strict=True)
    )
    return left, right, _opened_sides(question, files)


def _opened_sides(question: Question, files: Sequence[str]) -> AbstractContextManager[Connection]:
    start_engine()
    from ..engine.connection import open_comparison

    before, after = files
    store = question.store
    connection = open_comparison(before, after, store.input_format, store.raw_names)
    report(connection.refused, connection.warnings)
    return connection


def _with_side(selector: str, side: str) -> str:
    """The selector, narrowed to the profiles of one side. Raises `InvalidSelector`."""
    from ..engine.opening import SIDE
    from ..schema.labels import Matcher, format_selector, parse_selector

    return format_selector((*parse_selector(selector), Matcher(SIDE, "=", side)))


def _show(table: pa.Table, unit: str, normalise: Normalisation) -> Shown:
    def text(value: float) -> str:
        if normalise == "share":
            return f"{100 * value:.2f}%"
        return format_value(value, unit) + ("/s" if normalise == "rate" else "")

    rows = [
        [
            text(row["left_total"]),
            text(row["right_total"]),
            ("+" if row["delta"] > 0 else "") + text(row["delta"]),
            _change(row["left_total"], row["right_total"]),
            row["function"],
        ]
        for row in table.to_pylist()
    ]
    return Shown(["before", "after", "change", "change %", "function"], rows, [True, True, True, True, False])


def _change(before: float, after: float) -> str:
    if before == 0:
        return "new" if after else ""
    return "gone" if after == 0 else f"{100 * (after - before) / before:+.1f}%"
