"""Questions whose heavy part workers do: every answer is equal to that of one process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ulid import ULID

import flameduck
from flameduck.engine.embedded import StoreDatabase
from flameduck.engine.execution import Executor
from flameduck.engine.execution.inline import InlineExecutor
from flameduck.engine.execution.named import executor_named
from flameduck.engine.query.executed import Elsewhere, PieceSize
from flameduck.engine.query.snapshot import Snapshot, resolve
from flameduck.engine.query.visible import Hidden
from flameduck.engine.served import RunningServer
from flameduck.engine.settings import Settings
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.catalog_change import Change
from flameduck.engine.storage.objects import open_objects
from flameduck.engine.store_place import StorePlace, open_blocks, place_of
from flameduck.schema.errors import RequestError, Unavailable
from flameduck.schema.request import (
    Answer,
    FlamegraphRequest,
    FrameFilter,
    Request,
    Selection,
    SeriesRequest,
    TopRequest,
    TreeQuery,
    TreeRequest,
)
from flameduck.schema.tombstone import Tombstone
from tests.clusters import Cluster
from tests.engine.compaction.made_blocks import Made, put_blocks
from tests.engine.ingest.made_profiles import START_NS, STEP_NS, command

pytestmark = pytest.mark.usefixtures("workers_know_tests")

PROFILES = 60
CPU = Selection("{}", "cpu")
CPU_ID = "process_cpu:cpu:nanoseconds:cpu:nanoseconds"
SMALL = PieceSize(samples=150, blocks=4)
"""Several pieces of a small store."""


def blocks_of(profiles: int) -> list[list[Made]]:
    """Blocks that overlap: of replicas, retries and late arrivals, with labels in some."""
    every: list[Made] = [
        (number, number // 2, ("cart", "checkout", "web")[number % 3], number % 4 == 0)
        for number in range(profiles)
    ]
    dealt = [every[start::9] for start in range(9)]
    return [*dealt, every[5:25], every[:1], every[20:21], dealt[4], every[-8:]]


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "with deleted profiles"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store of many blocks with copies in several of them; of the second, a deletion has not been carried out."""
    place = str(tmp_path_factory.mktemp("executed") / "store")
    put_blocks(open_objects(place), blocks_of(PROFILES))
    if request.param:
        gone = Tombstone(str(ULID()), '{service_name="cart"}', "", START_NS + 4 * STEP_NS, None)
        catalog = Catalog(open_objects(place), "anonymous")
        catalog.commit_change(Change("delete", tombstones_added=(gone,)))
    return place


