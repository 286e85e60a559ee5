"""Real programs under Pyroscope's own SDKs: what they were busy with is found by a question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.clients.toolchains import RUN
from tests.engine.services.writing import any_range, labels, names, types
from tests.running_server import TYPE, RunningServer, running_server

WALL_CPU = "wall:cpu:nanoseconds:wall:nanoseconds"


@dataclass(frozen=True)
class Expected:
    """What a program leaves: its busy function by type, some labels, and other types that are there."""

    function: str
    profile_type: str
    labels: Mapping[str, str]
    types: tuple[str, ...] = ()
    least_ns: int = 5 * 10**7


EXPECTED = {
    "python": Expected(
        "price_orders",
        TYPE,
        {"endpoint": "checkout", "otel.scope.name": "com.grafana.pyroscope/python"},
        ("memory:alloc_space:bytes:space:bytes", "memory:inuse_objects:count:space:bytes"),
    ),
    "node": Expected(
        "priceOrders",
        WALL_CPU,
        {"pyroscope_spy": "nodespy", "otel.scope.name": "com.grafana.pyroscope/nodejs"},
        ("wall:wall:nanoseconds:wall:nanoseconds", "memory:inuse_space:bytes:inuse_space:bytes"),
    ),
    "go": Expected(
        "main.priceOrders",
        TYPE,
        {"pyroscope_spy": "gospy"},
        ("memory:inuse_space:bytes:space:bytes", "goroutines:goroutine:count:goroutine:count"),
    ),
    "java": Expected("Orders.priceOrders", TYPE, {"pyroscope_spy": "javaspy", "jfr_event": "itimer"}),
    "rust": Expected("orders::price_orders", TYPE, {"otel.scope.name": "com.grafana.pyroscope/rust"}),
}
NIGHTLY = ("java", "rust")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("sdks")
    with running_server(folder / "store", *any_range(folder)) as one:
        yield one


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "language",
    [pytest.param(name, marks=[pytest.mark.nightly] if name in NIGHTLY else []) for name in EXPECTED],
)
def test_what_a_program_was_busy_with_is_found(server: RunningServer, language: str) -> None:
    service, expected = f"{language}-orders", EXPECTED[language]
    RUN[language](server.url, service)
    selector = f'{{service_name="{service}",region="eu"}}'
    found = names(server, selector, expected.profile_type)
    (busy,) = [value for name, value in found.items() if expected.function in name]
    assert busy >= expected.least_ns
    # It does nothing else: what the SDK itself costs, and waiting, is little.
    assert busy > 0.5 * found["total"]
    assert {expected.profile_type, *expected.types} <= types(server, selector)
    series = labels(server, selector)
    for name, value in expected.labels.items():
        assert any(each.get(name) == value for each in series), (name, series)
    # The same after the flush.
    assert server.http.post("/flush").status_code == 204
    assert names(server, selector, expected.profile_type) == found
