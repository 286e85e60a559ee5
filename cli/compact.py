"""`flameduck compact`: few large blocks out of many small ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import click

from .asking import EXIT_CODE, existing_store, start_engine
from .options import OutputOptions, StoreOptions, only_store_options, output_options
from .output import Shown, write_table
from .values import format_value

if TYPE_CHECKING:
    import pyarrow as pa

    from ..engine.compaction.compact import Compacted
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
@only_store_options
@output_options()
def command(dry_run: bool, grace: str, store: StoreOptions, output: OutputOptions) -> None:
    """Turn the blocks of hours that are over into one an hour, and those of days into one a day.

    Profiles that are stored twice are stored once afterwards; no answer changes. Small blocks are joined beyond their
    hour and day. Other processes may go on to write, ask and compact. A block that does not hold what it says is told,
    left alone, and makes the exit code 1.

    \b
    Example:
      flameduck compact
      flameduck compact --store s3://bucket/profiles --tenant acme --grace 1h
    """
    start_engine()
    from ..engine.compaction.levels import LevelPolicy
    from ..engine.embedded import open_embedded
    from ..engine.settings import load_settings
    from ..schema.errors import RequestError
    from ..schema.times import parse_duration_ns

    if store.store.startswith(("http://", "https://")):
        raise RequestError("blocks are compacted in their store, not through a server: name the store")
    policy = LevelPolicy(grace_ns=parse_duration_ns(grace))
    database = open_embedded(existing_store(store.store), store.tenant, load_settings())
    with closing(database):
        done = list(_plan(database, policy) if dry_run else _run(database, policy))
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


def _run(database: StoreDatabase, policy: LevelPolicy) -> Iterator[Compacted]:
    from ..engine.compaction.compact import compact
    from ..engine.compaction.deletion import Deletions

    for one in compact(database.blocks, policy):
        for problem in one.problems:
            click.echo(f"flameduck: {problem}", err=True)
        yield one
    # Deletions that were interrupted, or whose profiles came late.
    for rewritten in Deletions(database.blocks).finish():
        if rewritten.problem:
            click.get_current_context().meta[EXIT_CODE] = 1
            click.echo(f"flameduck: block {rewritten.ulid}: {rewritten.problem}", err=True)


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
