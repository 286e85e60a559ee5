"""Limits by tenant, from a file that is read again; each is enforced, named and counted."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flameduck.engine.services.limits import DEFAULTS, Overrides, RateLimits
from flameduck.schema.errors import Overloaded, SettingsError
from flameduck.schema.proto import profile_pb2
from tests.engine.services.writing import PUSH, any_range, metric, raw, small_pprof
from tests.running_server import RunningServer, running_server

MB = 1 << 20

TABLES = """
[tenants.size]
max_profile_size_bytes = 100
[tenants.samples]
max_profile_stacktrace_samples = 2
[tenants.sample_labels]
max_profile_stacktrace_sample_labels = 1
[tenants.names]
max_label_names_per_series = 3
[tenants.name]
max_label_name_length = 12
[tenants.value]
max_label_value_length = 12
[tenants.old]
reject_older_than = "1h"
[tenants.new]
reject_newer_than = "1m"
[tenants.rate]
ingestion_rate_mb = 0.0001
ingestion_burst_size_mb = 0.001
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("limits")
    with running_server(folder / "store", "--multitenancy", *any_range(folder, TABLES)) as one:
        yield one


def push(server: RunningServer, tenant: str, data: bytes, **said: str) -> httpx.Response:
    listed = {"__name__": "process_cpu", "service_name": "s", **said}
    one = {
        "labels": [{"name": name, "value": value} for name, value in listed.items()],
        "samples": [{"rawProfile": base64.b64encode(data).decode()}],
    }
    return server.rpc(PUSH, {"series": [one]}, **{"x-scope-orgid": tenant})


def with_labels(*keys: str) -> profile_pb2.Profile:
    """A profile whose one sample has labels."""
    profile = small_pprof()
    for key in keys:
        profile.string_table.append(key.encode())
        number = len(profile.string_table) - 1
        profile.sample[0].label.add(key=number, str=number)
    return profile


def with_samples(count: int) -> profile_pb2.Profile:
    """A profile of so many samples."""
    profile = small_pprof()
    for _ in range(count - 1):
        profile.sample.append(profile.sample[0])
    return profile


# What is pushed: bytes, or the time of a small profile in seconds from now.
CASES: list[tuple[str, bytes | int, dict[str, str], str, str]] = [
    ("size", raw(with_samples(30)), {}, "profile_size_limit", "limit of 100 bytes"),
    ("samples", raw(with_samples(3)), {}, "samples_limit", "3 samples; limit 2"),
    ("sample_labels", raw(with_labels("a", "b")), {}, "sample_labels_limit", "2 labels; limit 1"),
    ("names", raw(small_pprof()), {"a": "1", "b": "2"}, "max_label_names_per_series", "limit 3"),
    ("names", raw(with_labels("a", "b")), {}, "max_label_names_per_series", "limit 3"),
    ("name", raw(small_pprof()), {"n" * 13: "x"}, "label_name_too_long", "13 bytes; limit 12"),
    ("value", raw(small_pprof()), {"n": "x" * 13}, "label_value_too_long", "13 bytes; limit 12"),
    ("old", -7200, {}, "not_in_ingestion_window", "outside of"),
    ("new", 300, {}, "not_in_ingestion_window", "outside of"),
    ("any", b"junk", {}, "malformed_profile", "malformed"),
    ("any", 3600, {}, "not_in_ingestion_window", "outside of"),
]


@pytest.mark.parametrize(("tenant", "pushed", "said", "reason", "text"), CASES)
def test_each_limit_is_named_and_counted(
    server: RunningServer, tenant: str, pushed: bytes | int, said: dict[str, str], reason: str, text: str
) -> None:
    data = pushed if isinstance(pushed, bytes) else raw(small_pprof(time_ns=time.time_ns() + pushed * 10**9))
    counters = {
        "flameduck_discarded_profiles_total": 1,
        "pyroscope_discarded_samples_total": 1,
        "pyroscope_discarded_bytes_total": len(data),
    }
    before = {name: metric(server, name, tenant=tenant, reason=reason) for name in counters}
    reply = push(server, tenant, data, **said)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_argument"), reply.text
    assert text in reply.json()["message"]
    for name, step in counters.items():
        assert metric(server, name, tenant=tenant, reason=reason) == before[name] + step


def test_other_tenants_keep_the_defaults(server: RunningServer) -> None:
    for data in (raw(with_samples(30)), raw(with_labels("a", "b"))):
        assert push(server, "other", data, a="1", b="2").status_code == 200
    assert push(server, "other", raw(small_pprof(time_ns=1_000_000_000 * 10**9))).status_code == 200


