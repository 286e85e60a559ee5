"""A migration takes everything once: totals, stacks, labels and types as at the source, whatever breaks meanwhile."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import flameduck
from flameduck.engine.connection import Connection
from flameduck.engine.formats.inflate import inflate
from flameduck.engine.migration import run
from flameduck.engine.migration.run import Migration, Wanted
from flameduck.engine.migration.source import Source, parse_source
from flameduck.engine.migration.stored import StoredSlices
from flameduck.schema.errors import InputError, InvalidSelector, RequestError, Unavailable
from flameduck.schema.profile import Upload
from flameduck.schema.proto import profile_pb2
from flameduck.schema.request import IngestReport
from tests.engine.ingest.made_profiles import COMMAND, START_NS, made_profile, made_total
from tests.engine.migration.pyroscope_server import IMPATIENT, MS, Fault, Pyroscope, StoreBackend, running
from tests.golden.exchanges import read_exchanges, uploads

MINUTE_MS = 60_000
COUNT = 20
END_NS = START_NS + COUNT * 10**10
CPU = "process_cpu:cpu:nanoseconds:cpu:nanoseconds"
WANTED = Wanted(end_ns=END_NS, start_ns=START_NS, step_ms=MINUTE_MS)
PODS = ("a", 'b\\c"d\ne', "")


def source_uploads(fixtures: Path) -> Iterator[Upload]:
    """A profile every ten seconds of three pods, of which one has no label; and real profiles, a moment past a ms."""
    for number in range(COUNT):
        labels = {"service_name": "made", "pod": PODS[number % 3], "dotted.name": "x"}
        yield Upload(made_profile(number), labels, f"made-{number}", rules="pyroscope")
    for number, name in enumerate(("go-cpu.pb.gz", "go-heap.pb.gz", "go-mutex.pb.gz", "node-wall.pb.gz")):
        again = profile_pb2.Profile(time_nanos=START_NS + (number + 1) * 30 * 10**9 - 1).SerializeToString()
        raw = inflated(fixtures / name) + again
        yield Upload(raw, {"service_name": name.partition(".")[0], "pod": "a"}, name, rules="pyroscope")


def inflated(path: Path) -> bytes:
    return inflate(path.read_bytes(), 1 << 30)


def make_source(name: str, made: Iterator[Upload] | list[Upload]) -> Connection:
    store = flameduck.open(f"memory://{name}")
    assert store.ingest(made).refused == ()
    return store


@pytest.fixture(scope="module")
def origin(fixtures: Path) -> Iterator[Connection]:
    """The store that the server answers from."""
    with make_source("migration-origin", source_uploads(fixtures)) as store:
        yield store


@pytest.fixture
def server(origin: Connection) -> Iterator[Pyroscope]:
    with running(StoreBackend(origin)) as server:
        yield server


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Iterator[Connection]:
    with flameduck.open(f"memory://migration-{request.node.name}") as store:
        yield store


def migrate(server: Pyroscope, target: Connection, wanted: Wanted = WANTED, **said: Any) -> IngestReport:
    migration = Migration(parse_source(server.url, **said), wanted, IMPATIENT)
    try:
        return migration.run(target.database)
    finally:
        migration.close()


def all_sets(store: Connection) -> list[dict[str, str]]:
    return sorted(store.series_labels(), key=lambda labels: sorted(labels.items()))


def assert_same(store: Connection, other: Connection) -> None:
    """Equal series, types, and call trees of every series with lines and files."""
    assert store.profile_types() == other.profile_types()
    assert all_sets(store) == all_sets(other)
    for kind in store.profile_types():
        for pod in ("", '{pod=""}', '{pod="a"}'):
            ours, theirs = (
                one.tree(pod or "{}", type=kind, granularity="line").to_dicts() for one in (store, other)
            )
            assert without_order(ours) == without_order(theirs), (kind, pod)


def without_order(nodes: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Nodes by path."""
    paths: dict[int, tuple[str, ...]] = {}
    for node in nodes:
        paths[node["node"]] = (*paths.get(node["parent"], ()), node["function"])
    return sorted((paths[node["node"]], node["self"], node["total"]) for node in nodes)


