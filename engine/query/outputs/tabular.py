"""Tables of exact stacks: Arrow, Parquet and CSV. One row a stack and profile type."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ...trie import Ragged, offsets_of
from ..export import Export
from ..naming import location_names


def stack_table(export: Export) -> pa.Table:
    """Columns `profile_type, stack_id, functions (root first), value`; `stack_id` is the one of the SQL views."""
    partial = export.locations(labels=False)
    names, functions = location_names(partial)
    stacks = partial.stacks
    lists = stacks.column("locations").combine_chunks()
    rows = pc.index_in(
        lists.values, value_set=partial.locations.column("location_id").combine_chunks()
    ).to_numpy()
    paths = Ragged(rows.astype(np.int64), lists.offsets.to_numpy().astype(np.int64)).reversed()
    frames = names.take(paths.values)
    per_stack = offsets_of(names.lengths[paths.values])[paths.offsets]
    shown = pa.ListArray.from_arrays(pa.array(per_stack, pa.int32()), functions.take(pa.array(frames.values)))
    at = pc.index_in(partial.values.column("stack_id"), value_set=stacks.column("stack_id").combine_chunks())
    table = pa.table(
        {
            "profile_type": partial.values.column("profile_type").cast(pa.string()),
            "stack_id": partial.values.column("stack_id"),
            "functions": shown.take(at.combine_chunks() if isinstance(at, pa.ChunkedArray) else at),
            "value": partial.values.column("value"),
        }
    )
    return table.sort_by([("profile_type", "ascending"), ("value", "descending"), ("stack_id", "ascending")])


def write_arrow(export: Export) -> bytes:
    """An Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    table = stack_table(export)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def write_parquet(export: Export) -> bytes:
    """A Parquet file."""
    sink = io.BytesIO()
    pq.write_table(stack_table(export), sink, compression="zstd")
    return sink.getvalue()


def write_csv(export: Export) -> bytes:
    """CSV with the functions joined by `;`."""
    table = stack_table(export)
    joined = pc.binary_join(table.column("functions"), ";")
    sink = io.BytesIO()
    pa.csv.write_csv(table.set_column(2, "functions", joined), sink)
    return sink.getvalue()
