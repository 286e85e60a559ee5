"""`flameduck ingest`: store profiles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, cast

import click

from .asking import report, start_engine
from .ingest_source import SourceOptions, migrate, refuse_misplaced, source_of, source_options
from .options import StoreOptions, format_option, only_store_options, packed, time_ns
from .output import write_text
from .progress import progress_bar

if TYPE_CHECKING:
    from ..engine.uploads import UploadOptions
    from ..schema.profile import Rules
    from ..schema.request import IngestReport


@dataclass(frozen=True)
class SaidOptions:
    """What is said about every file."""

    service: str
    label: tuple[str, ...]
    name: str
    time: str | None
    rules: str
    input_format: str
    raw_names: bool

    @property
    def labels(self) -> dict[str, str]:
        """The labels alone. Raises a usage error."""
        return labels_of(self.label)

    def upload_options(self) -> UploadOptions:
        """The same as the engine takes it. Raises `InvalidTime`, or a usage error on a label."""
        import time

        from ..engine.uploads import UploadOptions
        from ..schema.labels import SERVICE_NAME

        labels = self.labels
        if self.service:
            labels[SERVICE_NAME] = self.service
        return UploadOptions(
            labels=labels,
            name=self.name,
            time_ns=time_ns(self.time, time.time_ns()) or 0,
            rules=cast("Rules", self.rules),
            input_format=self.input_format,
            raw_names=self.raw_names,
        )


said_options = packed(
    SaidOptions,
    "said",
    click.option("--service", default="", metavar="NAME", help="The label service_name of every profile."),
    click.option(
        "-l",
        "--label",
        multiple=True,
        metavar="KEY=VALUE",
        help="A label of every profile; repeat it for more.",
    ),
    click.option(
        "--name", default="", help="The label __name__, such as process_cpu; by default what the types say."
    ),
    click.option("--time", metavar="TIME", help="Time of profiles that carry none; by default the file's."),
    click.option(
        "--rules",
        type=click.Choice(("verbatim", "pyroscope")),
        default="verbatim",
        show_default=True,
        help="Keep profiles as they are, or change them as Pyroscope does.",
    ),
    click.option(
        "--input-format", default="", metavar="NAME", help="Where the content does not tell the format."
    ),
    click.option("--raw-names", is_flag=True, help="Leave function names as they are in the files."),
)
"""--service, --label, --name, --time, --rules, --input-format, --raw-names."""


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATHS...", type=click.Path())
@only_store_options
@said_options
@source_options
@click.option(
    "-j", "--jobs", type=click.IntRange(min=0), default=0, help="Worker processes; by default one a core."
)
@format_option(("table", "json"), "Format of the report.")
@click.pass_context
def command(
    context: click.Context,
    paths: Sequence[str],
    store: StoreOptions,
    said: SaidOptions,
    taken: SourceOptions,
    jobs: int,
    format: str,
) -> None:
    """Store profiles: files, directories, globs in quotes, - for standard input, https:// or s3:// URLs.

    What is stored already is not stored again. A file that cannot be read is refused with its reason, the
    others are stored, and the exit code is 1.

    pyroscope://host:4040 (pyroscopes:// with TLS) takes the profiles of a running Pyroscope: for each series and
    each --step of time one merged profile, checked against its totals. A run that broke off is run again.

    \b
    Example:
      flameduck ingest profiles/ --service checkout --label region=eu
      flameduck ingest 'logs/*.folded' --time 2026-11-01T12:00:00Z --store s3://bucket/profiles
      curl -s localhost:6060/debug/pprof/heap | flameduck ingest - --service checkout
      flameduck ingest pyroscope://localhost:4040 -q '{service_name="checkout"}' --from -7d
    """
    source = source_of(paths)
    refuse_misplaced(context, *(_NOT_OF_SOURCES if source else _NOT_OF_FILES))
    if source:
        _write_report(_ingest_source(source, store, said, taken, jobs), format)
    else:
        _write_report(_ingest_files(paths, store, said, jobs), format)


_NOT_OF_SOURCES = (
    ("service", "name", "time", "rules", "input_format", "raw_names"),
    "to a Pyroscope: its profiles are stored as they are there",
)
_NOT_OF_FILES = (
    ("query", "start", "end", "step", "header", "source_tenant", "keep_mismatches"),
    "to files: it is for pyroscope://",
)


def _ingest_files(paths: Sequence[str], store: StoreOptions, said: SaidOptions, jobs: int) -> IngestReport:
    start_engine()
    from ..engine.opening import open_store
    from ..engine.uploads import Uploads
    from ..schema.request import IngestOptions

    uploads = Uploads(paths, said.upload_options())
    database = open_store(store.store, store.tenant)
    try:
        with progress_bar("ingest", len(uploads)) as progress:
            done = database.ingest(uploads, IngestOptions(jobs, progress))
    finally:
        database.close()
    return replace(done, refused=(*done.refused, *uploads.refused))


def _ingest_source(
    source: str, store: StoreOptions, said: SaidOptions, taken: SourceOptions, jobs: int
) -> IngestReport:
    start_engine()
    from ..engine.opening import open_store

    database = open_store(store.store, store.tenant)
    try:
        return migrate(database, source, taken, said.labels, jobs)
    finally:
        database.close()


def labels_of(texts: Sequence[str]) -> dict[str, str]:
    """Labels as they were typed. Raises a usage error."""
    return dict(map(_label, texts))


def _label(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise click.BadParameter(f"{text!r}: expected KEY=VALUE", param_hint="--label")
    return name, value


def _write_report(done: IngestReport, name: str) -> None:
    if name == "json":
        write_text(json.dumps(asdict(done)) + "\n", None)
    else:
        counts = f"{done.new} new, {done.known} known, {len(done.refused)} refused"
        write_text(f"{counts}; {len(done.blocks)} blocks written\n", None)
    report(done.refused, done.warnings)