def test_a_rate(server: RunningServer) -> None:
    data = raw(with_samples(60))
    replies = [push(server, "rate", data) for _ in range(6)]
    assert replies[0].status_code == 200
    last = replies[-1]
    assert (last.status_code, last.json()["code"]) == (429, "resource_exhausted")
    assert "push rate limit (0.0001 MiB/s) exceeded" in last.json()["message"]
    assert int(last.headers["retry-after"]) >= 1
    assert metric(server, "pyroscope_discarded_samples_total", tenant="rate", reason="rate_limited") >= 1
    params = {"name": "x", "format": "pprof"}
    headers = {"x-scope-orgid": "rate"}
    assert server.http.post("/ingest", params=params, content=data, headers=headers).status_code == 429


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path, clock = tmp_path / "limits.toml", Clock()
    path.write_text(
        "[default]\nmax_label_names_per_series = 40\n[tenants.acme]\nmax_profile_size_bytes = 5\n"
    )
    overrides = Overrides(str(path), clock)
    assert overrides.of("acme").max_profile_size_bytes == 5
    assert overrides.of("acme").max_label_names_per_series == 40
    assert overrides.of("other").max_profile_size_bytes == DEFAULTS.max_profile_size_bytes
    path.write_text("[tenants.acme]\nmax_profile_size_bytes = 123\n")
    clock.now += 1
    assert overrides.of("acme").max_profile_size_bytes == 5
    clock.now += 10
    assert overrides.of("acme").max_profile_size_bytes == 123
    assert overrides.of("other").max_label_names_per_series == DEFAULTS.max_label_names_per_series


@pytest.mark.parametrize("later", ["[tenants.acme]\nnonsense = 1\n", "not toml", None])
def test_a_file_that_became_wrong_changes_nothing(tmp_path: Path, later: str | None) -> None:
    path, clock = tmp_path / "limits.toml", Clock()
    path.write_text("[tenants.acme]\nmax_profile_size_bytes = 5\n")
    overrides = Overrides(str(path), clock)
    if later is None:
        path.unlink()
    else:
        path.write_text(later)
    clock.now += 10
    assert overrides.of("acme").max_profile_size_bytes == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[defaults]\n", "unknown table 'defaults'"),
        ("[default]\nmax_label_name = 1\n", "unknown limit 'max_label_name'"),
        ("[default]\nmax_label_name_length = 'x'\n", "max_label_name_length must be int, got 'x'"),
        ("[default]\nmax_label_name_length = true\n", "must be int, got True"),
        ("[default]\nmax_label_name_length = -1\n", "must be 0 or more, got -1"),
        (
            "[tenants.a]\ncompactor_blocks_retention_period = 30\n",
            "tenants.a.compactor_blocks_retention_period must be str, got 30",
        ),
        (
            "[tenants.a]\ncompactor_blocks_retention_period = '30 moons'\n",
            "tenants.a.compactor_blocks_retention_period: ",
        ),
        (
            "[default]\ncompactor_blocks_retention_size_mb = -0.5\n",
            "compactor_blocks_retention_size_mb must be 0 or more, got -0.5",
        ),
        ("[tenants.acme]\nreject_older_than = 'soon'\n", "tenants.acme.reject_older_than"),
        ("[default]\ningestion_rate_mb = nan\n", "ingestion_rate_mb"),
        ("tenants = 5\n", "tenants"),
        ("[tenants]\nacme = 5\n", "tenants.acme"),
        ("default = 5\n", "default"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        Overrides(str(path))
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_bucket_fills_with_time(tmp_path: Path) -> None:
    path, clock = tmp_path / "limits.toml", Clock()
    path.write_text("[tenants.acme]\ningestion_rate_mb = 1\ningestion_burst_size_mb = 2\n")
    rates = RateLimits(Overrides(str(path)), clock)
    rates.take("acme", 2 * MB)
    with pytest.raises(Overloaded):
        rates.take("acme", 1)
    clock.now += 0.5
    rates.take("acme", MB // 2)
    with pytest.raises(Overloaded):
        rates.take("acme", 1)
    rates.take("other", 100 * MB)
    clock.now += 1000
    # Larger than the bucket: it passes when that is full, and is paid for later.
    rates.take("acme", 3 * MB)
    clock.now += 1
    with pytest.raises(Overloaded):
        rates.take("acme", 1)
