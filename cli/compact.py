"""`flameduck compact`: few large blocks out of many small ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .asking import EXIT_CODE, existing_store, start_job
from .compact_request import request_compaction
from .options import OutputOptions, StoreOptions, executor_option, only_store_options, output_options
from .output import Shown, write_table
from .progress import progress_bar
from .values import format_value

if TYPE_CHECKING:
    import pyarrow as pa

    from ..engine.compaction.compact import Compacted, PlannedJob, RunJobs
    from ..engine.compaction.levels import LevelPolicy
    from ..engine.embedded import StoreDatabase


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what would be done first, and do nothing.")
@click.option(
    "--grace",
    default="10m",
    show_default=True,
    metavar="DURATION",
    help="How long after an hour or a day is over its blocks are left alone, for what comes late.",
)
@executor_option("merges the blocks")
@click.option(
    "--jobs",
    type=click.IntRange(min=0),
    default=None,
    help="Processes of this machine that merge blocks, side by side; 0: one a core. Takes as much memory as one, each.",
)
@click.option("--all-tenants", is_flag=True, help="Of every tenant of the store.")
@only_store_options
@output_options()
def command(grace: str, all_tenants: bool, store: StoreOptions, output: OutputOptions, **how: Any) -> None:
    """Turn the blocks of hours that are over into one an hour, and those of days into one a day.

    Profiles that are stored twice are stored once afterwards; no answer changes. Small blocks are joined beyond their
    hour and day. Other processes may go on to write, ask and compact. A block that does not hold what it says is told,
    left alone, and makes the exit code 1. A server is asked to do it, and waited for.

    \b
    Example:
      flameduck compact
      flameduck compact --store s3://bucket/profiles --tenant acme --grace 1h
      flameduck compact --store s3://bucket/profiles --executor dask://scheduler:8786
      flameduck compact --url http://127.0.0.1:4040
    """
    start_job()
    from ..engine.compaction.levels import LevelPolicy
    from ..schema.times import parse_duration_ns

    if store.store.startswith(("http://", "https://")):
        source = click.get_current_context().get_parameter_source("grace")
        asked = (how["dry_run"], all_tenants, how["executor"], how["jobs"] is not None)
        if any(asked) or source is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                "--dry-run, --grace, --all-tenants, --executor and --jobs are for stores, not for servers"
            )
        rows = request_compaction(store)
    else:
        policy = LevelPolicy(grace_ns=parse_duration_ns(grace))
        found = replace(store, store=existing_store(store.store))
        tenants = all_tenants_of(found.store) if all_tenants else (found.tenant,)
        rows = [row for tenant in tenants for row in _rows(replace(found, tenant=tenant), policy, **how)]
    if any(row["problems"] for row in rows):
        click.get_current_context().meta[EXIT_CODE] = 1
    write_table(_table(rows), output, lambda table: _show(table, all_tenants))


def all_tenants_of(store: str) -> Sequence[str]:
    """Every tenant that has something in a store."""
    from ..engine.storage.objects import open_objects
    from ..engine.storage.tenants import tenants_of

    return tenants_of(open_objects(store))


def _rows(
    store: StoreOptions, policy: LevelPolicy, dry_run: bool, executor: str, jobs: int | None
) -> Sequence[Mapping[str, Any]]:
    """A row for each job of one tenant."""
    from ..engine.embedded import open_embedded
    from ..engine.settings import load_settings

    with closing(open_embedded(store.store, store.tenant, load_settings())) as database:
        if dry_run:
            return [_row(store.tenant, one) for one in _plan(database, policy)]
        with _workers(database, store, executor, jobs) as run_jobs:
            return [_row(store.tenant, one) for one in _run(database, policy, run_jobs)]


def _plan(database: StoreDatabase, policy: LevelPolicy) -> Iterator[Compacted]:
    """The first round of jobs, not done; what they make is planned on afterwards."""
    import time

    from ..engine.compaction.compact import Compacted
    from ..engine.compaction.levels import plan_levels

    blocks = database.blocks.state().blocks
    for job in plan_levels(blocks.values(), policy, time.time_ns()):
        yield Compacted(job.level, [blocks[ulid] for ulid in job.ulids], None, 0)


@contextmanager
def _workers(
    database: StoreDatabase, store: StoreOptions, executor: str, jobs: int | None
) -> Iterator[RunJobs]:
    """Who runs the jobs."""
    from ..engine.compaction.compact import run_here
    from ..engine.compaction.executed import OnExecutor
    from ..engine.execution.named import LOCAL, executor_named
    from ..engine.settings import load_settings
    from ..engine.store_place import place_of

    name = executor or ("" if jobs is None else LOCAL)
    if not name:
        yield run_here(database.blocks)
        return
    with executor_named(name, jobs or 0) as workers:
        yield OnExecutor(workers, place_of(store.store, store.tenant, load_settings(), workers))


def _run(database: StoreDatabase, policy: LevelPolicy, run_jobs: RunJobs) -> Iterator[Compacted]:
    from ..engine.compaction.compact import compact
    from ..engine.compaction.deletion import Deletions

    def with_bar(jobs: Sequence[PlannedJob]) -> Iterator[Compacted]:
        with progress_bar(f"level {jobs[0].job.level}", len(jobs)) as moved:
            for number, one in enumerate(run_jobs(jobs), 1):
                if moved is not None:
                    moved(number)
                yield one

    for one in compact(database.blocks, policy, run_jobs=with_bar):
        for problem in _told(one):
            click.echo(f"flameduck: {problem}", err=True)
        yield one
    # Deletions that were interrupted, or whose profiles came late.
    for rewritten in Deletions(database.blocks).finish():
        if rewritten.problem:
            click.get_current_context().meta[EXIT_CODE] = 1
            click.echo(f"flameduck: block {rewritten.ulid}: {rewritten.problem}", err=True)
    aside = len(database.blocks.quarantined())
    if aside:
        click.echo(f"flameduck: corrupt blocks set aside: {aside}; see flameduck blocks quarantine", err=True)


def _told(one: Compacted) -> Sequence[str]:
    return [f"block {ulid}: {reason}" for ulid, reason in one.problems.items()]


def _row(tenant: str, one: Compacted) -> Mapping[str, Any]:
    return {
        "tenant": tenant,
        "level": one.level,
        "blocks": len(one.inputs),
        "profiles_before": sum(entry.profiles for entry in one.inputs),
        "size_bytes_before": sum(entry.size_bytes for entry in one.inputs),
        "block": one.made.ulid if one.made else None,
        "profiles": one.made.profiles if one.made else None,
        "samples": one.made.samples if one.made else None,
        "size_bytes": one.made.size_bytes if one.made else None,
        "seconds": one.seconds,
        "problems": _told(one),
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    numbers = {name: pa.int64() for name in ("blocks", "profiles_before", "size_bytes_before")}
    made = {"block": pa.string()} | {name: pa.int64() for name in ("profiles", "samples", "size_bytes")}
    rest = {"seconds": pa.float64(), "problems": pa.list_(pa.string())}
    return pa.Table.from_pylist(
        rows, pa.schema({"tenant": pa.string(), "level": pa.int64()} | numbers | made | rest)
    )


def _show(table: pa.Table, with_tenants: bool) -> Shown:
    rows = [
        [
            *([row["tenant"]] if with_tenants else []),
            str(row["level"]),
            f"{row['blocks']:,}",
            f"{row['profiles_before']:,}",
            format_value(row["size_bytes_before"], "bytes"),
            row["block"] or "",
            "" if row["profiles"] is None else f"{row['profiles']:,}",
            "" if row["size_bytes"] is None else format_value(row["size_bytes"], "bytes"),
        ]
        for row in table.to_pylist()
    ]
    header = ["level", "blocks", "profiles", "size", "became", "profiles", "size"]
    right = [True, True, True, True, False, True, True]
    return Shown(["tenant", *header], rows, [False, *right]) if with_tenants else Shown(header, rows, right)
