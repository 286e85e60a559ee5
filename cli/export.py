"""`flameduck export`: profiles as bytes in another format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import click

from .asking import ask, opened
from .options import Question, packed, question_options
from .output import write_bytes

if TYPE_CHECKING:
    from ..schema.profile import Rules
    from ..schema.request import Exported, PprofOptions


@dataclass(frozen=True)
class PprofChoices:
    """How a pprof is made."""

    go_pgo: bool
    keep_locations: int
    aggregate_callees: bool
    rules: str

    def options(self) -> PprofOptions:
        """The request's options."""
        from ..schema.request import PprofOptions

        rules = cast("Rules", self.rules)
        return PprofOptions(self.go_pgo, self.keep_locations, self.aggregate_callees, rules)


pprof_options = packed(
    PprofChoices,
    "pprof",
    click.option(
        "--go-pgo",
        is_flag=True,
        help="A pprof trimmed for Go's profile-guided optimisation: as --format go-pgo.",
    ),
    click.option(
        "--keep-locations",
        type=click.IntRange(min=0),
        default=5,
        show_default=True,
        help="Leaf-most frames that go-pgo keeps; 0: all.",
    ),
    click.option(
        "--aggregate-callees/--no-aggregate-callees",
        default=True,
        show_default=True,
        help="With go-pgo, add up the callees of a line.",
    ),
    click.option(
        "--rules",
        type=click.Choice(("verbatim", "pyroscope")),
        default="verbatim",
        show_default=True,
        help="Whose pprof: with everything that came in, or as Pyroscope merges.",
    ),
)
"""--go-pgo, --keep-locations, --aggregate-callees, --rules."""


@click.command()
@question_options
@click.option(
    "-f",
    "--format",
    "name",
    default="",
    metavar="NAME",
    help="pprof, go-pgo, folded, speedscope, cpuprofile, otlp, otlp-json, dot, svg, arrow, parquet, csv, json or html; "
    "else --output tells.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write to this file; by default to stdout.",
)
@click.option(
    "--max-nodes",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Keep so many of the largest nodes, where the format is a tree; 0: all.",
)
@pprof_options
def command(question: Question, name: str, output: str | None, max_nodes: int, pprof: PprofChoices) -> None:
    """Write the profiles that match, merged into one, in another format.

    \b
    Example:
      flameduck export -q '{service_name="checkout"}' --type cpu -o merged.pb.gz
      flameduck export cpu.pb.gz --format folded | head
      flameduck export --type cpu -o default.pgo
      flameduck export --type cpu -o calls.svg
    """
    from ..engine.results import format_of_path
    from ..schema.request import ExportRequest

    if not name and output in (None, "-"):
        raise click.UsageError("name a format with --format, or a file whose suffix says it with --output")
    chosen = name or ("pprof" if pprof.go_pgo else format_of_path(str(output)))
    request = ExportRequest(question.query(), chosen, pprof.options(), max_nodes)
    with opened(question.store) as connection:
        answer = cast("Exported", ask(connection, request, question.tree.aggregate))
    write_bytes(answer.data, output)