@pytest.fixture(scope="module", params=["inline", "local", "dask"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "inline":
        yield InlineExecutor()
        return
    address = "local" if request.param == "local" else request.getfixturevalue("dask_cluster").address
    with executor_named(address) as opened:
        yield opened


def database_on(store: str, executor: Executor, size: PieceSize = SMALL) -> StoreDatabase:
    return database_at(store, Elsewhere(executor, place_of(store, "anonymous", Settings(), executor), size))


def database_at(store: str, elsewhere: Elsewhere) -> StoreDatabase:
    own = Settings()
    return StoreDatabase(open_blocks(store, "anonymous", own), own, elsewhere)


def plain(answer: Answer) -> Any:
    """An answer as values that compare."""
    table = getattr(answer, "table", None)
    return (table.to_pylist(), answer.profile_type) if isinstance(table, pa.Table) else answer


def tree_queries() -> list[TreeQuery]:
    middle = START_NS + PROFILES // 4 * STEP_NS
    return [
        TreeQuery(CPU),
        TreeQuery(Selection('{service_name="cart"}', "samples")),
        TreeQuery(Selection("{}", "cpu", middle - 3 * STEP_NS, middle + 1)),
        TreeQuery(Selection('{service_name="none"}', "")),
        TreeQuery(CPU, aggregate="avg"),
        TreeQuery(CPU, aggregate="last"),
        TreeQuery(CPU, delta=True),
        TreeQuery(CPU, granularity="line"),
        TreeQuery(CPU, filter=FrameFilter(hide="^f1", ignore="g2")),
        TreeQuery(CPU, call_site=("main",)),
    ]


def requests() -> list[Request]:
    middle = START_NS + PROFILES // 4 * STEP_NS
    trees = tree_queries()
    return [
        *(FlamegraphRequest(tree, 20) for tree in trees),
        *(TopRequest(tree) for tree in trees),
        *(TreeRequest(tree) for tree in trees[:3]),
        SeriesRequest(CPU, STEP_NS),
        SeriesRequest(CPU, 7 * 10**6 + 1, ("service_name", "pod"), "avg"),
        SeriesRequest(CPU, 3 * STEP_NS, ("pod",), "avg", 2),
        SeriesRequest(Selection("{}", "cpu", middle, middle + 9 * STEP_NS), 2 * STEP_NS, ("service_name",)),
        SeriesRequest(Selection("{}", "cpu", None, middle), 2 * STEP_NS, ("service_name",), "avg"),
        SeriesRequest(Selection('{service_name="none"}', ""), STEP_NS),
        SeriesRequest(CPU, STEP_NS, ("service_name",), exemplars=True),
    ]


def test_every_answer_is_equal(store: str, executor: Executor) -> None:
    with flameduck.open(store) as here:
        there = database_on(store, executor)
        for request in requests():
            assert plain(there.ask(request)) == plain(here.database.ask(request)), request


def test_pieces_cover_the_plan_and_are_bounded(store: str) -> None:
    database = database_on(store, InlineExecutor())
    snapshot = database._snapshot(None, None)
    assert snapshot.elsewhere is not None
    resolved = resolve(snapshot, CPU)
    pieces = list(snapshot.elsewhere.pieces(snapshot.blocks, resolved.plan, resolved.weights))
    assert len(pieces) > 3
    assert [scan for piece in pieces for scan in piece.plan.scans] == list(resolved.plan.scans)
    assert sorted(ulid for piece in pieces for ulid in piece.weights.excluded) == sorted(
        resolved.weights.excluded
    )
    for piece in pieces:
        ulids = [scan.ulid for scan in piece.plan.scans]
        assert len(ulids) <= SMALL.blocks
        assert len(ulids) == 1 or sum(snapshot.blocks[u].meta.samples for u in ulids) <= SMALL.samples
        assert set(piece.weights.excluded) <= set(ulids)


@settings(max_examples=40)
@given(
    dealt=st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=8), min_size=1, max_size=6),
    most=st.integers(1, 3),
    step_s=st.sampled_from([0.001, 7, 10, 25]),
)
def test_any_blocks_in_any_pieces(
    tmp_path_factory: pytest.TempPathFactory, dealt: list[list[int]], most: int, step_s: float
) -> None:
    store = str(tmp_path_factory.mktemp("any"))
    blocks = [[(n, n // 2, ("a", "b")[n % 2], n % 3 == 0) for n in dict.fromkeys(some)] for some in dealt]
    put_blocks(open_objects(store), blocks)
    step_ns = int(step_s * 10**9)
    asked: list[Request] = [
        TreeRequest(TreeQuery(CPU)),
        TopRequest(TreeQuery(CPU, aggregate="avg")),
        SeriesRequest(CPU, step_ns, ("service_name",), "avg"),
        SeriesRequest(Selection("{}", CPU_ID, START_NS + 1, START_NS + 30 * 10**9), step_ns),
    ]
    with flameduck.open(store) as here:
        there = database_on(store, InlineExecutor(), PieceSize(blocks=most))
        for request in asked:
            assert plain(there.ask(request)) == plain(here.database.ask(request)), request


@pytest.mark.parametrize("store", [False], ids=["whole"], indirect=True)
def test_the_python_api_and_the_command_line(store: str, dask_cluster: Cluster) -> None:
    name = dask_cluster.address
    with flameduck.open(store) as here, flameduck.open(store, executor=name) as there:
        assert there.top(type="cpu").fetchall() == here.top(type="cpu").fetchall()
        assert there.flamegraph(type="cpu").total == here.flamegraph(type="cpu").total
        assert there.profile_types() == here.profile_types()
        assert there.export(type="cpu", format="folded") == here.export(type="cpu", format="folded")
    for words in (["flame"], ["top"], ["series", "--by", "pod"]):
        asked = [*words, "--type", "cpu", "--store", store, "--format", "json"]
        plain, executed = command(*asked), command(*asked, "--executor", name)
        assert (executed.stdout, executed.stderr, executed.returncode) == (plain.stdout, "", 0)


@pytest.mark.parametrize("store", [False], ids=["whole"], indirect=True)
def test_what_workers_cannot_read_is_refused(
    store: str, fixtures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RequestError, match="files are not"):
        flameduck.open(fixtures / "go-cpu.pb.gz", executor="local")
    with pytest.raises(RequestError, match="not through a server"):
        flameduck.open("http://127.0.0.1:1", executor="local")
    with pytest.raises(RequestError, match="memory of this process"):
        flameduck.open("memory://executed", executor="local")
    monkeypatch.setattr(
        "flameduck.engine.opening.running_server", lambda _: RunningServer(1, "http://x", "lock")
    )
    with pytest.raises(RequestError, match="the server of this store has profiles that are in no block yet"):
        flameduck.open(store, executor="local")
    refused = command("top", "--store", store, "--executor", "dask://127.0.0.1:1")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("flameduck: dask://127.0.0.1:1: no scheduler answers")
    assert refused.stderr.count("\n") == 1


class DyingPlace(StorePlace):
    """A place that ends the process which opens it."""

    def snapshot(self, ulids: Iterable[str], hidden: Mapping[str, Hidden]) -> Snapshot:
        raise SystemExit(f"not opened: {ulids}")


def test_workers_that_die_of_a_question_are_told(store: str) -> None:
    with executor_named("local", 1) as executor:
        database = database_at(store, Elsewhere(executor, DyingPlace(store, "anonymous"), SMALL))
        with pytest.raises(Unavailable, match="the workers died, each time it was tried"):
            database.ask(TopRequest(TreeQuery(CPU)))
