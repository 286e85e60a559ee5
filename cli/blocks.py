"""`flameduck blocks`: the blocks of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import click

from .asking import EXIT_CODE, existing_store, opened, start_engine
from .options import OutputOptions, StoreOptions, format_option, only_store_options, output_options
from .output import Shown, write_json, write_table
from .progress import progress_bar
from .quarantine import quarantine_blocks
from .values import format_second, format_value

if TYPE_CHECKING:
    import pyarrow as pa

    from ..engine.compaction.upgrade import Upgraded
    from ..engine.inspection import Inspection
    from ..engine.upkeep import Upkeep
    from ..schema.block import BlockMeta
    from ..schema.request import Rows


@click.group()
def command() -> None:
    """The blocks of a store: the immutable directories that hold its profiles.

    \b
    Example:
      flameduck blocks list
      flameduck blocks verify --store s3://bucket/profiles
    """


@command.command("list")
@only_store_options
@output_options()
def list_blocks(store: StoreOptions, output: OutputOptions) -> None:
    """List the blocks, oldest first, and what is wrong with those that were found corrupt.

    \b
    Example:
      flameduck blocks list --format json
    """
    from ..schema.request import BlocksRequest

    with opened(store) as connection:
        answer = cast("Rows", connection.database.ask(BlocksRequest()))
    write_table(answer.table, output, _show)


@command.command("show")
@click.argument("ulid")
@only_store_options
@format_option(("text", "json"))
def show_block(ulid: str, store: StoreOptions, format: str) -> None:
    """Show what a block says of itself: its parts, files and origin. ULID may be cut short.

    \b
    Example:
      flameduck blocks show 01KB
    """
    import json

    inspection = _inspect(store)
    meta = inspection.meta(inspection.find(ulid))
    if format == "json":
        write_json(json.loads(meta.to_json()), None)
    else:
        click.echo("\n".join(_describe(meta)))


@command.command("verify")
@click.argument("ulids", nargs=-1, metavar="[ULID]...")
@only_store_options
@output_options()
def verify_blocks(ulids: tuple[str, ...], store: StoreOptions, output: OutputOptions) -> None:
    """Read every byte of blocks, all by default, and check it: checksums, orders, ids, trees, sums, content hashes.

    Exit code 1, and a list, when something does not hold.

    \b
    Example:
      flameduck blocks verify
    """
    import pyarrow as pa

    inspection = _inspect(store)
    chosen = [inspection.find(ulid) for ulid in ulids] or list(inspection.state.blocks)
    verdicts = []
    with progress_bar("verify", len(chosen)) as progress:
        for verdict in inspection.verify(chosen):
            verdicts.append(verdict)
            if progress:
                progress(len(verdicts))
    if any(verdict.problems for verdict in verdicts):
        click.get_current_context().meta[EXIT_CODE] = 1
    columns = {
        "ulid": pa.array([verdict.ulid for verdict in verdicts], pa.string()),
        "files": pa.array([verdict.files for verdict in verdicts], pa.int64()),
        "size_bytes": pa.array([verdict.size_bytes for verdict in verdicts], pa.int64()),
        "holds": pa.array([not verdict.problems for verdict in verdicts], pa.bool_()),
        "problems": pa.array([list(verdict.problems) for verdict in verdicts], pa.list_(pa.string())),
    }
    write_table(pa.table(columns), output, _show_verdicts)


@command.command("reindex")
@click.option("--yes", is_flag=True, help="Do it; without, only show what the catalog would name.")
@only_store_options
@output_options()
def reindex_blocks(yes: bool, store: StoreOptions, output: OutputOptions) -> None:
    """Rebuild the catalog from the blocks that are there, where its log was lost or broken.

    Blocks that are not whole, and those that others were merged from, are left out. Nothing else may write to the
    store meanwhile. A block that was written and never committed comes to light.

    \b
    Example:
      flameduck blocks reindex
      flameduck blocks reindex --yes
    """
    import pyarrow as pa

    listed = _upkeep(store).reindex(yes)
    columns = {
        "ulid": pa.array([one.ulid for one in listed], pa.string()),
        "profiles": pa.array([one.profiles for one in listed], pa.int64()),
        "size_bytes": pa.array([one.size_bytes for one in listed], pa.int64()),
        "live": pa.array([not one.reason for one in listed], pa.bool_()),
        "reason": pa.array([one.reason for one in listed], pa.string()),
    }
    write_table(pa.table(columns), output, _show_listed)
    if not yes:
        click.echo("nothing was changed: --yes makes the catalog so", err=True)


@command.command("expire")
@click.option("--yes", is_flag=True, help="Do it; without, only show which blocks would go.")
@click.option(
    "--older", metavar="DURATION", help="Give up blocks whose newest profile is older, such as 30d."
)
@click.option("--keep-bytes", type=click.IntRange(1), help="Give up the oldest blocks until no more is left.")
@only_store_options
@output_options()
def expire_blocks(
    yes: bool, older: str | None, keep_bytes: int | None, store: StoreOptions, output: OutputOptions
) -> None:
    """Give up old blocks, by age, by size, or both.

    They are seen no more at once; `flameduck blocks sweep` removes their files later, when no question reads them any
    more.

    \b
    Example:
      flameduck blocks expire --older 30d
      flameduck blocks expire --older 90d --keep-bytes 100000000000 --yes
    """
    import pyarrow as pa

    from ..engine.compaction.retention import Retention
    from ..schema.times import parse_duration_ns

    if older is None and keep_bytes is None:
        raise click.UsageError("say how old blocks may become (--older), or how much is kept (--keep-bytes)")
    retention = Retention(parse_duration_ns(older) if older else 0, keep_bytes or 0)
    expired = _upkeep(store).expire(retention, yes)
    columns = {
        "ulid": pa.array([one.entry.ulid for one in expired], pa.string()),
        "max_ts": pa.array([one.entry.max_ts for one in expired], pa.int64()),
        "profiles": pa.array([one.entry.profiles for one in expired], pa.int64()),
        "size_bytes": pa.array([one.entry.size_bytes for one in expired], pa.int64()),
        "rule": pa.array([one.rule for one in expired], pa.string()),
    }
    write_table(pa.table(columns), output, _show_expired)
    if expired and not yes:
        click.echo("nothing was given up: --yes does it", err=True)


@command.command("sweep")
@click.option("--yes", is_flag=True, help="Do it; without, only show what would be removed.")
@click.option(
    "--older",
    default="24h",
    show_default=True,
    metavar="DURATION",
    help="Leave what was begun, or ceased to be named, within this time: it may yet be committed, or is being read.",
)
@only_store_options
@output_options()
def sweep_blocks(yes: bool, older: str, store: StoreOptions, output: OutputOptions) -> None:
    """Remove the files of blocks that the catalog does not name: left by writers that were killed, or replaced.

    Exit code 1 when some cannot be removed.

    \b
    Example:
      flameduck blocks sweep
      flameduck blocks sweep --older 2h --yes
    """
    import pyarrow as pa

    from ..schema.times import parse_duration_ns

    removed = list(_upkeep(store).sweep(parse_duration_ns(older), yes))
    if any(one.problem for one in removed):
        click.get_current_context().meta[EXIT_CODE] = 1
    columns = {
        "ulid": pa.array([one.block.ulid for one in removed], pa.string()),
        "files": pa.array([len(one.block.files) for one in removed], pa.int64()),
        "size_bytes": pa.array([one.block.size_bytes for one in removed], pa.int64()),
        "removed": pa.array([yes and not one.problem for one in removed], pa.bool_()),
        "problem": pa.array([one.problem for one in removed], pa.string()),
    }
    write_table(pa.table(columns), output, _show_removed)
    if removed and not yes:
        click.echo("nothing was removed: --yes does it", err=True)


command.add_command(quarantine_blocks)


@command.command("upgrade")
@click.option("--yes", is_flag=True, help="Do it; without, only show which blocks would be rewritten.")
@only_store_options
@output_options()
def upgrade_blocks(yes: bool, store: StoreOptions, output: OutputOptions) -> None:
    """Rewrite blocks of older format versions as the newest has them; those of level 1 and up get rollups.

    Older versions are read as they are: nothing needs this but speed. Every profile is added up on the way, and each
    block is one commit, so that it may be stopped and run again. A block that does not hold is told, left alone, and
    makes the exit code 1.

    \b
    Example:
      flameduck blocks upgrade
      flameduck blocks upgrade --yes
    """
    from contextlib import closing

    from ..engine.compaction.upgrade import Upgraded, old_blocks, upgrade
    from ..engine.embedded import open_embedded
    from ..engine.settings import load_settings

    start_engine()
    database = open_embedded(existing_store(store.store), store.tenant, load_settings())
    with closing(database):
        old = old_blocks(database.blocks)
        done = [] if yes else [Upgraded(meta) for meta in old]
        with progress_bar("upgrade", len(old)) as progress:
            for one in upgrade(database.blocks, old) if yes else ():
                done.append(one)
                if progress:
                    progress(len(done))
    if any(one.problem for one in done):
        click.get_current_context().meta[EXIT_CODE] = 1
    write_table(_upgraded_table(done), output, lambda table: _show_upgraded(table, yes))
    if done and not yes:
        click.echo("nothing was rewritten: --yes does it", err=True)


def _upgraded_table(done: Sequence[Upgraded]) -> pa.Table:
    import pyarrow as pa

    made = [one.made for one in done]
    return pa.table(
        {
            "ulid": pa.array([one.old.ulid for one in done], pa.string()),
            "version": pa.array([one.old.version for one in done], pa.int64()),
            "level": pa.array([one.old.level for one in done], pa.int64()),
            "profiles": pa.array([one.old.profiles for one in done], pa.int64()),
            "size_bytes": pa.array([one.old.size_bytes for one in done], pa.int64()),
            "became": pa.array([meta.ulid if meta else None for meta in made], pa.string()),
            "became_version": pa.array([meta.version if meta else None for meta in made], pa.int64()),
            "became_size_bytes": pa.array([meta.size_bytes if meta else None for meta in made], pa.int64()),
            "problem": pa.array([one.problem for one in done], pa.string()),
        }
    )


def _show_upgraded(table: pa.Table, acted: bool) -> Shown:
    def verdict(row: dict[str, Any]) -> str:
        if row["became"]:
            size = format_value(row["became_size_bytes"], "bytes")
            return f"{row['became']}, version {row['became_version']}, {size}"
        return row["problem"] or ("replaced by another process" if acted else "to be rewritten")

    rows = [
        [
            row["ulid"],
            str(row["version"]),
            f"{row['profiles']:,}",
            format_value(row["size_bytes"], "bytes"),
            verdict(row),
        ]
        for row in table.to_pylist()
    ]
    return Shown(["ulid", "version", "profiles", "size", "became"], rows, [False, True, True, True, False])


def _upkeep(store: StoreOptions) -> Upkeep:
    from ..engine.upkeep import Upkeep

    return Upkeep(existing_store(store.store), store.tenant)


def _inspect(store: StoreOptions) -> Inspection:
    from ..engine.inspection import Inspection
    from ..engine.settings import load_settings

    return Inspection(existing_store(store.store), store.tenant, load_settings())


def _show(table: pa.Table) -> Shown:
    rows = [
        [
            row["ulid"],
            str(row["level"]),
            format_second(row["min_ts"]),
            format_second(row["max_ts"]),
            f"{row['profiles']:,}",
            f"{row['samples']:,}",
            format_value(row["size_bytes"], "bytes"),
            row["quarantined"],
        ]
        for row in table.to_pylist()
    ]
    header = ["ulid", "level", "first", "last", "profiles", "samples", "size", "corrupt"]
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    return Shown(header, rows, [False, True, False, False, True, True, True, False][: len(header)])


def _show_verdicts(table: pa.Table) -> Shown:
    rows = [
        [row["ulid"], format_value(row["size_bytes"], "bytes"), "; ".join(row["problems"]) or "holds"]
        for row in table.to_pylist()
    ]
    return Shown(["ulid", "size", "verdict"], rows, [False, True, False])


def _show_listed(table: pa.Table) -> Shown:
    rows = [
        [
            row["ulid"],
            f"{row['profiles']:,}",
            format_value(row["size_bytes"], "bytes"),
            row["reason"] or "live",
        ]
        for row in table.to_pylist()
    ]
    return Shown(["ulid", "profiles", "size", "verdict"], rows, [False, True, True, False])


def _show_expired(table: pa.Table) -> Shown:
    rows = [
        [
            row["ulid"],
            format_second(row["max_ts"]),
            f"{row['profiles']:,}",
            format_value(row["size_bytes"], "bytes"),
            row["rule"],
        ]
        for row in table.to_pylist()
    ]
    return Shown(["ulid", "last", "profiles", "size", "rule"], rows, [False, False, True, True, False])


def _show_removed(table: pa.Table) -> Shown:
    rows = [
        [
            row["ulid"],
            str(row["files"]),
            format_value(row["size_bytes"], "bytes"),
            row["problem"] or ("removed" if row["removed"] else "to be removed"),
        ]
        for row in table.to_pylist()
    ]
    return Shown(["ulid", "files", "size", "verdict"], rows, [False, True, True, False])


def _describe(meta: BlockMeta) -> list[str]:
    from ..schema.times import format_time_ns

    lines = [
        f"block {meta.ulid}",
        f"tenant {meta.tenant}, level {meta.level}, format {meta.version}",
        f"time {format_time_ns(meta.min_ts)} to {format_time_ns(meta.max_ts)}",
        f"{meta.profiles:,} profiles, {meta.samples:,} samples, {meta.series:,} series",
        f"parents {', '.join(meta.parents) or 'none'}; sources {', '.join(meta.sources) or 'none'}",
        "parts:",
    ]
    for part in meta.parts:
        profiles = part.profiles[1] - part.profiles[0]
        samples = part.samples[1] - part.samples[0]
        name = f"{part.service_name or '(no service)'} {part.name}"
        lines.append(f"  {part.part} {name}: {profiles:,} profiles, {samples:,} samples")
        lines += [f"      {profile_type}" for profile_type in part.profile_types]
    for rollup in meta.rollups:
        lines.append(f"{rollup.name}: {rollup.rows:,} rows of {len(rollup.parts):,} parts")
    lines.append("files:")
    for name, file in sorted(meta.files.items()):
        lines.append(f"  {name}: {format_value(file.size_bytes, 'bytes')}, xxh3 {file.checksum}")
    return lines
