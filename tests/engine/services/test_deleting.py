"""Deletion in what a server holds: what came before the tombstone is hidden at once, what comes after it stays."""

from __future__ import annotations

import json
import random
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from ulid import ULID

import flameduck
from flameduck.engine.client import ClientDatabase
from flameduck.engine.compaction.deletion import Deletions
from flameduck.engine.embedded import open_embedded
from flameduck.engine.head.generation import UNKNOWN
from flameduck.engine.services.deleter import Deleter
from flameduck.engine.services.querier import TenantDatabase
from flameduck.engine.settings import Settings
from flameduck.schema.deletion import DeleteRequest
from flameduck.schema.errors import RequestError
from flameduck.schema.request import LabelValuesRequest, Rows, Selection
from flameduck.schema.tombstone import Tombstone
from tests.engine.ingest.made_profiles import (
    START_NS,
    STEP_NS,
    answers,
    command,
    cpu_total,
    made_total,
    made_upload,
    problems,
)
from tests.running_server import running_server

from .ingesting import TENANT, Rig, _database

MADE = '{service_name="made"}'


def tombstone(first: int, last: int) -> Tombstone:
    """Of the profiles with numbers from `first` to before `last`."""
    start, end = (START_NS + number * STEP_NS for number in (first, last))
    return Tombstone(str(ULID()), MADE, start_ns=start, end_ns=end)


def delete(rig: Rig, first: int, last: int, finished: bool = False) -> None:
    """As another process deletes, which knows nothing of the head."""
    other = Rig(rig.directory.parent / str(ULID()), rig.objects)
    deletions = Deletions(other.blocks_of(TENANT))
    deletions.begin(tombstone(first, last))
    if finished:
        assert not [one.problem for one in deletions.finish() if one.problem]
        assert not deletions.in_force()


def services(rig: Rig) -> list[str]:
    database = TenantDatabase(rig.head, rig.blocks_of(TENANT), Settings(), _database)
    answer = database.ask(LabelValuesRequest(Selection(), "service_name"))
    assert isinstance(answer, Rows)
    return [row["value"] for row in answer.table.to_pylist()]


def settled(directory: Path) -> Rig:
    """A process that has looked at the catalog."""
    rig = Rig(directory)
    rig.blocks_of(TENANT).state()
    return rig


@pytest.mark.parametrize("finished", [False, True])
def test_what_is_in_the_head_is_hidden_at_once_and_what_comes_later_is_not(
    tmp_path: Path, finished: bool
) -> None:
    rig = settled(tmp_path / "one")
    rig.commit(0, 1, 2)
    delete(rig, 0, 2, finished)
    assert rig.total() == made_total([2])
    rig.commit(1, 3)
    assert rig.total() == made_total([1, 2, 3])
    assert rig.head.closed_generations == 1
    delete(rig, 2, 4, finished)
    assert rig.total() == made_total([1])
    delete(rig, 0, 9, finished)
    assert services(rig) == []
    rig.commit(5)
    assert (rig.total(), services(rig)) == (made_total([5]), ["made"])


@pytest.mark.parametrize("finished", [False, True])
def test_it_is_so_after_a_restart_and_after_the_flush(tmp_path: Path, finished: bool) -> None:
    rig = settled(tmp_path / "one")
    rig.commit(0, 1)
    delete(rig, 0, 1, finished)
    assert rig.total() == made_total([1])
    rig.commit(0, 2)
    expected = made_total([0, 1, 2])
    again = Rig(tmp_path / "one")
    assert again.total() == expected
    again.ingester.flush()
    assert again.head.tenants() == set()
    assert again.total() == expected
    deletions = Deletions(again.blocks_of(TENANT))
    # The block of the older generation brought the tombstone back, where that was dropped.
    assert len(deletions.in_force()) == 1
    assert len(list(deletions.finish())) == 1
    assert (again.total(), deletions.in_force()) == (expected, ())
    assert again.profiles_stored() == 2 * 3
    assert problems(tmp_path / "one" / "store", TENANT) == []


def test_a_server_that_was_down_meanwhile(tmp_path: Path) -> None:
    rig = settled(tmp_path / "one")
    rig.commit(0, 1)
    rig.head.close()
    delete(rig, 0, 1, finished=True)
    again = Rig(tmp_path / "one")
    assert again.total() == made_total([1])
    again.commit(0)
    assert again.total() == made_total([0, 1])


