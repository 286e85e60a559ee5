"""A catalog version written down whole, as Parquet: a row a live block, the version and tombstones in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from operator import attrgetter
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq

from ...schema.catalog import CATALOG_FORMAT, BlockEntry, CatalogState
from ...schema.errors import CorruptBlock
from ...schema.tombstone import Tombstone, tombstone_from_fields

_SCHEMA = pa.schema(
    [
        ("ulid", pa.string()),
        ("level", pa.int64()),
        ("min_ts", pa.int64()),
        ("max_ts", pa.int64()),
        ("profiles", pa.int64()),
        ("samples", pa.int64()),
        ("size_bytes", pa.int64()),
        ("applied", pa.int64()),
    ]
)
_VERSION = b"flameduck.catalog_version"
_FORMAT = b"flameduck.catalog_format"
_TOMBSTONES = b"flameduck.tombstones"
_SPENT = b"flameduck.spent_tombstones"


def encode_checkpoint(state: CatalogState) -> bytes:
    """The Parquet bytes of a version."""
    facts = {
        _VERSION: str(state.version),
        _FORMAT: str(CATALOG_FORMAT),
        _TOMBSTONES: _encoded(state.tombstones),
        _SPENT: _encoded(state.spent),
    }
    schema = _SCHEMA.with_metadata(facts)
    # By columns: by rows it takes most of a second for a hundred thousand blocks, in the middle of a commit.
    columns = {name: list(map(attrgetter(name), state.blocks.values())) for name in schema.names}
    table = pa.Table.from_pydict(columns, schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def decode_checkpoint(data: bytes, origin: str) -> CatalogState:
    """The version that the bytes hold. Raises `CorruptBlock`."""
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
        facts = table.schema.metadata
        if int(facts[_FORMAT]) > CATALOG_FORMAT:
            raise CorruptBlock(
                f"{origin}: catalog format {int(facts[_FORMAT])} is newer than {CATALOG_FORMAT}"
            )
        # Format 1 had no `applied`, the last field: every tombstone concerns its blocks.
        known = [field.name for field in fields(BlockEntry) if field.name in table.column_names]
        columns = [table.column(name).to_pylist() for name in known]
        blocks = {block.ulid: block for block in map(BlockEntry, *columns)}
        tombstones, spent = (_decoded(facts.get(name, b"[]")) for name in (_TOMBSTONES, _SPENT))
        return CatalogState(int(facts[_VERSION]), MappingProxyType(blocks), tombstones, spent)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise CorruptBlock(f"{origin}: not a catalog checkpoint: {error}") from None


def _encoded(tombstones: Mapping[str, Tombstone]) -> str:
    return json.dumps([one.to_fields() for one in tombstones.values()], separators=(",", ":"))


def _decoded(data: bytes) -> Mapping[str, Tombstone]:
    found = [tombstone_from_fields(fields) for fields in json.loads(data)]
    return MappingProxyType({one.id: one for one in found})
