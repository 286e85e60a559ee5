"""What a question read and why, in place of its answer: `--explain`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from .output import write_json, write_text
from .values import format_value

if TYPE_CHECKING:
    from ..schema.explanation import BlockRead, Explanation

_EXPLAIN = "flameduck.explain"
"""Key in the click context's `meta`: questions are to be explained."""

_PRUNED = {
    "time": "outside of the range",
    "service": "of other services or names",
    "series": "without such series",
}


def _remember(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[_EXPLAIN] = value


explain_option = click.option(
    "--explain",
    is_flag=True,
    expose_value=False,
    callback=_remember,
    help="Show what answering reads, and why, and not the answer; as JSON with --format json.",
)
"""--explain."""


def is_explaining() -> bool:
    """Whether the command that runs was asked for explanations."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_EXPLAIN))


def write_explanation(explanation: Explanation) -> None:
    """Write it in the format of the command that runs: JSON, else lines for people."""
    parameters: Mapping[str, Any] = click.get_current_context().params
    if "json" in (parameters.get("format"), parameters.get("name")):
        from dataclasses import asdict

        write_json(asdict(explanation), None)
    else:
        write_text("\n".join(_lines(explanation)) + "\n", None)


def _lines(explanation: Explanation) -> Iterator[str]:
    counts = [f"{len(explanation.read)} read"]
    counts += [f"{count:,} {_PRUNED.get(reason, reason)}" for reason, count in explanation.pruned.items()]
    yield f"catalog version {explanation.catalog_version}, {explanation.blocks:,} blocks: {', '.join(counts)}"
    if explanation.profile_type:
        yield f"type {explanation.profile_type}"
    for block in explanation.read:
        yield from _block_lines(block)
    tables = [table for block in explanation.read for table in block.tables]
    size = format_value(sum(table.size_bytes for table in tables), "bytes")
    yield f"in all {sum(table.rows for table in tables):,} rows, {size} of files"
    spent = [f"{name} {spent_ms:,.1f}" for name, spent_ms in explanation.phases_ms.items()]
    yield f"ms: {', '.join(spent)}"


def _block_lines(block: BlockRead) -> Iterator[str]:
    where = "in memory" if block.in_memory else f"level {block.level}"
    chosen = f"{block.parts:,} parts, {block.series:,} series, {block.profiles:,} profiles of these"
    left_out = f", {block.copies:,} of them copies" if block.copies else ""
    yield f"block {block.ulid}, {where}: {chosen}{left_out}"
    for rollup, parts in block.rollups.items():
        yield f"  {parts:,} parts from {rollup}"
    for reason, parts in block.samples.items():
        yield f"  {parts:,} parts from samples: {reason}"
    for table in block.tables:
        size = format_value(table.size_bytes, "bytes")
        yield f"  {table.table:<12} {table.rows:>14,} rows {size:>10} in {table.reads:,} reads"