@pytest.mark.parametrize("step_ms", [MINUTE_MS, 3_600_000, 17_777])
def test_all_there_is(server: Pyroscope, origin: Connection, target: Connection, step_ms: int) -> None:
    """Slices begin and end on profiles, or a nanosecond behind them; none is lost and none is there twice."""
    report = migrate(server, target, replace(WANTED, step_ms=step_ms))
    assert report.refused == ()
    assert_same(target, origin)


def test_each_slice_keeps_its_profiles(server: Pyroscope, origin: Connection, target: Connection) -> None:
    """Ranges along the slices hold the same at both, with their ends or without."""
    migrate(server, target)
    first = START_NS // (MINUTE_MS * MS) + 1
    for minute in range(first, first + 3):
        start, end = (number * MINUTE_MS * MS for number in (minute, minute + 1))
        ours, theirs = (
            one.flamegraph('{service_name="made"}', type=CPU, start=start, end=end)
            for one in (target, origin)
        )
        assert ours.total == theirs.total > 0
        assert ours.levels == theirs.levels


def test_a_rerun_fetches_and_stores_nothing(server: Pyroscope, target: Connection) -> None:
    first = migrate(server, target)
    merges = server.calls["SelectMergeProfile"]
    again = migrate(server, target)
    assert (again.new, again.known, again.blocks) == (0, first.new, ())
    # Two series have nothing in a slice but what is on its end: that cannot be known without looking.
    assert server.calls["SelectMergeProfile"] - merges == 4
    assert again.warnings == ()


def test_other_slices_and_other_selectors_add_only_what_is_missing(
    server: Pyroscope, origin: Connection, target: Connection
) -> None:
    half_ns = START_NS + 97 * 10**9
    migrate(server, target, replace(WANTED, end_ns=half_ns, selector='{pod="a"}'))
    migrate(server, target, replace(WANTED, end_ns=half_ns, step_ms=45_000))
    migrate(server, target, replace(WANTED, start_ns=START_NS + 55 * 10**9, step_ms=3_600_000))
    migrate(server, target, replace(WANTED, start_ns=None, step_ms=25_000))
    assert_same(target, origin)


@pytest.mark.parametrize(
    ("method", "after"),
    [
        ("Series", 1),
        ("Series", 3),
        ("SelectSeries", 20),
        ("SelectMergeProfile", 0),
        ("SelectMergeProfile", 30),
    ],
)
def test_what_broke_off_goes_on(
    server: Pyroscope, origin: Connection, target: Connection, method: str, after: int
) -> None:
    server.faults = [Fault(method, 503, after=after)]
    with pytest.raises(
        Unavailable, match=r"503 Service Unavailable; \d+ new profiles are stored, a rerun goes on"
    ):
        migrate(server, target)
    stored = len(target.profiles())
    assert (stored > 0) == (after > 1)
    server.faults = []
    again = migrate(server, target)
    assert again.known == stored
    assert_same(target, origin)


