"""Ingest from a running Pyroscope: its options, and the run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from .options import packed, time_ns
from .progress import progress_bar

if TYPE_CHECKING:
    from ..schema.request import Database, IngestReport

_SCHEMES = ("pyroscope://", "pyroscopes://")


class _HeaderLine(click.types.StringParamType):
    """`Name: value`; in an environment variable one a line."""

    name = "header"
    envvar_list_splitter = "\n"


@dataclass(frozen=True)
class SourceOptions:
    """Which profiles of a Pyroscope, and what to send along."""

    query: str
    start: str | None
    end: str | None
    step: str
    header: tuple[str, ...]
    source_tenant: str
    keep_mismatches: bool


source_options = packed(
    SourceOptions,
    "taken",
    click.option(
        "-q",
        "--query",
        default="{}",
        metavar="SELECTOR",
        help="From a Pyroscope: the series to take; by default all.",
    ),
    click.option(
        "--from", "start", metavar="TIME", help="From a Pyroscope: from this time on; by default its oldest."
    ),
    click.option("--to", "end", metavar="TIME", help="From a Pyroscope: before this time; by default now."),
    click.option(
        "--step",
        default="1h",
        show_default=True,
        metavar="DURATION",
        help="From a Pyroscope: how much time becomes one profile.",
    ),
    click.option(
        "--header",
        multiple=True,
        type=_HeaderLine(),
        envvar="FLAMEDUCK_SOURCE_HEADERS",
        metavar="'NAME: VALUE'",
        help="From a Pyroscope: send this header, such as Authorization; in the environment one a line.",
    ),
    click.option(
        "--source-tenant",
        default="",
        envvar="FLAMEDUCK_SOURCE_TENANT",
        metavar="NAME",
        help="From a Pyroscope: the tenant there.",
    ),
    click.option(
        "--keep-mismatches",
        is_flag=True,
        help="From a Pyroscope: store what does not add up to its own totals, with a warning.",
    ),
)
"""--query, --from, --to, --step, --header, --source-tenant, --keep-mismatches."""


def source_of(paths: Sequence[str]) -> str:
    """The Pyroscope that is named, or nothing. Raises a usage error when anything else is named with it."""
    found = [path for path in paths if path.startswith(_SCHEMES)]
    if found and len(paths) > 1:
        raise click.UsageError("a Pyroscope comes alone: name one, and no files with it")
    return found[0] if found else ""


def refuse_misplaced(context: click.Context, names: Sequence[str], where: str) -> None:
    """Raise a usage error when one of some options was given, which mean nothing `where`."""
    from click.core import ParameterSource

    typed = (ParameterSource.COMMANDLINE,)
    given = [name for name in names if context.get_parameter_source(name) in typed]
    if given:
        options = {param.name: param.opts[-1] for param in context.command.params}
        raise click.UsageError(f"{options[given[0]]} does not apply {where}")


def migrate(
    database: Database, source: str, taken: SourceOptions, labels: Mapping[str, str], jobs: int
) -> IngestReport:
    """Store what is missing here. Raises `RequestError`, `Unavailable` or `InvalidTime`."""
    from ..engine.migration.run import Migration, Wanted
    from ..engine.migration.source import parse_source
    from ..schema.times import parse_duration_ns

    now_ns = time.time_ns()
    ends: dict[str, Any] = {
        "start_ns": time_ns(taken.start, now_ns),
        "end_ns": time_ns(taken.end or "now", now_ns),
    }
    wanted = Wanted(
        **ends,
        selector=taken.query,
        step_ms=parse_duration_ns(taken.step) // 1_000_000,
        labels=labels,
        keep_mismatches=taken.keep_mismatches,
        jobs=jobs,
    )
    migration = Migration(parse_source(source, taken.source_tenant, taken.header), wanted)
    try:
        with progress_bar("slices", migration.open()) as progress:
            return migration.run(database, progress)
    finally:
        migration.close()
