"""Queries and the rows they give, as data: `*.test` beside this file. `UPDATE=1` rewrites them.

A case is a comment, one query, `----`, then the columns and the rows as `a | b`, or `error: part of it`; an
empty line ends it. Each file runs three ways over the same two blocks, which must not differ: through the
engine over the files that a query needs, with one of the blocks only in memory, and in a bare DuckDB with the
shipped scripts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from flameduck.engine.database import DuckDB, Query
from flameduck.engine.database_face import FaceContents, prepare_face, tables_read_by
from flameduck.schema.errors import FlameduckError

HERE = Path(__file__).parent
SCRIPTS = HERE.parents[1] / "schema" / "sql"
FILES = sorted(path.name for path in HERE.glob("*.test"))

Rows = tuple[Sequence[str], Sequence[Sequence[str | None]]]
Ask = Callable[[str], Rows]


@pytest.fixture(params=["files", "memory", "bare"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ask(
    way: str, database: DuckDB, stored: FaceContents, half_in_memory: FaceContents, blocks_directory: Path
) -> Ask:
    if way == "bare":
        return lambda text: through_bare_duckdb(blocks_directory, text)
    return lambda text: through_engine(database, stored if way == "files" else half_in_memory, text)


def through_engine(database: DuckDB, contents: FaceContents, text: str) -> Rows:
    read = {name: contents.files[name] for name in tables_read_by(text)}
    with database.session() as session:
        prepare_face(session, replace(contents, files=read))
        table = session.answer(Query("sql", text))
    return table.column_names, list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def through_bare_duckdb(directory: Path, text: str) -> Rows:
    with duckdb.connect() as connection:
        connection.execute("SET VARIABLE blocks = $blocks", {"blocks": f"{directory}/*"})
        for name in ("tables", "views", "macros"):
            connection.execute((SCRIPTS / f"{name}.sql").read_text())
        answer = connection.execute(text)
        return [column[0] for column in answer.description or ()], answer.fetchall()


@pytest.mark.parametrize("name", FILES)
def test_queries_give_the_recorded_rows(name: str, way: str, ask: Ask) -> None:
    path = HERE / name
    recorded = path.read_text()
    actual = "\n\n".join(answered(case, ask) for case in recorded.strip().split("\n\n")) + "\n"
    if os.environ.get("UPDATE") and way == "files":
        path.write_text(actual)
        return
    assert actual == recorded


def answered(case: str, ask: Ask) -> str:
    """The case with what the query gives now."""
    query, _, expected = case.partition("\n----")
    try:
        names, rows = ask(f"SELECT COLUMNS(*)::VARCHAR FROM ({query.rstrip().removesuffix(';')}\n)")
    except (FlameduckError, duckdb.Error) as error:
        reason = expected.strip().removeprefix("error: ")
        return f"{query}\n----\nerror: {reason if reason and reason in str(error) else error}"
    lines = [
        " | ".join(names),
        *(" | ".join("NULL" if v is None else v or "''" for v in row) for row in rows),
    ]
    return f"{query}\n----\n" + "\n".join(lines)
