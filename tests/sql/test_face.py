"""What a request sees through the SQL face: copies once, its own snapshot, the same stacks everywhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flameduck.engine.database import DuckDB, Query
from flameduck.engine.database_face import EXCLUDED, FaceContents, prepare_face, tables_read_by
from flameduck.schema.tables import TABLES

COUNTS = """
    SELECT
        (SELECT count(*) FROM profiles) AS profiles,
        (SELECT count(*) FROM samples) AS samples,
        (SELECT sum(value) FROM samples) AS value,
        (SELECT sum(total) FROM series) AS series_total,
        (SELECT total FROM tree('cpu') WHERE node = 0) AS tree_total
"""


def ask(database: DuckDB, contents: FaceContents, text: str, **parameters: object) -> pa.Table:
    with database.session() as session:
        prepare_face(session, contents)
        return session.answer(Query("sql", text), parameters)


def copies_in(block: pa.Table, series: int, first_row: int) -> pa.Table:
    """The profiles of one series of a block from a row on, as excluded."""
    rows = [
        {
            "block": row["block"],
            "series": row["series"],
            "ts": row["ts"],
            "profile_id": row["profile_id"].bytes,
            "row_start": row["start"],
            "row_count": row["n"],
        }
        for row in block.to_pylist()
        if row["series"] == series and row["start"] >= first_row
    ]
    return pa.Table.from_pylist(rows, EXCLUDED)


@pytest.mark.parametrize("in_memory", [False, True])
def test_excluded_copies_count_once(
    by_hand: ModuleType, database: DuckDB, stored: FaceContents, half_in_memory: FaceContents, in_memory: bool
) -> None:
    contents = half_in_memory if in_memory else stored
    late = by_hand.built(by_hand.LATE, "B").tables["profiles"]
    # Both profiles of this series are of one nanosecond: only the row range tells them apart.
    excluded = copies_in(late, series=1, first_row=4)
    assert len(excluded) == 1
    before = ask(database, contents, COUNTS).to_pylist()[0]
    after = ask(database, replace(contents, excluded=excluded), COUNTS).to_pylist()[0]
    assert before == {"profiles": 8, "samples": 13, "value": 4340, "series_total": 4340, "tree_total": 244}
    assert after == {"profiles": 7, "samples": 12, "value": 4329, "series_total": 4329, "tree_total": 233}


def test_an_excluded_profile_without_samples_takes_no_other_with_it(
    by_hand: ModuleType, database: DuckDB, stored: FaceContents
) -> None:
    early = by_hand.built(by_hand.EARLY, "A").tables["profiles"]
    excluded = copies_in(early.filter(pa.compute.equal(early["n"], 0)), series=0, first_row=0)
    assert len(excluded) == 1
    after = ask(database, replace(stored, excluded=excluded), COUNTS).to_pylist()[0]
    assert (after["profiles"], after["samples"]) == (7, 13)


def test_group_by_stack_id_over_blocks_memory_and_an_export(
    by_hand: ModuleType, database: DuckDB, stored: FaceContents, tmp_path: Path
) -> None:
    exported = tmp_path / "export.parquet"
    rows = {
        "stack_id": [by_hand.stack_id("main;work;parse"), by_hand.stack_id("main;idle")],
        "value": [7000, 50],
    }
    pq.write_table(
        pa.table({"stack_id": pa.array(rows["stack_id"], pa.uint64()), "value": rows["value"]}), exported
    )
    loose = by_hand.built(by_hand.LOOSE, "C")
    contents = FaceContents([*stored.metas, loose.meta], stored.files, loose.tables)
    answer = ask(
        database,
        contents,
        """
        SELECT stack_id, sum(value) AS value
        FROM (
            SELECT stack_id, value FROM samples WHERE profile_type = $type
            UNION ALL BY NAME
            FROM read_parquet($exported)
        )
        GROUP BY stack_id
        """,
        type=by_hand.CPU,
        exported=str(exported),
    )
    values = dict(zip(*answer.to_pydict().values(), strict=True))
    assert values[by_hand.stack_id("main;work;parse")] == 30 + 5 + 1 + 1000 + 7000
    assert values[by_hand.stack_id("main;idle")] == 50 + 50
    assert values[by_hand.stack_id("main;a|b;c")] == 2 + 500
    assert len(values) == len(
        {folded for p in (*by_hand.EARLY, *by_hand.LATE) if p.type == by_hand.CPU for folded in p.stacks}
    )


def test_a_stack_of_several_blocks_is_one_row(
    by_hand: ModuleType, database: DuckDB, stored: FaceContents
) -> None:
    loose = by_hand.built(by_hand.LOOSE, "C")
    contents = FaceContents([*stored.metas, loose.meta], stored.files, loose.tables)
    answer = ask(
        database, contents, "SELECT count(*) AS n, count(DISTINCT stack_id) AS ids FROM stacks"
    ).to_pylist()
    assert answer == [{"n": 9, "ids": 9}]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("FROM blocks", ""),
        ("SELECT 1", ""),
        ("FROM Labels", "index"),
        ("FROM series_of('cpu')", "index profiles"),
        ("SELECT sum(value) FROM samples", "index labelsets samples stacks"),
        ('FROM "memory"."main"."top"()', "frames functions index samples stacks stacktraces"),
        ("FROM query_table('lab' || 'els')", " ".join(TABLES)),
    ],
)
def test_the_tables_that_a_query_reads(text: str, read: str) -> None:
    assert tables_read_by(text) == set(read.split())


def test_an_empty_store_has_every_view_and_no_rows(database: DuckDB) -> None:
    views = (
        "blocks",
        "profiles",
        "samples",
        "stacks",
        "frames",
        "functions",
        "locations",
        "mappings",
        "series",
    )
    for view in (*views, "labels"):
        assert ask(database, FaceContents(), f"FROM {view}").num_rows == 0
    for call in ("top()", "tree('cpu:cpu:cpu:cpu:cpu')", "series_of()", "matches('a')", "diff()"):
        assert ask(database, FaceContents(), f"FROM {call}").num_rows == 0


def test_sessions_do_not_see_each_others_blocks(database: DuckDB, stored: FaceContents) -> None:
    early = FaceContents(stored.metas, {name: paths[:1] for name, paths in stored.files.items()})
    expected = {8: early, 13: stored, 0: FaceContents()}

    def count(samples: int) -> int:
        answer = ask(database, expected[samples], "SELECT count(*) AS n FROM samples")
        return int(answer.column("n")[0].as_py())

    asked = [8, 13, 0] * 20
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(count, asked)) == asked


def test_values_that_overflow_64_bits_are_an_error_or_exact(by_hand: ModuleType, database: DuckDB) -> None:
    huge = by_hand.built((by_hand.Sampled({"a": 2**63 - 1}), by_hand.Sampled({"b": 2**63 - 1}, 1)), "D")
    contents = FaceContents([huge.meta], {}, huge.tables)
    answer = ask(database, contents, "SELECT sum(value) AS v FROM samples")
    assert int(answer.column("v")[0].as_py()) == 2**64 - 2


def test_arrow_types_of_every_stored_table_are_those_of_the_scripts(database: DuckDB) -> None:
    with database.session() as session:
        prepare_face(session, FaceContents())
        for name, schema in TABLES.items():
            view = f"_stored_{name}" if name in ("profiles", "samples") else f"_{name}"
            shown = session.arrow(
                Query(view, f"SELECT column_name, column_type FROM (DESCRIBE {view})")
            ).to_pydict()
            tables = {"arrow": schema.empty_table()}
            arrow = session.arrow(
                Query(name, "SELECT column_name, column_type FROM (DESCRIBE arrow)"), {}, tables
            )
            columns = dict(zip(shown["column_name"], shown["column_type"], strict=True))
            for column, kind in zip(*arrow.to_pydict().values(), strict=True):
                assert columns[column] == kind, f"{name}.{column}"
