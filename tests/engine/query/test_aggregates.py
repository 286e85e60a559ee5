"""Sums, averages, newest values and growth of several profiles; across blocks, with copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from flameduck.engine.embedded import StoreDatabase, open_embedded
from flameduck.engine.settings import Settings
from flameduck.schema.errors import RequestError, UnknownType
from flameduck.schema.profile import Upload
from flameduck.schema.request import (
    Aggregate,
    ProfilesRequest,
    Rows,
    Selection,
    SeriesRequest,
    TopRequest,
    TreeQuery,
)

from .stacks import Stack, folded

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND

Profile = tuple[str, int, Counter[Stack]]
"""Pod, second, stacks."""

HEAP: Sequence[Profile] = [
    ("a", 0, Counter({("main", "x"): 10, ("main", "y"): 4})),
    ("a", 10, Counter({("main", "x"): 16, ("main", "y"): 2})),
    ("a", 20, Counter({("main", "x"): 16, ("main", "z"): 5})),
    ("b", 0, Counter({("main", "x"): 100})),
    ("b", 10, Counter({("main", "x"): 50})),
]


def uploads(profiles: Sequence[Profile]) -> list[Upload]:
    return [
        Upload(folded(stacks), {"service_name": "s", "pod": pod}, f"{pod}{second}", T0 + second * SECOND)
        for pod, second, stacks in profiles
    ]


@pytest.fixture(params=["one block", "a block a profile", "every profile twice"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> StoreDatabase:
    opened = open_embedded(str(tmp_path), "anonymous", Settings())
    if request.param == "one block":
        opened.ingest(uploads(HEAP))
        return opened
    for upload in uploads(HEAP):
        opened.ingest([upload])
    if request.param == "every profile twice":
        _ingest_copies(opened, tmp_path)
    return opened


def _ingest_copies(opened: StoreDatabase, directory: Path) -> None:
    """A block with everything again, as a replica would write it: ingest itself would notice."""
    other = open_embedded(str(directory / "other"), "anonymous", Settings())
    other.ingest(uploads(HEAP))
    (meta,) = [block.meta for block in other.blocks.live_blocks()]
    for file_name in [*meta.files, "meta.json"]:
        path = f"anonymous/blocks/{meta.ulid}/{file_name}"
        opened.blocks.objects.write(path, other.blocks.objects.read(path))
    (entry,) = other.blocks.state().blocks.values()
    opened.blocks.catalog.commit([entry], [], "replica")
    assert sum(block.meta.profiles for block in opened.blocks.live_blocks()) == 2 * len(HEAP)


def own(database: StoreDatabase, tree: TreeQuery) -> dict[str, int]:
    answer = database.ask(TopRequest(tree))
    assert isinstance(answer, Rows)
    return {row["function"]: row["self"] for row in answer.table.to_pylist() if row["self"]}


AGGREGATES: list[tuple[Aggregate, dict[str, int]]] = [
    ("sum", {"x": 192, "y": 6, "z": 5}),
    # a: x 42 / 3, y 6 / 3, z 5 / 3; b: x 150 / 2.
    ("avg", {"x": 14 + 75, "y": 2, "z": 2}),
    ("last", {"x": 16 + 50, "z": 5}),
]


@pytest.mark.parametrize(("aggregate", "expected"), AGGREGATES)
def test_aggregate(database: StoreDatabase, aggregate: Aggregate, expected: dict[str, int]) -> None:
    assert own(database, TreeQuery(aggregate=aggregate)) == expected


def test_delta_counts_growth_and_restarts_after_a_fall(database: StoreDatabase) -> None:
    # a: x +6, then 0; y falls to 2 and restarts there; z +5. b: x falls to 50 and restarts there.
    assert own(database, TreeQuery(delta=True)) == {"x": 6 + 50, "y": 2, "z": 5}


def test_delta_goes_with_sums_only(database: StoreDatabase) -> None:
    with pytest.raises(RequestError, match="delta goes with the aggregate sum"):
        database.ask(TopRequest(TreeQuery(delta=True, aggregate="avg")))


def test_a_range_is_half_open(database: StoreDatabase) -> None:
    selection = Selection(start_ns=T0 + 10 * SECOND, end_ns=T0 + 20 * SECOND)
    assert own(database, TreeQuery(selection)) == {"x": 66, "y": 2}
    assert own(database, TreeQuery(Selection(end_ns=T0 + 20 * SECOND + 1))) == {"x": 192, "y": 6, "z": 5}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ('{pod="b"}', {"x": 150}),
        ('{pod=~"b|c"}', {"x": 150}),
        ('{pod!="b"}', {"x": 42, "y": 6, "z": 5}),
        ('{pod!~".*"}', {}),
        ('{nope=""}', {"x": 192, "y": 6, "z": 5}),
        ('process_cpu{service_name="s",pod="b"}', {"x": 150}),
    ],
)
def test_selectors(database: StoreDatabase, selector: str, expected: dict[str, int]) -> None:
    assert own(database, TreeQuery(Selection(selector))) == expected


def test_types_by_short_names(database: StoreDatabase) -> None:
    for name in ("samples", "process_cpu", "process_cpu:samples", "process_cpu:samples:count::"):
        assert own(database, TreeQuery(Selection(profile_type=name)))["y"] == 6
    with pytest.raises(UnknownType, match="process_cpu:samples:count::"):
        own(database, TreeQuery(Selection(profile_type="heap")))


def series(database: StoreDatabase, request: SeriesRequest) -> dict[str, list[tuple[int, float]]]:
    answer = database.ask(request)
    assert isinstance(answer, Rows)
    points: dict[str, list[tuple[int, float]]] = {}
    for row in answer.table.to_pylist():
        points.setdefault(dict(row["labels"]).get("pod", ""), []).append(
            ((row["ts"] - T0) // SECOND, row["value"])
        )
    return points


def test_series_by_label(database: StoreDatabase) -> None:
    selection = Selection(start_ns=T0, end_ns=T0 + 21 * SECOND)
    by_pod = series(database, SeriesRequest(selection, 10 * SECOND, ("pod",)))
    assert by_pod == {"b": [(0, 100.0), (10, 50.0)], "a": [(0, 14.0), (10, 18.0), (20, 21.0)]}
    assert list(by_pod) == ["b", "a"]
    assert series(database, SeriesRequest(selection, 20 * SECOND)) == {"": [(0, 114.0), (20, 89.0)]}
    averages = series(database, SeriesRequest(selection, 20 * SECOND, aggregate="avg"))
    assert averages == {"": [(0, 57.0), (20, pytest.approx(89 / 3))]}
    assert list(series(database, SeriesRequest(selection, 10 * SECOND, ("pod",), limit=1))) == ["b"]


def test_profiles_are_listed_once_newest_first(database: StoreDatabase) -> None:
    answer = database.ask(ProfilesRequest(Selection()))
    assert isinstance(answer, Rows)
    listed = [((row["ts"] - T0) // SECOND, row["total"]) for row in answer.table.to_pylist()]
    assert [second for second, _ in listed] == [20, 10, 10, 0, 0]
    assert sorted(total for _, total in listed) == [14, 18, 21, 50, 100]


@pytest.mark.parametrize("aggregate", ["sum", "avg", "last"])
def test_between_two_profiles_there_is_nothing(database: StoreDatabase, aggregate: Aggregate) -> None:
    between = Selection("{}", "", T0 + SECOND, T0 + 2 * SECOND)
    answer = database.ask(TopRequest(TreeQuery(between, aggregate=aggregate)))
    assert isinstance(answer, Rows)
    assert len(answer.table) == 0
