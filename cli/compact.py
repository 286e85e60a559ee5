"""`flameduck compact`: few large blocks out of many small ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from .asking import EXIT_CODE, existing_store, start_job
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
@only_store_options
@output_options()
def command(dry_run: bool, grace: str, store: StoreOptions, output: OutputOptions, **who: Any) -> None:
    """Turn the blocks of hours that are over into one an hour, and those of days into one a day.

    Profiles that are stored twice are stored once afterwards; no answer changes. Small blocks are joined beyond their
    hour and day. Other processes may go on to write, ask and compact. A block that does not hold what it says is told,
    left alone, and makes the exit code 1.

    \b
    Example:
      flameduck compact
      flameduck compact --store s3://bucket/profiles --tenant acme --grace 1h
      flameduck compact --store s3://bucket/profiles --executor dask://scheduler:8786
    """
    start_job()
    from ..engine.compaction.levels import LevelPolicy
    from ..engine.embedded import open_embedded
    from ..engine.settings import load_settings
    from ..schema.errors import RequestError
    from ..schema.times import parse_duration_ns

    if store.store.startswith(("http://", "https://")):
        raise RequestError("blocks are compacted in their store, not through a server: name the store")
    policy = LevelPolicy(grace_ns=parse_duration_ns(grace))
    found = replace(store, store=existing_store(store.store))
    with closing(open_embedded(found.store, found.tenant, load_settings())) as database:
        if dry_run:
            done = list(_plan(database, policy))
        else:
            with _workers(database, found, who["executor"], who["jobs"]) as run_jobs:
                done = list(_run(database, policy, run_jobs))
    if any(one.problems for one in done):
        click.get_current_context().meta[EXIT_CODE] = 1
    write_table(_table(done), output, _show)


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

    def with_bar(jobs: Sequence[PlannedJob]) -> Iterator[Compacted]:
        with progress_bar(f"level {jobs[0].job.level}", len(jobs)) as moved:
            for number, one in enumerate(run_jobs(jobs), 1):
                if moved is not None:
                    moved(number)
                yield one

    for one in compact(database.blocks, policy, run_jobs=with_bar):
        for problem in one.problems:
            click.echo(f"flameduck: {problem}", err=True)
        yield one


def _table(done: Sequence[Compacted]) -> pa.Table:
    import pyarrow as pa

    rows = [
        {
            "level": one.level,
            "blocks": len(one.inputs),
            "profiles_before": sum(entry.profiles for entry in one.inputs),
            "size_bytes_before": sum(entry.size_bytes for entry in one.inputs),
            "block": one.made.ulid if one.made else None,
            "profiles": one.made.profiles if one.made else None,
            "samples": one.made.samples if one.made else None,
            "size_bytes": one.made.size_bytes if one.made else None,
            "seconds": one.seconds,
            "problems": list(one.problems),
        }
        for one in done
    ]
    numbers = {name: pa.int64() for name in ("blocks", "profiles_before", "size_bytes_before")}
    made = {"block": pa.string()} | {name: pa.int64() for name in ("profiles", "samples", "size_bytes")}
    rest = {"seconds": pa.float64(), "problems": pa.list_(pa.string())}
    return pa.Table.from_pylist(rows, pa.schema({"level": pa.int64()} | numbers | made | rest))


def _show(table: pa.Table) -> Shown:
    rows = [
        [
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
    return Shown(header, rows, [True, True, True, True, False, True, True])
