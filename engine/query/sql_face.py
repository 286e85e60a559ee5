"""SQL over a snapshot: the documented views and macros, each profile counted once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ...schema.request import Selection, SqlRequest
from ...schema.tables import TABLES
from ..database import Query
from ..database_face import EXCLUDED, FaceContents, prepare_face, tables_read_by
from .in_use import USED_TABLES, rows_in_use
from .opened import OpenBlock
from .snapshot import Snapshot, resolve_all_types
from .visible import VisibleBlock


def run_sql(snapshot: Snapshot, request: SqlRequest) -> pa.Table:
    """The answer of one query. Raises `InvalidSql`."""
    contents = face_contents(snapshot, request.text)
    with snapshot.database().session() as session:
        prepare_face(session, contents)
        return session.answer(Query("sql", request.text), request.parameters)


def face_contents(snapshot: Snapshot, text: str) -> FaceContents:
    """What the query may read: the files of the tables that it names, or tables where no file is what it may see."""
    wanted = tables_read_by(text)
    files: dict[str, list[str]] = {}
    tables: dict[str, list[pa.Table]] = {}
    for block in snapshot.blocks.values():
        for name in wanted:
            stored = _table_of(block, name)
            path = block.block.path(name)
            if stored is not None:
                tables.setdefault(name, []).append(stored)
            elif path is not None:
                files.setdefault(name, []).append(path)
    metas = [block.meta for block in snapshot.blocks.values()]
    joined = {name: pa.concat_tables(pieces) for name, pieces in tables.items()}
    return FaceContents(metas, files, joined, _excluded(snapshot))


def _table_of(block: OpenBlock, name: str) -> pa.Table | None:
    """A table of a block in memory, or what of a block's table visible profiles use; None: what the file has."""
    if block.block.tables is not None:
        return block.block.tables.get(name)
    if not isinstance(block, VisibleBlock) or name not in USED_TABLES:
        return None
    return block.block.table(name, TABLES[name].names).filter(pa.array(rows_in_use(block, name)))


def _excluded(snapshot: Snapshot) -> pa.Table | None:
    """The profiles that do not count: hidden ones, and copies of profiles that several blocks have, all but one."""
    rows = {
        ulid: [block.hidden] for ulid, block in snapshot.blocks.items() if isinstance(block, VisibleBlock)
    }
    if len(snapshot.blocks) > 1:
        for ulid, copies in resolve_all_types(snapshot, Selection()).weights.excluded.items():
            rows.setdefault(ulid, []).append(copies)
    pieces = []
    for ulid, of_block in rows.items():
        block = snapshot.blocks[ulid]
        stored = block.block.table("profiles", ["block", "series", "ts", "profile_id", "start", "n"])
        chosen = pa.array(np.sort(np.concatenate(of_block)))
        pieces.append(stored.take(chosen).rename_columns(EXCLUDED.names))
    return pa.concat_tables(pieces).cast(EXCLUDED) if pieces else None
