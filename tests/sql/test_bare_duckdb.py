"""Stored files are readable by DuckDB alone: its own process, the shipped scripts, nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "schema" / "sql"

PROGRAM = """
import json, sys, duckdb
blocks, scripts, *queries = sys.argv[1:]
connection = duckdb.connect()
connection.execute("SET VARIABLE blocks = '" + blocks + "'")
for name in ("tables", "views", "macros"):
    connection.execute(open(f"{scripts}/{name}.sql").read())
print(json.dumps([connection.execute(query).fetchall() for query in queries]))
assert not any(name.startswith(("flameduck", "pyarrow")) for name in sys.modules)
"""


def ask(blocks: Path, *queries: str) -> list[list[list[object]]]:
    command = [sys.executable, "-I", "-c", PROGRAM, str(blocks), str(SCRIPTS), *queries]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    answers: list[list[list[object]]] = json.loads(done.stdout)
    return answers


def test_a_store_is_read_without_this_package(blocks_directory: Path) -> None:
    top, series, tree, blocks = ask(
        blocks_directory / "*",
        "FROM top('cpu') LIMIT 2",
        "SELECT value FROM series_of('cpu', step := INTERVAL 15 SECONDS)",
        "SELECT function, total FROM tree('cpu', service := 'search')",
        "SELECT count(*) FROM blocks",
    )
    assert top == [["work", 142, 185], ["idle", 50, 50]]
    assert series == [[100], [115], [29]]
    assert tree == [["total", 22], ["serve", 22], ["work", 22]]
    assert blocks == [[2]]


def test_one_block_is_read_alone(blocks_directory: Path) -> None:
    one = blocks_directory / "01HZZZZZZZZZZZZZZZZZZZZZ0B"
    assert ask(one, "SELECT count(*) FROM samples", "FROM callers('c')") == [
        [[5]],
        [
            [0, None, 0, "c", 0, 2],
            [1, 0, 1, "b", 0, 2],
            [2, 1, 2, "a", 0, 2],
            [3, 2, 3, "main", 2, 2],
        ],
    ]
