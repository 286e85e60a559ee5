"""SQL over a snapshot: the documented views and macros, each profile counted once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from ...schema.request import Selection, SqlRequest
from ..database import Query
from ..database_face import EXCLUDED, FaceContents, prepare_face, tables_read_by
from .snapshot import Snapshot, resolve_all_types


def run_sql(snapshot: Snapshot, request: SqlRequest) -> pa.Table:
    """The answer of one query. Raises `InvalidSql`."""
    contents = face_contents(snapshot, request.text)
    with snapshot.database().session() as session:
        prepare_face(session, contents)
        return session.answer(Query("sql", request.text), request.parameters)


def face_contents(snapshot: Snapshot, text: str) -> FaceContents:
    """What the query may read: the files of the tables that it names, or the tables of blocks in memory."""
    wanted = tables_read_by(text)
    files: dict[str, list[str]] = {}
    tables: Mapping[str, pa.Table] = {}
    for block in snapshot.blocks.values():
        if block.block.tables is not None:
            tables = block.block.tables
            continue
        for name in wanted:
            path = block.block.path(name)
            if path is not None:
                files.setdefault(name, []).append(path)
    metas = [block.meta for block in snapshot.blocks.values()]
    return FaceContents(metas, files, {n: tables[n] for n in wanted if n in tables}, _excluded(snapshot))


def _excluded(snapshot: Snapshot) -> pa.Table | None:
    """The copies of profiles that several blocks have, all but one."""
    if len(snapshot.blocks) < 2:
        return None
    excluded = resolve_all_types(snapshot, Selection()).weights.excluded
    pieces = []
    for ulid, rows in excluded.items():
        block = snapshot.blocks[ulid]
        stored = block.block.table("profiles", ["block", "series", "ts", "profile_id", "start", "n"])
        pieces.append(stored.take(pa.array(np.sort(rows))).rename_columns(EXCLUDED.names))
    return pa.concat_tables(pieces).cast(EXCLUDED) if pieces else None
