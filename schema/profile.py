"""What decoding yields and what normalising yields: two batches of Arrow tables, both free of I/O.

A `DecodedBatch` is pprof-shaped whatever the format was: one row a profile, ids and string indices local to
that row. A `NormalisedBatch` is keyed by content hash, so that batches merge by union.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np
import pyarrow as pa

Rules = Literal["verbatim", "pyroscope"]
RULES: tuple[Rules, ...] = ("verbatim", "pyroscope")
"""How a profile is read; the position is the code stored in `profiles.rules`."""


@dataclass(frozen=True)
class Upload:
    """One thing to ingest: a file's bytes (still compressed or not) and what is said about it.

    `labels` are the request's labels without empty values; `name` overrides `__name__`; `time_ns` stands in
    for a profile that carries no time (0 means: there is none); `origin` names it in messages.

    `sample_rate_hz` and `duration_ns` are what the client said of formats that do not say it (0: nothing was said).
    `raw_names` keeps function names from being made readable. `attachments` are other files that came with this
    one, by name, such as the labels of a JFR recording. `identity`, if there is one, tells the upload from others in
    place of its bytes: for what is written in another order each time it is asked for.

    `app_name` is what an old agent calls its application: text formats take from its end what they measure, and it
    is the service's name unless `labels` have one. `display_names` are an agent's names of sample types, which
    choose `__name__`.
    """

    data: bytes
    labels: Mapping[str, str]
    origin: str = "<bytes>"
    time_ns: int = 0
    name: str = ""
    sample_id: str = ""
    rules: Rules = "verbatim"
    input_format: str = ""
    sample_rate_hz: int = 0
    duration_ns: int = 0
    raw_names: bool = False
    attachments: Mapping[str, bytes] = field(default_factory=dict)
    identity: str = ""
    app_name: str = ""
    display_names: Mapping[str, str] = field(default_factory=dict)


def _list_of(**columns: pa.DataType) -> pa.DataType:
    return pa.list_(pa.struct(list(columns.items())))


_VALUE_TYPE = pa.struct([("type", pa.int64()), ("unit", pa.int64())])

DECODED = pa.schema(
    [
        ("sample_type", pa.list_(_VALUE_TYPE)),
        (
            "sample",
            _list_of(
                location_id=pa.list_(pa.uint64()),
                value=pa.list_(pa.int64()),
                label=_list_of(key=pa.int64(), str=pa.int64(), num=pa.int64(), num_unit=pa.int64()),
            ),
        ),
        (
            "mapping",
            _list_of(
                id=pa.uint64(),
                memory_start=pa.uint64(),
                memory_limit=pa.uint64(),
                file_offset=pa.uint64(),
                filename=pa.int64(),
                build_id=pa.int64(),
                has_functions=pa.bool_(),
                has_filenames=pa.bool_(),
                has_line_numbers=pa.bool_(),
                has_inline_frames=pa.bool_(),
            ),
        ),
        (
            "location",
            _list_of(
                id=pa.uint64(),
                mapping_id=pa.uint64(),
                address=pa.uint64(),
                line=_list_of(function_id=pa.uint64(), line=pa.int64(), column=pa.int64()),
                is_folded=pa.bool_(),
            ),
        ),
        (
            "function",
            _list_of(
                id=pa.uint64(),
                name=pa.int64(),
                system_name=pa.int64(),
                filename=pa.int64(),
                start_line=pa.int64(),
            ),
        ),
        ("string_table", pa.list_(pa.binary())),
        ("drop_frames", pa.int64()),
        ("keep_frames", pa.int64()),
        ("time_nanos", pa.int64()),
        ("duration_nanos", pa.int64()),
        ("period_type", _VALUE_TYPE),
        ("period", pa.int64()),
        ("comment", pa.list_(pa.int64())),
        ("default_sample_type", pa.int64()),
        ("doc_url", pa.int64()),
    ]
)
"""A decoded batch: the fields of profile.proto, list columns without nulls, strings as raw bytes."""

_LABELSET = _list_of(key=pa.string(), str=pa.string(), num=pa.int64(), unit=pa.string())

SERIES = pa.schema(
    [
        ("series_id", pa.uint64()),
        ("service_name", pa.string()),
        ("name", pa.string()),
        ("profile_type", pa.string()),
        ("labels", pa.map_(pa.string(), pa.string())),
    ]
)
PROFILES = pa.schema(
    [
        ("series_id", pa.uint64()),
        ("ts", pa.int64()),
        ("profile_id", pa.binary(16)),
        ("upload_id", pa.binary(16)),
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
        ("mappings", pa.list_(pa.uint64())),
    ]
)
CARRIED = tuple(PROFILES.names[PROFILES.names.index("type_no") :])
"""The columns of `PROFILES` that are stored and merged as they are."""

SAMPLES = pa.schema(
    [
        ("stack_id", pa.uint64()),
        ("value", pa.int64()),
        ("labelset_id", pa.uint64()),
        ("span_id", pa.uint64()),
        ("trace_id", pa.binary(16)),
    ]
)


def no_trace_ids(count: int) -> pa.Array:
    """Nulls for `SAMPLES.trace_id`, in memory that costs nothing until it is written to."""
    buffers = [pa.py_buffer(np.zeros(size, np.uint8)) for size in ((count + 7) // 8, 16 * count)]
    return pa.Array.from_buffers(pa.binary(16), count, buffers, null_count=count)


STACKS = pa.schema([("stack_id", pa.uint64()), ("locations", pa.list_(pa.uint64()))])
LOCATIONS = pa.schema(
    [
        ("location_id", pa.uint64()),
        ("mapping_id", pa.uint64()),
        ("address", pa.uint64()),
        ("is_folded", pa.bool_()),
        ("lines", _list_of(function_id=pa.uint64(), line=pa.int64(), column=pa.int64())),
    ]
)
FUNCTIONS = pa.schema(
    [
        ("function_id", pa.uint64()),
        ("name", pa.string()),
        ("system_name", pa.string()),
        ("filename", pa.string()),
        ("start_line", pa.int64()),
    ]
)
MAPPINGS = pa.schema(
    [
        ("mapping_id", pa.uint64()),
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
LABELSETS = pa.schema([("labelset_id", pa.uint64()), ("labels", _LABELSET)])


@dataclass(frozen=True)
class NormalisedBatch:
    """Profiles keyed by content hash.

    `profiles` has one row for each profile and series; the rows of `samples` follow it in order, `n` at a
    time, equal samples summed, zero values left out. A row of `stacks` lists its locations leaf first. Id 0
    means "none" for `mapping_id` and `labelset_id`; `span_id` 0 and a null `trace_id` mean "none". Symbol
    tables hold each key once and every key that is referred to, but for those that an earlier piece of the same
    profile brought, where it comes in pieces.
    """

    series: pa.Table = field(default_factory=SERIES.empty_table)
    profiles: pa.Table = field(default_factory=PROFILES.empty_table)
    samples: pa.Table = field(default_factory=SAMPLES.empty_table)
    stacks: pa.Table = field(default_factory=STACKS.empty_table)
    locations: pa.Table = field(default_factory=LOCATIONS.empty_table)
    functions: pa.Table = field(default_factory=FUNCTIONS.empty_table)
    mappings: pa.Table = field(default_factory=MAPPINGS.empty_table)
    labelsets: pa.Table = field(default_factory=LABELSETS.empty_table)

    def tables(self) -> dict[str, pa.Table]:
        """The tables by name, in declaration order."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def size_bytes(self) -> int:
        """Bytes of all buffers, roughly what the batch costs to hold."""
        return sum(int(table.nbytes) for table in self.tables().values())
