"""The stored tables of one block, as Arrow schemas.

Ids are dense and local: `part` and `series`, `location`, `function`, `mapping`, `labelset` within a block,
`stack`, `node` and `frame` within a part. `*_id` columns are content hashes and join across blocks. `block` is
the same in all rows of a block, so that files of many blocks can be read as one table.

The meaning of each column, for people, is written in `sql/tables.sql`.
"""

from __future__ import annotations

import pyarrow as pa

FORMAT_VERSION = 2
"""Written into every meta.json; readers accept this and older ones. 1 had no rollups."""

_ID = pa.uint32()
_HASH = pa.uint64()
_BLOCK = ("block", pa.uint64())
_LABELS = pa.list_(
    pa.struct([("key", pa.string()), ("str", pa.string()), ("num", pa.int64()), ("unit", pa.string())])
)

INDEX = pa.schema(
    [
        _BLOCK,
        ("part", _ID),
        ("series", _ID),
        ("series_id", _HASH),
        ("type", pa.uint16()),
        ("service_name", pa.string()),
        ("profile_type", pa.string()),
        ("labels", pa.map_(pa.string(), pa.string())),
        ("min_ts", pa.int64()),
        ("max_ts", pa.int64()),
        ("profiles", pa.uint64()),
        ("samples", pa.uint64()),
    ]
)
PROFILES = pa.schema(
    [
        _BLOCK,
        ("part", _ID),
        ("series", _ID),
        ("ts", pa.int64()),
        ("profile_id", pa.uuid()),
        ("upload_id", pa.uuid()),
        ("start", pa.uint64()),
        ("n", pa.uint32()),
        ("total", pa.int64()),
        ("type_no", pa.uint16()),
        ("rules", pa.uint8()),
        ("period", pa.int64()),
        ("duration_ns", pa.int64()),
        ("default_sample_type", pa.string()),
        ("drop_frames", pa.string()),
        ("keep_frames", pa.string()),
        ("comments", pa.list_(pa.string())),
        ("doc_url", pa.string()),
        ("mappings", pa.list_(_HASH)),
    ]
)
SAMPLES = pa.schema(
    [
        _BLOCK,
        ("part", _ID),
        ("series", _ID),
        ("ts", pa.int64()),
        ("stack", _ID),
        ("value", pa.int64()),
    ]
)
SAMPLE_EXTRAS = pa.schema([("labelset", _ID), ("span_id", pa.uint64()), ("trace_id", pa.binary(16))])
"""Nullable columns that `samples` has only in blocks with sample labels, span ids or trace ids."""
STACKS = pa.schema([_BLOCK, ("part", _ID), ("stack", _ID), ("node", _ID), ("stack_id", _HASH)])
STACKTRACES = pa.schema(
    [_BLOCK, ("part", _ID), ("node", _ID), ("parent", _ID), ("size", _ID), ("location", _ID), ("frame", _ID)]
)
FRAMES = pa.schema(
    [
        _BLOCK,
        ("part", _ID),
        ("frame", _ID),
        ("parent", _ID),
        ("size", _ID),
        ("function", _ID),
        ("depth", _ID),
        ("first", pa.bool_()),
    ]
)
LOCATIONS = pa.schema(
    [
        _BLOCK,
        ("location", _ID),
        ("location_id", _HASH),
        ("mapping", _ID),
        ("address", pa.uint64()),
        ("is_folded", pa.bool_()),
        (
            "lines",
            pa.list_(pa.struct([("function", _ID), ("line", pa.int64()), ("column", pa.int64())])),
        ),
    ]
)
FUNCTIONS = pa.schema(
    [
        _BLOCK,
        ("function", _ID),
        ("function_id", _HASH),
        ("name", pa.string()),
        ("system_name", pa.string()),
        ("filename", pa.string()),
        ("start_line", pa.int64()),
        ("synthetic", pa.bool_()),
    ]
)
MAPPINGS = pa.schema(
    [
        _BLOCK,
        ("mapping", _ID),
        ("mapping_id", _HASH),
        ("filename", pa.string()),
        ("build_id", pa.string()),
        ("memory_start", pa.uint64()),
        ("memory_limit", pa.uint64()),
        ("file_offset", pa.uint64()),
        ("has_functions", pa.bool_()),
        ("has_filenames", pa.bool_()),
        ("has_line_numbers", pa.bool_()),
        ("has_inline_frames", pa.bool_()),
    ]
)
LABELSETS = pa.schema([_BLOCK, ("labelset", _ID), ("labelset_id", _HASH), ("labels", _LABELS)])

TABLES: dict[str, pa.Schema] = {
    "index": INDEX,
    "profiles": PROFILES,
    "samples": SAMPLES,
    "stacks": STACKS,
    "stacktraces": STACKTRACES,
    "frames": FRAMES,
    "locations": LOCATIONS,
    "functions": FUNCTIONS,
    "mappings": MAPPINGS,
    "labelsets": LABELSETS,
}
"""Every table of a block; the file is `<name>.parquet`. `labelsets` is left out when there are none."""

ROLLUP = pa.schema(
    [
        _BLOCK,
        ("part", _ID),
        ("type", pa.uint16()),
        ("bucket", pa.int64()),
        ("stack", _ID),
        ("value", pa.int64()),
    ]
)
"""The samples of all series of one part and type added up by stack and bucket, which is the time where that begins.

`type` is that of `index`. Sorted by part, type, bucket and stack. A sum of zero has its row: what has samples has rows
here.
"""

ROLLUP_WIDTHS_NS: dict[str, int] = {"rollup_5m": 300 * 10**9, "rollup_1h": 3600 * 10**9}
"""The tables with the columns of `ROLLUP` and the width of their buckets, each a multiple of the one before.

Buckets are aligned to 1970: `[k * width, (k + 1) * width)`. Which parts of a block have rows in one, `meta.json` says.
"""
