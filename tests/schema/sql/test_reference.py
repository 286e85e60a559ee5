"""The documentation in the scripts is that of what they make, and docs/sql.md is made from it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from flameduck.schema.sql_reference import Column, Relation, markdown, parse_reference

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "schema" / "sql"
VIEWS = parse_reference((SCRIPTS / "views.sql").read_text())
MACROS = parse_reference((SCRIPTS / "macros.sql").read_text())

NAMES = {
    *("blocks", "profiles", "samples", "stacks", "frames"),
    *("functions", "locations", "mappings", "series", "labels"),
}
CALLS = {
    *("top()", "tree()", "flamegraph()", "diff()", "series_of()"),
    *("callers(function)", "callees(function)", "matches(pattern)"),
}


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        for name in ("tables", "views", "macros"):
            opened.execute((SCRIPTS / f"{name}.sql").read_text())
        yield opened


def test_every_public_view_and_macro_is_in_the_reference(connection: duckdb.DuckDBPyConnection) -> None:
    views = connection.execute(
        "SELECT view_name FROM duckdb_views() WHERE NOT internal AND NOT starts_with(view_name, '_')"
    ).fetchall()
    macros = connection.execute(
        """
        SELECT function_name
        FROM duckdb_functions()
        WHERE NOT internal AND function_type LIKE '%macro' AND NOT starts_with(function_name, '_')
        """
    ).fetchall()
    assert {name for (name,) in views} == NAMES == {view.name for view in VIEWS}
    assert {name for (name,) in macros} == {macro.name for macro in MACROS}
    assert {macro.call for macro in MACROS} == CALLS


@pytest.mark.parametrize("relation", [*VIEWS, *MACROS], ids=lambda relation: relation.name)
def test_columns_are_as_documented(connection: duckdb.DuckDBPyConnection, relation: Relation) -> None:
    given = ", ".join("'x'" for p in relation.parameters or () if p.default is None)
    call = relation.name if relation.parameters is None else f"{relation.name}({given})"
    described = connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE FROM {call})").fetchall()
    assert described == [(column.name, column.type) for column in relation.columns]


@pytest.mark.parametrize("macro", MACROS, ids=lambda macro: macro.name)
def test_parameters_are_as_documented(connection: duckdb.DuckDBPyConnection, macro: Relation) -> None:
    asked = "SELECT parameters FROM duckdb_functions() WHERE function_name = $name"
    (names,) = connection.execute(asked, {"name": macro.name}).fetchall()[0]
    assert names == [parameter.name for parameter in macro.parameters or ()]
    for parameter in macro.parameters or ():
        if parameter.default is not None:
            # The default has the documented type, and so has what may stand in its place.
            connection.execute(f"SELECT ({parameter.default})::{parameter.type}")


def test_the_page_is_made_from_the_comments() -> None:
    page = ROOT / "docs" / "sql.md"
    if os.environ.get("UPDATE"):
        page.write_text(markdown(VIEWS, MACROS))
    assert page.read_text() == markdown(VIEWS, MACROS)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("CREATE OR REPLACE VIEW v AS\nSELECT\n    -- A.\n    1::INTEGER AS a\nFROM t;", "v has no comment"),
        ("-- V.\nCREATE OR REPLACE VIEW v AS\nSELECT\n    1::INTEGER AS a\nFROM t;", "v: expected a comment"),
        (
            "-- V.\nCREATE OR REPLACE VIEW v AS\nSELECT\n    -- A.\n    1 AS a\nFROM t;",
            "found 'A.' and '1 AS a'",
        ),
        (
            "-- M.\nCREATE OR REPLACE MACRO m(\n    -- Untyped\n    x\n) AS TABLE\n"
            "SELECT\n    -- A.\n    1::INTEGER AS a\nFROM t;",
            "m: expected `-- TYPE. text` and a parameter",
        ),
    ],
)
def test_what_is_not_documented_is_an_error(script: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_reference(script)


def test_private_names_are_left_out() -> None:
    hidden = "-- Hidden.\nCREATE OR REPLACE VIEW _v AS\nFROM t;"
    shown = "-- Shown,\n-- in two lines.\nCREATE OR REPLACE VIEW v AS\n"
    shown += 'SELECT\n    -- A.\n    1::INTEGER[] AS "a"\nFROM t;'
    assert parse_reference(f"{hidden}\n\n{shown}") == (
        Relation("v", "Shown, in two lines.", (Column("a", "INTEGER[]", "A."),)),
    )
