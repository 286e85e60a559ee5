"""Explanations say what was read: blocks, rows, bytes, and why no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import flameduck
from flameduck.engine.compaction.plan import MergeJob
from flameduck.engine.compaction.run import replace_blocks
from flameduck.engine.connection import ASKING, Connection
from flameduck.engine.embedded import StoreDatabase
from flameduck.engine.query import rollups, stack_totals
from flameduck.schema.errors import RequestError
from flameduck.schema.explanation import Explanation
from flameduck.schema.profile import Upload
from flameduck.schema.proto import profile_pb2
from flameduck.schema.request import BlocksRequest, ExplainRequest
from flameduck.schema.request_json import (
    answer_from_wire,
    answer_to_wire,
    request_from_json,
    request_to_json,
)
from tests.engine.ingest.made_profiles import command, made_profile

MINUTE_NS = 60 * 10**9
HOUR_NS = 60 * MINUTE_NS
HOUR_0 = 486_111 * HOUR_NS
COUNT = 90


def uploads(service: str, hour: int) -> list[Upload]:
    """A profile a minute of three pods in turn."""
    made = []
    for number in range(COUNT):
        profile = profile_pb2.Profile.FromString(made_profile(1))
        profile.time_nanos = HOUR_0 + hour * HOUR_NS + number * MINUTE_NS // 2
        labels = {"service_name": service, "pod": f"pod-{number % 3}"}
        made.append(Upload(profile.SerializeToString(), labels, f"{service} {number}"))
    return made


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blocks of two services in two hours; the first one has rollups."""
    path = tmp_path_factory.mktemp("store")
    with flameduck.open(path) as db:
        assert isinstance(db.database, StoreDatabase)
        db.ingest(uploads("cart", 0))
        (block,) = db.database.blocks.live_blocks()
        replace_blocks(db.database.blocks, MergeJob((block.ulid,)), "test")
        db.ingest(uploads("checkout", 0))
        db.ingest(uploads("cart", 5))
    return path


@pytest.fixture
def db(store: Path) -> Iterator[Connection]:
    with flameduck.open(store) as opened:
        yield opened


def rows_of(found: Explanation, table: str) -> int:
    return sum(one.rows for block in found.read for one in block.tables if one.table == table)


def test_a_rollup_is_read_in_place_of_samples(db: Connection) -> None:
    found = db.explain("flamegraph", '{service_name="cart"}', type="cpu", end=HOUR_0 + HOUR_NS)
    (block,) = found.read
    assert (found.blocks, found.pruned) == (3, {"time": 1, "service": 1})
    assert (block.level, block.in_memory, block.parts, block.series, block.profiles, block.copies) == (
        1,
        False,
        1,
        3,
        COUNT,
        0,
    )
    assert (block.rollups, block.samples) == ({"rollup_1h": 1}, {})
    assert rows_of(found, "samples") == 0
    # Six stacks; the buckets of both types are looked through, and one is read.
    assert rows_of(found, "rollup_1h") == 12 + 6
    assert found.profile_type == "process_cpu:cpu:nanoseconds:cpu:nanoseconds"
    assert list(found.phases_ms) == ["open", "select", "read", "shape"]
    assert all(spent_ms > 0 for spent_ms in found.phases_ms.values())


def test_what_is_kept_is_not_read_again(db: Connection) -> None:
    first, second = (db.explain("top", '{service_name="cart"}', type="cpu") for _ in range(2))
    assert rows_of(first, "index") > 0
    assert rows_of(second, "index") == 0
    assert rows_of(second, "frames") == 0
    # Samples and rollups are read each time.
    assert rows_of(second, "samples") == rows_of(first, "samples") == 6 * COUNT
    assert rows_of(second, "rollup_1h") == 6
    assert db.flamegraph('{service_name="cart"}', type="cpu").total > 0


