"""Point the SQL face at one snapshot: the public views and macros over chosen blocks, for one session.

The views are made once for each DuckDB instance and read their files from the session's variables, so that a
request pays for setting those and no more. See `schema/sql/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import pyarrow as pa

from ..schema.block import BlockMeta
from ..schema.sql_reference import stored_tables_by_name
from ..schema.tables import TABLES
from .database import Session, query_file

_SQL = "flameduck.schema.sql"
_SCRIPTS = ("tables", "views", "macros")

EXCLUDED = pa.schema(
    [
        ("block", pa.uint64()),
        ("series", pa.uint32()),
        ("ts", pa.int64()),
        ("profile_id", pa.uuid()),
        ("row_start", pa.uint64()),
        ("row_count", pa.uint32()),
    ]
)
"""Profiles that must not count, copies and hidden ones: key columns of `profiles`, and its `start` and `n`."""

_BLOCKS = pa.schema(
    [
        ("ulid", pa.string()),
        ("tenant", pa.string()),
        ("level", pa.int32()),
        ("block", pa.uint64()),
        ("min_ts", pa.int64()),
        ("max_ts", pa.int64()),
        ("profiles", pa.uint64()),
        ("samples", pa.uint64()),
        ("series", pa.uint64()),
        ("parents", pa.list_(pa.string())),
        ("sources", pa.list_(pa.string())),
        ("version", pa.int32()),
        ("size_bytes", pa.uint64()),
    ]
)


@dataclass(frozen=True)
class FaceContents:
    """What one request may see.

    `files` lists the files of each stored table (`TABLES`), in any order; `tables` are those of one block
    that is only in memory, and those that take the place of a block's file; both may be given. `metas` describes
    all the blocks. `excluded` has the schema `EXCLUDED`.
    """

    metas: Iterable[BlockMeta] = ()
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    excluded: pa.Table | None = None


_DYNAMIC = frozenset({"query", "query_table"})
"""DuckDB's functions that make a query or a name of a relation from text."""


def tables_read_by(text: str) -> frozenset[str]:
    """The stored tables that an SQL text may read: at least those that it does, so that others need no files.

    Goes by the words in it, whatever they stand for there.
    """
    words = set(re.findall(r"\w+", text.lower()))
    if words & _DYNAMIC:
        return frozenset(TABLES)
    by_name = _stored_tables()
    return frozenset().union(*(by_name[word] for word in words & by_name.keys()))


@cache
def _stored_tables() -> Mapping[str, frozenset[str]]:
    return stored_tables_by_name(query_file(_SQL, name).text for name in _SCRIPTS)


def prepare_face(session: Session, contents: FaceContents) -> None:
    """Let queries of this session see the public views and macros over `contents`."""
    for name in _SCRIPTS:
        session.run_once(query_file(_SQL, name))
    session.run(query_file(_SQL, "files"), {name: list(contents.files.get(name, ())) for name in TABLES})
    session.register("_blocks", _blocks_table(contents.metas))
    if contents.tables:
        for name, schema in TABLES.items():
            session.register(f"_memory_{name}", contents.tables.get(name, schema.empty_table()))
        session.run(query_file(_SQL, "in_memory"))
    if contents.excluded is not None and len(contents.excluded):
        session.register("_excluded", contents.excluded.cast(EXCLUDED))
        session.run(query_file(_SQL, "exclusions"))


def _blocks_table(metas: Iterable[BlockMeta]) -> pa.Table:
    rows = [{name: getattr(meta, name) for name in _BLOCKS.names} for meta in metas]
    return pa.Table.from_pylist(rows, _BLOCKS)
