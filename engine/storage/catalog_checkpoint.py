"""A catalog version written down whole, as Parquet: a row a live block, the version in the metadata."""

from __future__ import annotations

from dataclasses import asdict, fields
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq

from ...schema.catalog import CATALOG_FORMAT, BlockEntry, CatalogState
from ...schema.errors import CorruptBlock

_SCHEMA = pa.schema(
    [
        ("ulid", pa.string()),
        ("level", pa.int64()),
        ("min_ts", pa.int64()),
        ("max_ts", pa.int64()),
        ("profiles", pa.int64()),
        ("samples", pa.int64()),
        ("size_bytes", pa.int64()),
    ]
)
_VERSION = b"flameduck.catalog_version"
_FORMAT = b"flameduck.catalog_format"


def encode_checkpoint(state: CatalogState) -> bytes:
    """The Parquet bytes of a version."""
    schema = _SCHEMA.with_metadata({_VERSION: str(state.version), _FORMAT: str(CATALOG_FORMAT)})
    table = pa.Table.from_pylist([asdict(block) for block in state.blocks.values()], schema)
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
        rows = table.select([field.name for field in fields(BlockEntry)]).to_pylist()
        blocks = {row["ulid"]: BlockEntry(**row) for row in rows}
        return CatalogState(int(facts[_VERSION]), MappingProxyType(blocks))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise CorruptBlock(f"{origin}: not a catalog checkpoint: {error}") from None
