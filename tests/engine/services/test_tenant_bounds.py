"""Names of tenants that clients make up cost nothing for good: no blocks, no buckets, no series of metrics."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flameduck.engine.head.head import HeadBatch
from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.engine.services import limits
from flameduck.engine.services.limits import Overrides, RateLimits
from flameduck.engine.services.metrics import Metrics
from flameduck.engine.services.server import Server
from flameduck.engine.services.tenant_blocks import TenantBlocks
from flameduck.engine.settings import ServerSettings, Settings
from flameduck.schema.errors import Overloaded
from flameduck.schema.request import (
    BlocksRequest,
    FlamegraphRequest,
    LabelNamesRequest,
    Rows,
    Selection,
    SqlRequest,
    TreeQuery,
)
from tests.engine.ingest.made_profiles import made_upload
from tests.engine.services.test_crash import PUSH, push_body
from tests.engine.services.test_tenant_limits import Clock
from tests.running_server import TYPE, running_server

MADE_UP = 300


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server in this process that nothing has been started of."""
    made = Server(str(tmp_path / "store"), Settings(threads=1), ServerSettings(multitenancy=True))
    yield made
    made.stop()


def commit(server: Server, tenant: str, number: int) -> None:
    """Make a profile durable in the head."""
    ((batch, _),) = decode_and_normalise([made_upload(number)], DecodeLimits()).batches
    assert server.ingester.head.commit([HeadBatch(tenant, [batch])]) == [None]


def held(server: Server) -> int:
    """Tenants whose blocks are held."""
    gc.collect()
    return len(server.tenant_blocks)


def test_tenants_that_are_only_asked_about_are_forgotten(server: Server, tmp_path: Path) -> None:
    assert server.querier.sql("made-up", SqlRequest("SELECT 1 AS one"), "json").result() == b'[{"one": 1}]'
    for number in range(MADE_UP):
        tenant = f"made-up-{number}"
        for request in (
            LabelNamesRequest(Selection()),
            BlocksRequest(),
            FlamegraphRequest(TreeQuery(Selection(profile_type=TYPE)), 100),
        ):
            server.querier.ask(tenant, request)
    assert held(server) == 0
    assert {one.name for one in (tmp_path / "store").iterdir()} == {"_head"}


def test_tenants_with_profiles_are_kept(server: Server) -> None:
    def profiles(tenant: str) -> int:
        rows = server.querier.ask(tenant, BlocksRequest())
        assert isinstance(rows, Rows)
        return sum(rows.table.column("profiles").to_pylist())

    commit(server, "acme", 0)
    assert profiles("acme") == 2
    assert held(server) == 1
    commit(server, "stored", 1)
    server.ingester.flush()
    first = server.tenant_blocks.of("stored")
    assert held(server) == 2
    assert profiles("stored") == profiles("acme") == 2
    assert server.tenant_blocks.of("stored") is first


def test_the_blocks_of_so_many_tenants_stay_open(server: Server) -> None:
    for number, tenant in enumerate("abc"):
        commit(server, tenant, number)
    server.ingester.flush()
    few = TenantBlocks(server.tenant_blocks._make, most=2)
    for tenant in "abc":
        mine = few.of(tenant)
        mine.state()
        assert few.of(tenant) is mine
    del mine
    gc.collect()
    assert len(few) == 2
    mine = few.of("a")
    mine.state()
    assert few.of("a") is mine
    gc.collect()
    assert len(few) == 2


def test_further_tenants_are_counted_together() -> None:
    metrics = Metrics(2)
    for number in range(5):
        metrics.received_profiles.labels(f"tenant{number}").inc(10)
        metrics.discard(f"tenant{number}", "rate_limited", 1, 100)
    metrics.received_profiles.labels("tenant0").inc()
    text = metrics.exposition().decode()
    assert 'flameduck_received_profiles_total{tenant="tenant0"} 11.0' in text
    assert 'flameduck_received_profiles_total{tenant="other"} 30.0' in text
    assert 'pyroscope_discarded_bytes_total{reason="rate_limited",tenant="other"} 300.0' in text
    assert set(re.findall(r'tenant="(\w+)"', text)) == {"tenant0", "tenant1", "other"}


def test_buckets_that_are_full_again_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_BUCKETS", 10)
    path, clock = tmp_path / "limits.toml", Clock()
    path.write_text("[default]\ningestion_rate_mb = 1\n[tenants.slow]\ningestion_rate_mb = 0.001\n")
    rates = RateLimits(Overrides(str(path)), clock)
    rates.take("slow", 1000)
    for number in range(1000):
        rates.take(f"made-up-{number}", 1 << 10)
        clock.now += 0.0005
    assert len(rates._buckets) <= 20
    with pytest.raises(Overloaded):
        rates.take("slow", 1040)


def test_a_server_names_only_so_many_tenants(tmp_path: Path) -> None:
    options = ("--multitenancy", "--metrics-tenants", "3")
    with running_server(tmp_path / "store", *options) as running:
        for number in range(6):
            running.answer(PUSH, push_body(number), **{"x-scope-orgid": f"t{number}"})
            running.answer(
                "querier.v1.QuerierService/ProfileTypes", {}, **{"x-scope-orgid": f"asked{number}"}
            )
        text = running.http.get("/metrics").text
    assert set(re.findall(r'tenant="(\w+)"', text)) == {"t0", "t1", "t2", "other"}
    assert 'flameduck_received_profiles_total{tenant="other"} 3.0' in text
