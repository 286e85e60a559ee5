"""`flameduck upload`: pprof files to a running server, by the push API."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.ingest.made_profiles import command
from tests.engine.services.writing import any_range, labels, names, raw, small_pprof
from tests.running_server import RunningServer, free_port, running_server

HEADER = "x-scope-orgid"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("upload")
    with running_server(folder / "store", "--multitenancy", *any_range(folder)) as one:
        one.http.headers[HEADER] = "acme"
        yield one


def test_files_are_pushed_once(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "a.pb.gz").write_bytes(raw(small_pprof(value=3), zipped=True))
    (tmp_path / "b.pb").write_bytes(raw(small_pprof(value=40, time_ns=time.time_ns())))
    words = (
        "upload",
        tmp_path,
        "--url",
        server.url,
        "--tenant",
        "acme",
        "--service",
        "up",
        "-l",
        "region=eu",
    )
    for _ in range(2):
        done = command(*words)
        assert (done.returncode, done.stdout, done.stderr) == (0, "2 pushed, 0 refused\n", "")
    assert names(server, '{service_name="up",region="eu"}')["total"] == 43


def total_between(server: RunningServer, service: str, start_ms: int, end_ms: int) -> int:
    query = {
        "profileTypeID": "process_cpu:cpu:nanoseconds:cpu:nanoseconds",
        "labelSelector": f'{{service_name="{service}"}}',
        "start": start_ms,
        "end": end_ms,
    }
    reply = server.answer("querier.v1.QuerierService/SelectMergeStacktraces", query)
    return int(reply["flamegraph"].get("total", 0))


def test_times(server: RunningServer, tmp_path: Path) -> None:
    """Of the file where the profile has none; `--time` replaces any."""
    path = tmp_path / "timeless.pb"
    path.write_bytes(raw(small_pprof(value=5)))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    words = ("upload", path, "--url", server.url, "--tenant", "acme")
    assert command(*words, "--service", "of-file").returncode == 0
    assert total_between(server, "of-file", 1_700_000_000_000, 1_700_000_000_000) == 5
    path.write_bytes(raw(small_pprof(value=6, time_ns=1_700_000_000 * 10**9)))
    assert command(*words, "--service", "said", "--time", "1750000000").returncode == 0
    assert total_between(server, "said", 1_750_000_000_000, 1_750_000_000_000) == 6


@pytest.mark.parametrize(
    ("fixture", "options", "name"),
    [
        ("go-heap.pb.gz", (), "memory"),
        ("node-wall.pb.gz", (), "wall"),
        ("go-mutex.pb.gz", ("--name", "mutex"), "mutex"),
        ("go-block.pb.gz", ("--label", "__name__=block"), "block"),
    ],
)
def test_names(
    server: RunningServer, fixtures: Path, fixture: str, options: tuple[str, ...], name: str
) -> None:
    words = ("upload", fixtures / fixture, "--url", server.url, "--tenant", "acme", "--service", fixture)
    assert command(*words, *options).returncode == 0
    assert {each["__name__"] for each in labels(server, f'{{service_name="{fixture}"}}')} == {name}


def test_bad_files_beside_a_good_one(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "good.pb").write_bytes(raw(small_pprof(value=9)))
    (tmp_path / "junk.pb").write_bytes(b"junk")
    (tmp_path / "broken.pb.gz").write_bytes(gzip.compress(raw(small_pprof()))[:40])
    (tmp_path / "empty.pb").write_bytes(b"")
    dashed = small_pprof(kind=("in-use", "bytes"))
    (tmp_path / "dashed.pb").write_bytes(raw(dashed))
    words = ("upload", tmp_path, "--url", server.url, "--tenant", "acme", "--service", "beside")
    done = command(*words)
    assert (done.returncode, done.stdout) == (1, "1 pushed, 4 refused\n")
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    for file, text in (
        ("junk.pb", ""),
        ("broken.pb.gz", "gzip"),
        ("empty.pb", ""),
        ("dashed.pb", "contains -"),
    ):
        assert any(file in line and text in line for line in lines), (file, lines)
    assert names(server, '{service_name="beside"}')["total"] == 9


def test_without_a_tenant(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "a.pb").write_bytes(raw(small_pprof()))
    done = command("upload", tmp_path / "a.pb", "--url", server.url)
    assert (done.returncode, done.stdout) == (1, "0 pushed, 1 refused\n")
    assert "no org id" in done.stderr


def test_no_server(tmp_path: Path) -> None:
    (tmp_path / "a.pb").write_bytes(raw(small_pprof()))
    done = command("upload", tmp_path / "a.pb", "--url", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert done.stderr.startswith("flameduck: http://127.0.0.1:")
    assert len(done.stderr.splitlines()) == 1


def test_a_label_that_is_none(tmp_path: Path) -> None:
    done = command("upload", tmp_path, "--label", "region")
    assert done.returncode == 2
    assert "expected KEY=VALUE" in done.stderr