def test_a_tenant_whose_catalog_was_not_looked_at(tmp_path: Path) -> None:
    """What is pushed right after a start is not taken for something older than all tombstones."""
    first = settled(tmp_path / "one")
    delete(first, 0, 9, finished=True)
    rig = Rig(tmp_path / "two", first.objects)
    rig.commit(0)
    assert rig.head.unsettled() == {TENANT}
    assert rig.total() == made_total([0])
    rig.ingester._settle_all()
    assert rig.head.unsettled() == set()
    assert rig.total() == made_total([0])
    delete(rig, 0, 9)
    assert services(rig) == []
    again = Rig(tmp_path / "two", first.objects)
    assert {rows.applied for one in again.head.closed() for rows in one.tenants().values()} == {UNKNOWN}


def test_what_is_known_of_a_catalog_may_be_forgotten(tmp_path: Path) -> None:
    """As it is of the tenants that were asked about longest ago, where there are many."""
    rig = settled(tmp_path / "one")
    rig.commit(0)
    delete(rig, 0, 9)
    assert services(rig) == []
    rig._sets.clear()
    rig.commit(0, 1)
    assert rig.head.closed_generations == 1
    assert rig.total() == made_total([0, 1])
    rig.ingester.flush()
    assert rig.total() == made_total([0, 1])


def test_a_question_that_has_begun_keeps_its_snapshot(tmp_path: Path) -> None:
    rig = settled(tmp_path / "one")
    rig.commit(0)
    rig.ingester.flush()
    rig.commit(1)
    database = TenantDatabase(rig.head, rig.blocks_of(TENANT), Settings(), _database)
    before = database._snapshot(None, None)
    delete(rig, 0, 9, finished=True)
    after = database._snapshot(None, None)
    assert sum(block.meta.profiles for block in before.blocks.values()) == 2 * 2
    assert after.blocks == {}


def test_the_deleter_counts_head_and_blocks_and_refuses_what_was_not_meant(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "one")
    rig.commit(0, 1)
    rig.ingester.flush()
    rig.commit(2, 3)
    deleter = Deleter(rig.head, rig.blocks_of, rig.ingester.flush)
    answer = deleter.ask(TENANT, DeleteRequest(MADE, "cpu", START_NS + STEP_NS, START_NS + 3 * STEP_NS))
    (ulid,) = rig.live()
    assert [(one.place, one.profiles, one.samples) for one in answer.touched] == [
        (ulid, 1, 6),
        ("head", 1, 6),
    ]
    assert (answer.id, answer.profile_type) == ("", "process_cpu:cpu:nanoseconds:cpu:nanoseconds")
    assert rig.total() == made_total(range(4))
    for bad, message in (
        (DeleteRequest("{}", act=True), "--all"),
        (DeleteRequest("{a=", act=True), "selector"),
        (DeleteRequest(MADE, "none", act=True), "no profile type"),
        (DeleteRequest(MADE, start_ns=2, end_ns=2, act=True), "not before"),
        (DeleteRequest(MADE, end_ns=10**30, act=True), "end_ns: 1000"),
        (DeleteRequest(f'{{a="{"b" * 70_000}"}}', act=True), "selector: 70006 characters; limit 65536"),
        (DeleteRequest(MADE, author="x" * 300, act=True), "author: 300 characters; limit 256"),
    ):
        with pytest.raises(RequestError, match=message):
            deleter.ask(TENANT, bad)
    assert rig.total() == made_total(range(4))
    assert deleter.in_force(TENANT) == ()


def test_deletion_beside_pushes_loses_nothing_else(tmp_path: Path) -> None:
    """Pushes that are acknowledged after a deletion returned are there; those before it are not."""
    rig = settled(tmp_path / "one")
    deleter = Deleter(rig.head, rig.blocks_of, rig.ingester.flush)
    late: list[int] = []
    done = threading.Event()

    def push() -> None:
        number = 100
        while not done.is_set():
            rig.commit(number)
            late.append(number)
            number += 1

    for round_ in range(3):
        rig.commit(*range(8))
        pusher = threading.Thread(target=push)
        pusher.start()
        start, end = START_NS, START_NS + 50 * STEP_NS
        deleter.ask(TENANT, DeleteRequest(MADE, "", start, end, act=True))
        rig.commit(50 + round_, 7)
        rig.ingester.flush()
        deleter.finish(TENANT)
        done.set()
        pusher.join()
        done.clear()
        assert rig.total() == made_total([7, *(50 + one for one in range(round_ + 1)), *set(late)])


