"""Totals of single spans: what the samples of one span, at one time, add up to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.request import Rows, SpansRequest
from .opened import OpenBlock
from .snapshot import Snapshot, resolve
from .stack_totals import expand_ranges
from .weights import Profiles, profiles_of

_WINDOW_ROWS = 1 << 22
_MAP = pa.map_(pa.string(), pa.string())
_COLUMNS = pa.schema(
    [
        ("span_id", pa.string()),
        ("trace_id", pa.string()),
        ("ts", pa.int64()),
        ("labels", _MAP),
        ("total", pa.int64()),
        ("profile_id", pa.string()),
    ]
)
_KEY = ["series", "ts", "span_id", "trace_id"]


def answer_spans(snapshot: Snapshot, request: SpansRequest) -> Rows:
    """The spans of the selection in time; samples without a span are left out."""
    resolved = resolve(snapshot, request.selection)
    profiles = profiles_of(snapshot, resolved)
    tables = [
        _described(snapshot.blocks[ulid], grouped)
        for number, ulid in enumerate(profiles.ulids)
        if "span_id" in snapshot.blocks[ulid].meta.sample_extras
        for grouped in _grouped(snapshot.blocks[ulid], profiles.take(profiles.block == number))
    ]
    table = pa.concat_tables([_COLUMNS.empty_table(), *tables])
    order = [("ts", "ascending"), ("span_id", "ascending"), ("trace_id", "ascending")]
    return Rows(table.sort_by(order), resolved.plan.profile_type, resolved.notes)


def _grouped(block: OpenBlock, profiles: Profiles) -> Iterator[pa.Table]:
    """Sums by series, time, span and trace, a bounded number of samples at a time."""
    rows = profiles.rows
    order = np.argsort(rows.start, kind="stable")
    window = np.cumsum(rows.n[order]) // _WINDOW_ROWS
    for number in np.unique(window):
        mine = order[window == number]
        samples, owner = expand_ranges(rows.start[mine], rows.n[mine])
        if len(samples):
            yield _summed(block, profiles, samples, mine[owner])


def _summed(
    block: OpenBlock, profiles: Profiles, samples: npt.NDArray[np.int64], owner: npt.NDArray[np.int64]
) -> pa.Table:
    low, high = int(samples.min()), int(samples.max()) + 1
    names = ["value", *(name for name in ("span_id", "trace_id") if name in block.meta.sample_extras)]
    table = block.block.table("samples", names, (low, high)).take(pa.array(samples - low))
    if "trace_id" not in names:
        table = table.append_column("trace_id", pa.nulls(len(table), pa.binary()))
    rows = profiles.rows
    table = table.append_column("series", pa.array(rows.series[owner]))
    table = table.append_column("ts", pa.array(rows.ts[owner]))
    table = table.append_column("row", pa.array(rows.row[owner]))
    table = table.filter(
        pc.fill_null(pc.not_equal(table.column("span_id"), pa.scalar(0, pa.uint64())), False)
    )
    trace = table.column("trace_id").cast(pa.binary())
    table = table.set_column(table.column_names.index("trace_id"), "trace_id", trace)
    return table.group_by(_KEY).aggregate([("value", "sum"), ("row", "min")])


def _described(block: OpenBlock, grouped: pa.Table) -> pa.Table:
    """The sums with ids as texts, and the labels of their series."""
    spans = [int(span).to_bytes(8, "little").hex() for span in grouped.column("span_id").to_pylist()]
    traces = [trace.hex() if trace else "" for trace in grouped.column("trace_id").to_pylist()]
    labels = block.index.table.column("labels").take(grouped.column("series"))
    ids = block.block.table("profiles", ["profile_id"]).column("profile_id").take(grouped.column("row_min"))
    return pa.table(
        {
            "span_id": pa.array(spans, pa.string()),
            "trace_id": pa.array(traces, pa.string()),
            "ts": grouped.column("ts"),
            "labels": labels,
            "total": grouped.column("value_sum"),
            "profile_id": pa.array([str(one) for one in ids.to_pylist()], pa.string()),
        },
        schema=_COLUMNS,
    )