def test_batches_are_durable_one_by_one(
    server: Pyroscope, target: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the process dies: an error that is none of ours is not waited for."""
    monkeypatch.setattr(run, "BATCH_S", 0.0)
    slices: list[int] = []

    def die(done: int) -> None:
        slices.append(done)
        if done == 3:
            raise KeyboardInterrupt

    migration = Migration(parse_source(server.url), WANTED, IMPATIENT)
    assert migration.open() == 4
    with pytest.raises(KeyboardInterrupt):
        migration.run(target.database, die)
    migration.close()
    assert slices == [1, 2, 3]
    assert len(target.profiles()) > 6


def test_a_killed_process_leaves_nothing_half_done(
    server: Pyroscope, origin: Connection, tmp_path: Path
) -> None:
    reached, store = threading.Event(), str(tmp_path / "store")

    def hold(data: bytes) -> bytes:
        reached.set()
        time.sleep(0.5)
        return data

    server.faults = [Fault("SelectMergeProfile", change=hold, after=10)]
    words = [
        "ingest",
        server.url,
        "--from",
        str(START_NS),
        "--to",
        str(END_NS),
        "--step",
        "1m",
        "--store",
        store,
    ]
    process = subprocess.Popen([*COMMAND, *words])
    assert reached.wait(60)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    server.faults = []
    with flameduck.open(store) as target:
        migrate(server, target)
        assert_same(target, origin)


def test_two_at_once_store_the_same_once(
    server: Pyroscope, origin: Connection, target: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither sees what the other stored, and the source numbers its answers differently each time."""
    monkeypatch.setattr(run, "read_stored", lambda *_: StoredSlices())
    migrate(server, target)
    server.faults = [Fault("SelectMergeProfile", change=renumbered)]
    again = migrate(server, target)
    assert (again.new, again.blocks) == (0, ())
    assert_same(target, origin)


def renumbered(data: bytes) -> bytes:
    message = profile_pb2.Profile.FromString(data)
    samples = list(message.sample)
    del message.sample[:]
    message.sample.extend(reversed(samples))
    message.string_table.append(b"something that nothing refers to")
    changed: bytes = message.SerializeToString()
    return changed


def test_another_source_is_another_source(server: Pyroscope, target: Connection) -> None:
    first = migrate(server, target)
    other = migrate(server, target, tenant="other")
    assert (first.new, other.new, other.known) == (first.new, first.new, 0)
    assert server.seen["X-Scope-OrgID"] == "other"


def more(by: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        message = profile_pb2.Profile.FromString(data)
        message.sample[0].value[0] += by
        changed: bytes = message.SerializeToString()
        return changed

    return change


def test_what_does_not_add_up_is_refused(server: Pyroscope, target: Connection) -> None:
    wanted = replace(WANTED, selector='{pod="a",__type__="cpu",service_name="made"}', step_ms=3_600_000)
    server.faults = [Fault("SelectMergeProfile", change=more(5))]
    report = migrate(server, target, wanted)
    (refused,) = report.refused
    assert report.new == 0
    assert refused.origin == (
        f'{server.url} {CPU} {{__name__="process_cpu","dotted.name"="x",pod="a",service_name="made"}} '
        "2025-06-15T15:06:40Z/2025-06-15T15:10:00Z"
    )
    total = made_total(range(0, COUNT, 3))
    assert refused.reason == (
        f"its samples add up to {total + 5}, the source's total of the series is {total}; "
        "--keep-mismatches stores it all the same"
    )
    kept = migrate(server, target, replace(wanted, keep_mismatches=True))
    assert (kept.new, kept.refused) == (1, ())
    assert f"add up to {total + 5}" in kept.warnings[0]


def test_what_changed_between_two_questions_is_asked_again(
    server: Pyroscope, origin: Connection, target: Connection
) -> None:
    server.faults = [Fault("SelectMergeProfile", change=more(5), times=1)]
    assert migrate(server, target).refused == ()
    assert_same(target, origin)


def test_what_changed_since_is_said(server: Pyroscope, target: Connection) -> None:
    migrate(server, target)

    def doubled(answer: Any) -> Any:
        for series in answer.get("series", ()):
            series["points"] *= 2
        return answer

    server.faults = [Fault("SelectSeries", change=doubled)]
    again = migrate(server, target)
    assert again.new == 0
    assert any("the source's total is" in text and "was" in text for text in again.warnings)


def test_a_merge_that_lacks_what_is_on_its_end_is_refused(server: Pyroscope, target: Connection) -> None:
    def other_names(data: bytes) -> bytes:
        message = profile_pb2.Profile.FromString(data)
        message.string_table[:] = [
            text + b"!" if text.startswith(b"g") else text for text in message.string_table
        ]
        changed: bytes = message.SerializeToString()
        return changed

    wanted = replace(WANTED, end_ns=START_NS + 10**10, selector='{service_name="made",__type__="cpu"}')
    # Of two series the second has one profile, on the end: it is asked for twice.
    server.faults = [Fault("SelectMergeProfile", change=other_names, after=2)]
    report = migrate(server, target, wanted)
    assert report.new == 1
    assert [one.reason for one in report.refused] == [
        f"the profiles at the slice's end hold {made_total([1])} that the merged profile does not hold"
    ]


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"\xff\xff", "is no pprof"), (b"\x12\x05\x0a\x01\x07\x12\x00", "a sample of 0 values")],
)
def test_a_bad_answer_costs_its_series_alone(
    server: Pyroscope, target: Connection, data: bytes, reason: str
) -> None:
    server.faults = [Fault("SelectMergeProfile", change=lambda _: data, times=1)]
    report = migrate(server, target)
    assert len(report.refused) == 1
    assert reason in report.refused[0].reason
    server.faults = []
    assert migrate(server, target).new == 1