def test_through_a_running_server(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with running_server(store) as server:
        with flameduck.open(server.url) as db:
            assert db.ingest([made_upload(number) for number in range(4)]).new == 4
            server.http.post("/flush")
            assert db.ingest([made_upload(number) for number in range(4, 8)]).new == 4
        words: list[str | Path] = [
            "delete",
            "--store",
            store,
            "-q",
            MADE,
            "--from",
            str(START_NS + 2 * STEP_NS),
        ]
        words += ["--to", str(START_NS + 6 * STEP_NS)]
        shown = command(*words, "--format", "json")
        assert shown.returncode == 0, shown.stderr
        assert json.loads(shown.stdout)["total"]["profiles"] == 2 * 4
        assert server.total() == made_total(range(8))
        done = command(*words, "--yes", "--format", "json")
        assert done.returncode == 0, done.stderr
        manifest = json.loads(done.stdout)
        assert (manifest["state"], manifest["removed"]["profiles"]) == ("done", 2 * 4)
        kept = [0, 1, 6, 7]
        assert server.total() == made_total(kept)
        query = "SELECT sum(total)::BIGINT FROM profiles WHERE profile_type LIKE '%:cpu:nanoseconds:%'"
        answer = server.http.post("/api/v1/sql", json={"query": query})
        assert str(made_total(kept)) in answer.text
        with flameduck.open(server.url) as db:
            assert db.ingest([made_upload(3)]).new == 1
        assert server.total() == made_total([3, *kept])
        client = ClientDatabase(server.url, "")
        assert client.deletions_in_force() == []
        assert client.deletion(manifest["id"]) == manifest
        assert server.http.get("/api/v1/deletions", params={"id": "x/../.."}).status_code == 400
        assert server.http.get("/api/v1/deletions", params={"id": str(ULID())}).status_code == 404
        assert server.http.post("/api/v1/delete", json={"selector": "{}", "act": True}).status_code == 400
        assert server.http.post("/api/v1/delete", content=b"{").status_code == 400
        server.kill()
    assert answers(store)["tops"]
    with running_server(store) as server:
        assert server.total() == made_total([3, *kept])


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "kills", [1, pytest.param(40, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])]
)
def test_a_server_that_is_killed_while_it_deletes(tmp_path: Path, kills: int) -> None:
    """What was deleted before stays away, what was pushed after it stays, and the next process finishes."""
    chance = random.Random(20_261_128)
    store = tmp_path / "store"
    for kill in range(kills):
        with running_server(store) as server, flameduck.open(server.url) as db:
            db.ingest([made_upload(number) for number in range(6)])
            if kill % 2:
                server.http.post("/flush")
            db.ingest([made_upload(number) for number in range(6, 12)])
            asked = {"selector": MADE, "end_ns": START_NS + 9 * STEP_NS, "act": True}
            assert server.http.post("/api/v1/delete", json=asked).status_code == 200
            db.ingest([made_upload(kill % 9)])
            time.sleep(0.3 * chance.random())
            server.kill()
        expected = made_total([kill % 9, 9, 10, 11])
        with running_server(store) as server:
            assert server.total() == expected
            done = command("delete", "--resume", "--store", store, "--format", "json")
            assert json.loads(done.stdout)["in_force"] == [], done.stderr
            server.http.post("/flush")
            assert command("delete", "--resume", "--store", store).returncode == 0
            assert server.total() == expected
            assert server.stop() == 0
        assert problems(store) == []
        assert cpu_total(store) == expected
        assert command("delete", "--store", store, "--all", "--yes").returncode == 0


def test_sql_sees_of_the_head_what_is_visible(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with running_server(store) as server, flameduck.open(server.url) as db:
        db.ingest([made_upload(number, pod=f"pod-{number % 2}") for number in range(6)])
        # By now it has looked at the catalog.
        time.sleep(1)
        # In force through another process, which the server has not been told of.
        with closing(open_embedded(str(store), "anonymous", Settings())) as database:
            Deletions(database.blocks).begin(Tombstone(str(ULID()), '{pod="pod-1"}'))
        names = {row[0] for row in db.sql("SELECT DISTINCT labels['pod'] FROM series").fetchall()}
        values = {row[0] for row in db.sql("SELECT value FROM labels WHERE name = 'pod'").fetchall()}
        (count,) = db.sql("SELECT count(*) FROM samples").fetchall()
        functions = {row[0] for row in db.sql("SELECT name FROM functions").fetchall()}
        used = {row[0] for row in db.sql("SELECT function FROM frames").fetchall()}
    assert (names, values, count) == ({"pod-0"}, {"pod-0"}, (3 * 2 * 6,))
    assert functions == used
