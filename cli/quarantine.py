"""`flameduck blocks quarantine`: the blocks that compaction set aside as corrupt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .asking import EXIT_CODE, existing_store
from .options import OutputOptions, StoreOptions, only_store_options, output_options
from .output import Shown, write_table
from .values import format_second

if TYPE_CHECKING:
    import pyarrow as pa

    from ..engine.quarantined import SetAside


@click.command("quarantine")
@click.option("--check", is_flag=True, help="Verify them again, and say what is wrong now.")
@click.option(
    "--release", "ulids", multiple=True, metavar="ULID", help="Verify it, and where it holds use it again."
)
@only_store_options
@output_options()
def quarantine_blocks(
    check: bool, ulids: tuple[str, ...], store: StoreOptions, output: OutputOptions
) -> None:
    """List the blocks that were found corrupt: compaction leaves them alone, and questions that need them fail.

    Exit code 1 when one that was verified does not hold: it stays where it is.

    \b
    Example:
      flameduck blocks quarantine
      flameduck blocks quarantine --check
      flameduck blocks quarantine --release 01KB
    """
    import pyarrow as pa

    from ..engine.quarantined import Quarantined
    from ..engine.settings import load_settings

    where = Quarantined(existing_store(store.store), store.tenant, load_settings())
    chosen = [where.find(ulid) for ulid in ulids]
    listed = list(where.verified(chosen, release=True) if chosen else where.listed(check))
    if any(one.problems for one in listed):
        click.get_current_context().meta[EXIT_CODE] = 1
    columns = {
        "ulid": pa.array([one.record.ulid for one in listed], pa.string()),
        "time": pa.array([one.record.time_ns for one in listed], pa.int64()),
        "found_by": pa.array([one.record.found_by for one in listed], pa.string()),
        "reason": pa.array([one.record.reason for one in listed], pa.string()),
        "live": pa.array([one.is_live for one in listed], pa.bool_()),
        "state": pa.array([_state(one) for one in listed], pa.string()),
        "problems": pa.array([list(one.problems) for one in listed], pa.list_(pa.string())),
    }
    write_table(pa.table(columns), output, _show)


def _state(one: SetAside) -> str:
    if one.is_released:
        return "released"
    if one.problems:
        return "does not hold"
    if one.is_verified:
        return "holds"
    return "set aside" if one.is_live else "not live"


def _show(table: pa.Table) -> Shown:
    rows = [
        [
            row["ulid"],
            format_second(row["time"]),
            row["found_by"],
            row["state"],
            "; ".join(row["problems"]) or row["reason"],
        ]
        for row in table.to_pylist()
    ]
    return Shown(["ulid", "since", "found by", "state", "reason"], rows, [False] * 5)
