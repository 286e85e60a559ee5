"""Questions during an ingest and its merges: each answer is of one version of the store, never of two."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise
from pathlib import Path
from threading import Event

import flameduck
from flameduck.engine.compaction.run import merge_small_blocks
from flameduck.engine.connection import Connection
from flameduck.engine.embedded import StoreDatabase, open_embedded
from flameduck.engine.query.run import answer
from flameduck.engine.query.snapshot import Snapshot
from flameduck.engine.query.sql_face import run_sql
from flameduck.engine.settings import Settings
from flameduck.schema.catalog import CatalogState, apply_entries, entry_from_json
from flameduck.schema.profile import Upload
from flameduck.schema.request import FlamegraphRequest, Selection, SqlRequest, TreeQuery
from tests.engine.ingest.made_profiles import START_NS, made_total, made_upload

ROUNDS = [range(3 * number, 3 * number + 3) for number in range(16)]
"""What each of the ingests brings, all or nothing: a merge comes every seven."""
STATES = [0, *accumulate(made_total(numbers) for numbers in ROUNDS)]
READER = """
import json, sys, flameduck
while True:
    with flameduck.open(sys.argv[1]) as db:
        top = db.top(type="cpu").to_dicts() if db.profile_types() else []
        graph = db.flamegraph(type="cpu").total if top else 0
    print(json.dumps([sum(row["self"] for row in top), graph]), flush=True)
"""


def uploads(numbers: range) -> list[Upload]:
    return [made_upload(number) for number in numbers]


def one_look(db: Connection) -> list[int]:
    """The total in nanoseconds as different questions give it, in the order in which they are asked."""
    (sums,) = db.sql(
        "SELECT (SELECT sum(value) FROM samples WHERE profile_type LIKE 'process_cpu:cpu:%')::BIGINT AS samples,"
        " (SELECT sum(total) FROM profiles WHERE profile_type LIKE 'process_cpu:cpu:%')::BIGINT AS profiles"
    ).to_dicts()
    assert sums["samples"] == sums["profiles"]
    tree = db.tree(type="cpu").to_dicts()
    assert tree[0]["total"] == sum(row["self"] for row in tree)
    graph = db.flamegraph(type="cpu").total
    folded = db.export(type="cpu", format="folded").splitlines()
    profiles = db.profiles(type="cpu").to_dicts()
    assert len(profiles) % 3 == 0
    series = db.series(type="cpu", start=START_NS - 10**9, step="30s").to_dicts()
    return [
        sums["samples"],
        tree[0]["total"],
        graph,
        sum(int(line.rpartition(b" ")[2]) for line in folded),
        sum(row["total"] for row in profiles),
        int(sum(row["value"] for row in series)),
    ]


def test_threads_ask_while_another_ingests(tmp_path: Path) -> None:
    done = Event()

    def look(db: Connection) -> list[int]:
        seen: list[int] = []
        while not done.is_set():
            seen += one_look(db)
        return seen + one_look(db)

    with flameduck.open(tmp_path) as db, flameduck.open(tmp_path) as other, ThreadPoolExecutor(2) as threads:
        db.ingest(uploads(ROUNDS[0]))
        # One reader shares what the writer has open, the other has its own.
        readers = [threads.submit(look, connection) for connection in (db, other)]
        try:
            for numbers in ROUNDS[1:]:
                db.ingest(uploads(numbers))
        finally:
            done.set()
        for reader in readers:
            seen = reader.result()
            assert set(seen) <= set(STATES)
            assert [pair for pair in pairwise(seen) if pair[0] > pair[1]] == []
            assert seen[-1] == STATES[-1]
            assert len(set(seen)) > 2, "the reader saw nothing change"
        assert len(db.blocks()) < 8


def test_processes_ask_while_another_ingests(tmp_path: Path) -> None:
    with flameduck.open(tmp_path) as db:
        db.ingest(uploads(ROUNDS[0]))
        readers = [
            subprocess.Popen([sys.executable, "-c", READER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        seen: list[list[int]] = []
        try:
            for numbers in ROUNDS[1:]:
                # Each has looked once before anything is added.
                seen += [_line(reader) for reader in readers]
                db.ingest(uploads(numbers))
        finally:
            for reader in readers:
                reader.kill()
                seen += [
                    json.loads(line) for line in reader.communicate()[0].splitlines() if line[-1:] == "]"
                ]
    assert {total for totals in seen for total in totals} <= set(STATES)
    assert all(top <= graph for top, graph in seen)
    assert len({top for top, _ in seen}) > 3


def _line(reader: subprocess.Popen[str]) -> list[int]:
    assert reader.stdout is not None
    totals: list[int] = json.loads(reader.stdout.readline())
    return totals


def test_a_version_is_readable_after_its_blocks_were_merged(tmp_path: Path) -> None:
    """Blocks that are merged away stay where they are, for those who still read them."""
    query = FlamegraphRequest(TreeQuery(Selection(profile_type="cpu")))
    counting = SqlRequest("SELECT count(*)::BIGINT AS n FROM samples")
    writer = open_embedded(str(tmp_path), "anonymous", Settings())
    for numbers in ROUNDS[:7]:
        writer.ingest(uploads(numbers))
    reader = open_embedded(str(tmp_path), "anonymous", Settings())
    state = reader.blocks.state()
    assert len(state.blocks) == 7
    writer.ingest(uploads(ROUNDS[7]))
    merge_small_blocks(writer.blocks)
    assert len(writer.blocks.state().blocks) == 1
    for database in (reader, writer):
        _check_old_version(database, state.version, query, counting)
    for database in (reader, writer):
        assert answer(database._snapshot(None, None), query).total == STATES[8]  # type: ignore[union-attr]
        database.close()


def _check_old_version(
    database: StoreDatabase, version: int, query: FlamegraphRequest, counting: SqlRequest
) -> None:
    """Ask a version that is not the newest."""
    objects = database.blocks.objects
    names = [info.path for info in objects.list("anonymous/catalog")]
    entries = [entry_from_json(objects.read(name), name) for name in sorted(names)[:version]]
    old = Snapshot(
        database.blocks.blocks(apply_entries(CatalogState(), entries), None, None),
        lambda: database._database,
        version,
    )
    assert answer(old, query).total == STATES[7]  # type: ignore[union-attr]
    assert run_sql(old, counting).to_pydict() == {"n": [7 * 3 * 6 * 2]}