def test_labels_are_added_and_the_sources_win(server: Pyroscope, target: Connection) -> None:
    wanted = replace(WANTED, labels={"cluster": "eu", "service_name": "no"})
    first = migrate(server, target, wanted)
    assert {labels["cluster"] for labels in target.series_labels()} == {"eu"}
    assert "no" not in target.label_values("service_name")
    assert migrate(server, target, wanted).known == first.new


def test_states_are_told_from_increments(server: Pyroscope, target: Connection) -> None:
    warnings = [text for text in migrate(server, target).warnings if "a state rather than" in text]
    assert [text.split(":")[1] for text in warnings] == ["inuse_objects", "inuse_space"]


def test_the_source_hides_old_profiles(server: Pyroscope, target: Connection) -> None:
    server.faults = [Fault("Series", change=lambda _: {})]
    (warning,) = migrate(server, target, replace(WANTED, start_ns=None)).warnings
    assert "keeps profiles from 2025-06-15T15:06:40Z on" in warning
    assert "max_query_lookback" in warning


@pytest.mark.parametrize(
    "stats",
    [
        {"dataIngested": True, "oldestProfileTime": "-9223372036854775808", "newestProfileTime": "1"},
        {
            "dataIngested": True,
            "oldestProfileTime": "9223372036854775807",
            "newestProfileTime": "9223372036854775807",
        },
        {"oldestProfileTime": "9223372036854775807"},
    ],
)
def test_times_that_cannot_be(server: Pyroscope, target: Connection, stats: dict[str, Any]) -> None:
    server.faults = [Fault("GetProfileStats", change=lambda _: stats)]
    report = migrate(server, target, replace(WANTED, end_ns=2**62, start_ns=None, step_ms=3_600_000))
    assert report.new == 0


def test_a_far_future_costs_nothing(server: Pyroscope, target: Connection) -> None:
    migrate(server, target, replace(WANTED, end_ns=2**62, step_ms=3_600_000))
    assert server.calls["Series"] < 30


def test_nothing_there(target: Connection) -> None:
    with flameduck.open("memory://migration-empty") as empty, running(StoreBackend(empty)) as server:
        report = migrate(server, target, replace(WANTED, start_ns=None))
    assert report == IngestReport(warnings=(f"{server.url}: it holds no profiles",))


def test_a_selector_that_does_not_parse() -> None:
    with pytest.raises(InvalidSelector):
        Migration(Source("x", "http://x"), replace(WANTED, selector="{"))
    with pytest.raises(RequestError, match="at least 1 ms"):
        Migration(Source("x", "http://x"), replace(WANTED, step_ms=0))


GOLDEN = "golden/pyroscope-v2-push.jsonl.gz"


def test_all_that_a_recording_pushed(shared: Callable[[str], Path], target: Connection) -> None:
    """Real profiles of many programs, pushed on whole seconds, in slices of a minute."""
    pushes = [one for one in read_exchanges(shared(GOLDEN)) if one.method == "Push" and one.status == 200]
    # Every fourth: they are alike.
    pushed = [upload for one in pushes[::4] for upload in uploads(one, shared, START_NS)]
    with make_source("migration-golden", pushed) as origin, running(StoreBackend(origin)) as server:
        times = [row["ts"] for row in origin.profiles().to_dicts()]
        wanted = Wanted(end_ns=max(times) + MS, selector='{service_name!=""}', step_ms=60 * MINUTE_MS)
        report = migrate(server, target, replace(wanted, start_ns=1795450019000 * MS))
        assert report.refused == ()
        assert report.new > 40
        recent = '{service_name!=""}'
        for kind in target.profile_types():
            ours, theirs = (
                one.flamegraph(recent, type=kind, max_nodes=0, start=1795450019000 * MS)
                for one in (target, origin)
            )
            assert ours.total == theirs.total
            assert ours.levels == theirs.levels
        assert migrate(server, target, replace(wanted, start_ns=1795450019000 * MS)).new == 0


def test_unreadable_json_ends_the_run(server: Pyroscope, target: Connection) -> None:
    server.faults = [Fault("SelectSeries", change=lambda _: {"series": [{"labels": 5}]})]
    with pytest.raises(InputError, match=r"the answer of SelectSeries cannot be read: Expected `array`"):
        migrate(server, target)
