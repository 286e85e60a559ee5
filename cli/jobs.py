"""`flameduck jobs`: what a server does to its blocks in the background."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from .asking import start_engine
from .options import OutputOptions, StoreOptions, only_store_options, output_options
from .output import Shown, note, write_table
from .values import format_value

if TYPE_CHECKING:
    import pyarrow as pa

_TEXTS = ("id", "tenant", "kind", "trigger", "state", "created", "started", "ended", "retry", "error")
_AMOUNTS = ("blocks", "profiles", "samples", "size_bytes")


@click.command()
@click.option("--all-tenants", is_flag=True, help="Of every tenant; for admins of the whole server.")
@only_store_options
@output_options()
def command(all_tenants: bool, store: StoreOptions, output: OutputOptions) -> None:
    """List what a server does to its blocks: jobs that wait, run, or were done lately, the newest first.

    --url names the server; a local store has one that keeps it.

    \b
    Example:
      flameduck jobs --url http://127.0.0.1:4040
      flameduck jobs --all-tenants --format json
    """
    start_engine()
    from ..engine.opening import open_server

    server = open_server(store.store, store.tenant)
    try:
        listed = server.jobs(all_tenants)
    finally:
        server.close()
    for one in listed["left_alone"]:
        note(f"block {one['block']} of {one['tenant']} is left alone: {one['reason']}")
    write_table(_table(listed["jobs"]), output, _show)


def _table(jobs: Sequence[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    rows = [
        {name: job[name] for name in (*_TEXTS, "attempts", "problems")}
        | {f"{name}_{when}": job[when][name] for when in ("before", "after") for name in _AMOUNTS}
        for job in jobs
    ]
    fields: dict[str, pa.DataType] = {name: pa.string() for name in _TEXTS}
    fields |= {"attempts": pa.int64(), "problems": pa.list_(pa.string())}
    fields |= {f"{name}_{when}": pa.int64() for when in ("before", "after") for name in _AMOUNTS}
    return pa.Table.from_pylist(rows, pa.schema(fields))


def _show(table: pa.Table) -> Shown:
    rows = [
        [
            row["id"],
            row["tenant"],
            row["kind"],
            row["state"],
            row["started"] or "",
            f"{row['blocks_before']:,}",
            format_value(row["size_bytes_before"], "bytes"),
            f"{row['blocks_after']:,}",
            format_value(row["size_bytes_after"], "bytes"),
            row["error"] or "; ".join(row["problems"]),
        ]
        for row in table.to_pylist()
    ]
    header = ["id", "tenant", "job", "state", "started", "blocks", "size", "became", "size", "problem"]
    return Shown(header, rows, [False, False, False, False, False, True, True, True, True, False])
