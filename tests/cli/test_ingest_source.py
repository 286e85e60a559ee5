"""`flameduck ingest pyroscope://…`: what it takes, what it says, and that it shows no secret."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

import flameduck
from tests.engine.ingest.made_profiles import START_NS, made_total, made_upload
from tests.engine.migration.pyroscope_server import Fault, Pyroscope, StoreBackend, running

Run = Callable[..., Result]
TO = ("--to", str(START_NS + 60 * 10**9))


@pytest.fixture(scope="module")
def server() -> Iterator[Pyroscope]:
    with flameduck.open("memory://cli-source") as store:
        store.ingest(made_upload(number, pod=f"p{number % 2}") for number in range(6))
        with running(StoreBackend(store)) as server:
            yield server


@pytest.fixture(autouse=True)
def _no_faults(server: Pyroscope) -> None:
    server.faults = []


def test_profiles_are_taken_once(run: Run, files: Path, server: Pyroscope) -> None:
    words = ["ingest", server.url, *TO, "--store", "st", "--format", "json"]
    # Two types of two pods in two hours.
    first = json.loads(run(*words).stdout)
    assert (first["new"], first["known"], first["refused"]) == (4, 0, [])
    again = json.loads(run(*words).stdout)
    assert (again["new"], again["known"], again["blocks"]) == (0, 4, [])
    (row,) = json.loads(run("series", "--type", "cpu", "--step", "1d", "-s", "st", "-f", "json").stdout)
    assert row["value"] == made_total(range(6))


def test_a_selector_a_range_slices_and_labels(run: Run, files: Path, server: Pyroscope) -> None:
    where = ["-q", '{pod="p1",__type__="cpu"}', "--from", str(START_NS), "--step", "20s", "-l", "region=eu"]
    result = run("ingest", server.url, *TO, *where, "--store", "st")
    assert result.stdout == "3 new, 0 known, 0 refused; 1 blocks written\n"
    assert json.loads(run("labels", "--name", "region", "-s", "st", "-f", "json").stdout) == ["eu"]


def test_what_is_sent_comes_from_url_options_and_environment(
    run: Run, files: Path, server: Pyroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url.replace("//", "//me:secret@")
    result = run("ingest", url, *TO, "--source-tenant", "team", "--store", "st")
    assert server.seen["Authorization"].startswith("Basic ")
    assert server.seen["X-Scope-OrgID"] == "team"
    assert "secret" not in result.output
    monkeypatch.setenv("FLAMEDUCK_SOURCE_HEADERS", "Authorization: Bearer secret\nX-More: 1")
    run("ingest", server.url, *TO, "--store", "st")
    assert (server.seen["Authorization"], server.seen["X-More"]) == ("Bearer secret", "1")
    server.faults = [Fault(status=401)]
    refused = run("ingest", server.url, *TO, "--store", "st", code=2)
    assert "401 Unauthorized: give a user in the URL" in refused.stderr
    assert "secret" not in refused.output


def test_a_mismatch_ends_with_1(run: Run, files: Path, server: Pyroscope) -> None:
    server.faults = [Fault("SelectMergeProfile", change=lambda _: b"")]
    result = run("ingest", server.url, *TO, "--store", "st", code=1)
    assert result.stdout == "0 new, 0 known, 4 refused; 0 blocks written\n"
    assert "its samples add up to 0, the source's total of the series is" in result.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["a.pb", "--step", "1m"], "--step does not apply to files"),
        (["a.pb", "--header", "A: b"], "--header does not apply to files"),
        (["pyroscope://x", "--service", "y"], "--service does not apply to a Pyroscope"),
        (["pyroscope://x", "a.pb"], "a Pyroscope comes alone"),
        (["pyroscope://x", "--header", "secret"], "expected 'Name: value'"),
        (["pyroscope://x", "--step", "0s"], "step: 0 ms; expected at least 1 ms"),
        (["pyroscope://x", "--step", "soon"], "duration 'soon'"),
        (["pyroscope://x", "-q", "{"], "selector '{'"),
        (["pyroscope://x", "--from", "someday"], "time 'someday'"),
    ],
)
def test_what_cannot_be_meant(run: Run, files: Path, words: list[str], text: str) -> None:
    assert text in run("ingest", *words, "--store", "st", code=2).stderr