@pytest.mark.parametrize("reader", ["numpy", "duckdb"])
def test_the_ends_of_a_range_are_read_from_samples(
    db: Connection, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reader == "duckdb":
        monkeypatch.setattr(stack_totals, "_FEW_ROWS", 0)
    start, end = HOUR_0 + 4 * MINUTE_NS, HOUR_0 + 40 * MINUTE_NS
    found = db.explain("tree", '{service_name="cart"}', type="cpu", start=start, end=end)
    (block,) = found.read
    assert block.rollups == {"rollup_5m": 1}
    assert block.samples == {rollups.ENDS: 1}
    # Minute 4: two profiles of six stacks. Numpy decodes all rows between them.
    assert rows_of(found, "samples") >= 12
    assert all(one.size_bytes > 0 for one in block.tables if one.table == "samples")
    assert len([one for one in block.tables if one.table == "samples"]) == 1


def test_why_no_rollup_is_read(db: Connection) -> None:
    def reasons(selector: str = '{service_name="cart"}', **how: object) -> dict[str, int]:
        found = db.explain("top", selector, type="cpu", end=HOUR_0 + HOUR_NS, **how)
        (block,) = found.read
        assert block.rollups == {}
        return dict(block.samples)

    assert reasons('{service_name="cart",pod="pod-1"}') == {rollups.NOT_EVERY_SERIES: 1}
    assert reasons('{service_name="checkout"}') == {rollups.NO_ROLLUP: 1}
    assert reasons(aggregate="avg") == {rollups.WEIGHTED: 1}
    assert reasons(delta=True) == {rollups.DIFFERENCES: 1}
    assert reasons(span_ids=["00000000000000ab"]) == {rollups.PICKED: 1}


def test_the_bytes_are_those_of_the_columns(db: Connection, store: Path) -> None:
    found = db.explain("flamegraph", '{service_name="checkout"}', type="cpu")
    (block,) = found.read
    (read,) = [one for one in block.tables if one.table == "samples"]
    footer = pq.read_metadata(store / "anonymous" / "blocks" / block.ulid / "samples.parquet")
    chunks = [footer.row_group(0).column(number) for number in range(footer.num_columns)]
    wanted = [one.total_compressed_size for one in chunks if one.path_in_schema in ("stack", "value")]
    assert (read.reads, read.rows, read.size_bytes) == (1, 6 * COUNT, sum(wanted))


def test_copies_are_told(db: Connection, tmp_path: Path) -> None:
    import shutil

    for name in ("one", "two"):
        with flameduck.open(tmp_path / name) as other:
            other.ingest(uploads("cart", 0))
    with flameduck.open(tmp_path / "one") as one, flameduck.open(tmp_path / "two") as two:
        assert isinstance(one.database, StoreDatabase)
        assert isinstance(two.database, StoreDatabase)
        (copy,) = two.database.blocks.state().blocks.values()
        blocks = "anonymous/blocks"
        shutil.copytree(tmp_path / "two" / blocks / copy.ulid, tmp_path / "one" / blocks / copy.ulid)
        one.database.blocks.catalog.commit([copy], [], "test")
        found = one.explain("top", type="cpu")
    assert sorted(block.copies for block in found.read) == [0, COUNT]
    assert [block.samples for block in found.read if block.copies] == [{rollups.LEFT_OUT: 1}]


def test_every_question_is_explained(db: Connection) -> None:
    arguments = {
        "lines": ["main"],
        "callers": ["main"],
        "callees": ["main"],
        "label_values": ["service_name"],
        "diff": ['{service_name="cart"}', '{service_name="checkout"}'],
        "diff_top": ['{service_name="cart"}', '{service_name="checkout"}'],
    }
    for method in ASKING:
        plain = ("label_names", "label_values", "series_labels", "profile_types", "profiles")
        said = {} if method in plain else {"type": "cpu"}
        found = db.explain(method, *arguments.get(method, []), **said, **_format_of(method))
        assert found.catalog_version > 0
        assert found.blocks == 3
        assert found.read, method
    with pytest.raises(RequestError, match="'ingest' cannot be explained"):
        db.explain("ingest", "x")
    with pytest.raises(RequestError, match="nothing that could be explained"):
        db.database.ask(ExplainRequest(BlocksRequest()))


def _format_of(method: str) -> dict[str, str]:
    return {"format": "pprof"} if method == "export" else {}


def test_files_are_explained_as_what_is_in_memory(tmp_path: Path) -> None:
    (tmp_path / "one.pb").write_bytes(made_profile(1))
    with flameduck.open(tmp_path / "one.pb") as db:
        found = db.explain("top", type="cpu")
    (block,) = found.read
    assert (block.in_memory, found.blocks, found.pruned) == (True, 1, {})
    assert rows_of(found, "samples") == 12 // 2
    assert sum(one.size_bytes for one in block.tables) == 0


def test_explanations_travel(db: Connection) -> None:
    found = db.explain("top", type="cpu")
    body, headers = answer_to_wire(found)
    assert answer_from_wire(body, {name.lower(): value for name, value in headers.items()}) == found


def test_requests_to_explain_travel() -> None:
    from flameduck.schema.request import Selection, TopRequest, TreeQuery

    asked = ExplainRequest(TopRequest(TreeQuery(Selection("{}", "cpu", 1, 2)), 3))
    assert request_from_json(request_to_json(asked)) == asked
    with pytest.raises(RequestError, match="kind 'Nope'"):
        request_from_json(b'{"kind": "ExplainRequest", "request": {"kind": "Nope", "request": {}}}')


def test_the_command_shows_it_for_people_and_for_programs(store: Path) -> None:
    words: list[str | Path] = ["--explain", "-q", '{service_name="cart"}', "--type", "cpu", "--store", store]
    shown = command("flame", *words)
    assert shown.returncode == 0
    first, kind, *_, total, spent = shown.stdout.splitlines()
    assert first == "catalog version 4, 3 blocks: 2 read, 1 of other services or names"
    assert kind == "type process_cpu:cpu:nanoseconds:cpu:nanoseconds"
    assert "1 parts from rollup_1h" in shown.stdout
    assert "1 parts from samples: the block has no rollup" in shown.stdout
    assert total.startswith("in all ")
    assert spent.startswith("ms: open ")
    document = json.loads(command("top", *words, "--format", "json").stdout)
    assert (document["catalog_version"], document["pruned"]) == (4, {"service": 1})
    assert len(document["read"]) == 2
    for words_of in (
        ["tree"],
        ["series"],
        ["diff", "--vs-query", '{service_name="checkout"}'],
        ["export", "-f", "json"],
    ):
        done = command(*words_of, *words)
        assert done.returncode == 0, done.stderr
        assert "catalog" in done.stdout.splitlines()[0]
    for name in ("labels", "types", "profiles"):
        assert command(name, "--explain", "--store", store).stdout.startswith("catalog version 4, 3 blocks")
