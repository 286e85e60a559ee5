"""Partial answers: what one source contributes to a call tree, and how contributions merge.

A function-level Partial has one row a node: path, parent, name, self, total. A location-level
Partial has one row a stack, label set and profile type, and the symbols and label sets that those use. Both are keyed by
content hashes, never by dense ids, and are never truncated. Merging is union with sums: associative and
commutative. The bytes are Arrow IPC streams, with a version in the schema's metadata.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import pyarrow as pa

from . import profile
from .errors import CorruptBlock

VERSION = 1

NODES = pa.schema(
    [
        ("path_hash", pa.uint64()),
        ("parent_hash", pa.uint64()),
        ("name", pa.dictionary(pa.int32(), pa.string())),
        ("depth", pa.uint32()),
        ("first", pa.bool_()),
        ("self", pa.int64()),
        ("total", pa.int64()),
    ]
)
"""The root has `path_hash` = `identity.ROOT_PATH`, `parent_hash` 0, depth 0 and an empty name. `first` says that
no proper ancestor has the same name: totals over such nodes count recursion once."""

STACK_VALUES = pa.schema(
    [
        ("stack_id", pa.uint64()),
        ("labelset_id", pa.uint64()),
        ("profile_type", pa.dictionary(pa.int32(), pa.string())),
        ("value", pa.int64()),
    ]
)
"""Values of distinct (stack, label set, profile type); label set 0 means none."""


@dataclass(frozen=True)
class FunctionPartial:
    """Nodes of a call tree by path hash, schema `NODES`."""

    nodes: pa.Table = field(default_factory=NODES.empty_table)


@dataclass(frozen=True)
class LocationPartial:
    """Values, and what they use: stacks, locations, functions, mappings, label sets, as in `profile`.

    `mappings` may hold mappings that no location refers to: those of the profiles.
    """

    values: pa.Table = field(default_factory=STACK_VALUES.empty_table)
    stacks: pa.Table = field(default_factory=profile.STACKS.empty_table)
    locations: pa.Table = field(default_factory=profile.LOCATIONS.empty_table)
    functions: pa.Table = field(default_factory=profile.FUNCTIONS.empty_table)
    mappings: pa.Table = field(default_factory=profile.MAPPINGS.empty_table)
    labelsets: pa.Table = field(default_factory=profile.LABELSETS.empty_table)


Partial = FunctionPartial | LocationPartial


def merge_function_partials(partials: Sequence[FunctionPartial]) -> FunctionPartial:
    """Union of nodes by path; self and total add up."""
    if len(partials) == 1:
        return partials[0]
    nodes = pa.concat_tables([p.nodes for p in partials]) if partials else NODES.empty_table()
    sums = _numbered(nodes.select(["path_hash", "self", "total"])).group_by("path_hash", use_threads=False)
    merged = sums.aggregate([("row", "min"), ("self", "sum"), ("total", "sum")])
    first = nodes.take(merged.column("row_min")).unify_dictionaries()
    for name in ("self", "total"):
        first = first.set_column(first.column_names.index(name), name, merged.column(f"{name}_sum"))
    return FunctionPartial(first.combine_chunks())


def merge_location_partials(partials: Sequence[LocationPartial]) -> LocationPartial:
    """Sums of equal (stack, label set, profile type); union of what they use."""
    if not partials:
        return LocationPartial()
    tables = {
        f.name: pa.concat_tables([getattr(p, f.name) for p in partials]) for f in fields(LocationPartial)
    }
    values = tables.pop("values").unify_dictionaries()
    plain = values.set_column(2, "profile_type", values.column("profile_type").cast(pa.string()))
    sums = plain.group_by(["stack_id", "labelset_id", "profile_type"], use_threads=False).aggregate(
        [("value", "sum")]
    )
    summed = sums.rename_columns(STACK_VALUES.names)
    encoded = summed.set_column(2, "profile_type", summed.column("profile_type").dictionary_encode())
    return LocationPartial(
        encoded.cast(STACK_VALUES), *(_distinct(table, table.column_names[0]) for table in tables.values())
    )


def _distinct(table: pa.Table, key: str) -> pa.Table:
    """The first row of each key, in order of first appearance."""
    first = _numbered(table.select([key])).group_by(key, use_threads=False).aggregate([("row", "min")])
    return table.take(first.column("row_min"))


def _numbered(table: pa.Table) -> pa.Table:
    return table.append_column("row", pa.array(np.arange(len(table))))


def to_bytes(partial: Partial) -> bytes:
    """One Arrow IPC stream a table, length-prefixed, in declaration order."""
    out = io.BytesIO()
    kind = type(partial).__name__
    for f in fields(partial):
        table: pa.Table = getattr(partial, f.name)
        table = table.replace_schema_metadata({"flameduck.partial": f"{kind}.{VERSION}"})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        payload = sink.getvalue()
        out.write(payload.size.to_bytes(8, "little"))
        out.write(payload)
    return out.getvalue()


def from_bytes(data: bytes) -> Partial:
    """The inverse of `to_bytes`. Raises `CorruptBlock` for other bytes or another version."""
    tables: list[pa.Table] = []
    kinds: set[bytes] = set()
    view = memoryview(data)
    try:
        while view:
            size_bytes = int.from_bytes(view[:8], "little")
            table = pa.ipc.open_stream(pa.py_buffer(view[8 : 8 + size_bytes])).read_all()
            kinds.add((table.schema.metadata or {}).get(b"flameduck.partial", b""))
            tables.append(table.replace_schema_metadata(None))
            view = view[8 + size_bytes :]
    except pa.ArrowInvalid as error:
        raise CorruptBlock(f"partial: {error}") from None
    for kind in (FunctionPartial, LocationPartial):
        if kinds == {f"{kind.__name__}.{VERSION}".encode()} and len(tables) == len(fields(kind)):
            return kind(*tables)
    raise CorruptBlock(f"partial: unknown kind or version {sorted(kinds)}")
