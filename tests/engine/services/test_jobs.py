"""The compactor of a running server: what it does on request and on schedule, and when it is killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import flameduck
from flameduck.engine.compaction.levels import HOUR_NS
from flameduck.engine.inspection import Inspection
from flameduck.engine.services.job_book import REQUESTS_A_MINUTE
from flameduck.engine.settings import Settings
from flameduck.engine.storage.objects import open_objects
from tests.engine.compaction.made_blocks import Made, put_blocks, store_of, upload
from tests.engine.ingest.made_profiles import answers, command, cpu_total, problems
from tests.engine.services.jobs import caught, child_of, compact, ended, jobs, left_alone, until
from tests.engine.services.test_unwritable import immutable
from tests.engine.services.writing import metric
from tests.running_server import RunningServer, running_server
from tests.servers import S3Process

STEP_NS = HOUR_NS // 2
HOURLY: Sequence[Sequence[Made]] = [
    [(number, number, ("cart", "checkout")[number % 2], number % 3 == 0)] for number in range(12)
]
"""Twelve blocks over six hours, and copies of some in further ones."""
COPIES: Sequence[Sequence[Made]] = [HOURLY[number] for number in (3, 7)]
NEVER = ("--merge-every-s", "0", "--compaction-every-s", "0")
OFTEN = ("--merge-every-s", "0", "--compaction-every-s", "1")


def made_store(directory: Path, blocks: Sequence[Sequence[Made]] = (*HOURLY, *COPIES)) -> Path:
    return store_of(directory / "store", blocks, STEP_NS)


def block_rows(store: Path, tenant: str = "anonymous") -> list[dict[str, Any]]:
    """The live blocks, as the store itself has them."""
    state = Inspection(str(store), tenant, Settings()).state
    return [
        {"ulid": ulid, "level": entry.level, "profiles": entry.profiles}
        for ulid, entry in state.blocks.items()
    ]


def test_on_request(tmp_path: Path) -> None:
    store = made_store(tmp_path)
    expected, total = answers(store), cpu_total(store)
    with running_server(store, *NEVER) as server:
        asked = asking_all_the_time(server, total)
        job = compact(server)
        assert (job["kind"], job["trigger"], job["tenant"]) == ("compact", "request", "anonymous")
        assert job["state"] in ("queued", "running")
        done = ended(server, job["id"])
        assert asked() > 0
        assert (done["state"], done["attempts"], done["error"], done["problems"]) == ("done", 1, "", [])
        assert (done["before"]["blocks"], done["after"]["blocks"]) == (14, 1)
        assert (done["before"]["profiles"], done["after"]["profiles"]) == (2 * 14, 2 * 12)
        (block,) = block_rows(store)
        (step,) = done["steps"]
        assert (step["block"], step["level"]) == (block["ulid"], 1) == (block["ulid"], block["level"])
        assert answers(server.url) == expected
        # Nothing is left of it, neither work nor a process.
        until(lambda: child_of(server) is None, seconds=10)
        reply = server.http.post("/api/v1/jobs/compact")
        assert (reply.status_code, reply.json()) == (200, {"job": None})
        assert metric(server, "flameduck_jobs_total", kind="compact", outcome="done") == 1
        assert metric(server, "flameduck_job_blocks_total", direction="in", kind="compact") == 14
        assert metric(server, "flameduck_job_seconds_count", kind="compact") == 1
        assert (
            abs(metric(server, "flameduck_job_last_success_timestamp_seconds", kind="compact") - time.time())
            < 60
        )
        (line,) = [one for one in logged(server) if f"job {job['id']}" in one["message"]]
        assert "compact of anonymous: 14 blocks of " in line["message"]
        assert " became 1 of " in line["message"]
    assert problems(store) == []


def asking_all_the_time(server: RunningServer, total: int) -> Any:
    """Ask in a thread; what is returned ends that, checks the answers and says how many there were."""
    stopped = threading.Event()
    totals: list[int] = []

    def ask() -> None:
        while not stopped.is_set():
            totals.append(server.total())

    thread = threading.Thread(target=ask)
    thread.start()

    def end() -> int:
        stopped.set()
        thread.join()
        assert set(totals) == {total}
        return len(totals)

    return end


def logged(server: RunningServer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]


def test_on_schedule(tmp_path: Path) -> None:
    store = made_store(tmp_path)
    expected = answers(store)
    with running_server(store, *OFTEN) as server:
        until(lambda: len(block_rows(store)) == 1)
        assert answers(server.url) == expected
        (job,) = until(lambda: [one for one in jobs(server) if one["state"] == "done"])
        assert (job["kind"], job["trigger"]) == ("compact", "schedule")
        until(lambda: metric(server, "flameduck_blocks", level="1") == 1)
        time.sleep(3)
        assert len(jobs(server)) == 1
        assert child_of(server) is None


def test_small_blocks_are_merged_after_flushes(tmp_path: Path) -> None:
    options = ("--merge-every-s", "1", "--compaction-every-s", "0")
    with running_server(tmp_path / "store", *options) as server:
        for number in range(9):
            reply = server.http.post(
                "/ingest",
                params={"name": "app.cpu", "from": str(1_750_000_000 + number), "format": "folded"},
                content=b"main;work 1\n",
            )
            assert reply.status_code == 200, reply.text
            assert server.http.post("/flush").status_code == 204
        until(lambda: len(block_rows(tmp_path / "store")) < 3)
        (job,) = until(lambda: [one for one in jobs(server) if one["state"] == "done"][:1])
        assert (job["kind"], job["trigger"]) == ("merge", "schedule")


def test_the_process_is_modest(tmp_path: Path) -> None:
    with running_server(made_store(tmp_path), *NEVER, FLAMEDUCK_COMPACTION_THREADS="1") as server:
        job = compact(server)
        child = until(lambda: child_of(server), pause_s=0.005)
        until(lambda: child.nice() == 19, pause_s=0.005)
        child.suspend()
        if hasattr(psutil, "IOPRIO_CLASS_IDLE"):
            assert child.ionice().ioclass == psutil.IOPRIO_CLASS_IDLE
        (running,) = jobs(server)
        assert (running["state"], running["pid"]) == ("running", child.pid)
        # Ctrl-C goes to the server's process group: the server decides what it means.
        assert os.getpgid(child.pid) == child.pid
        assert psutil.Process(server.process.pid).nice() == psutil.Process().nice()
        child.resume()
        assert ended(server, job["id"])["state"] == "done"


def test_a_killed_process_costs_nothing_and_is_tried_again(tmp_path: Path) -> None:
    store = made_store(tmp_path)
    expected = answers(store)
    with running_server(store, *NEVER) as server:
        job = compact(server)
        caught(server).kill()
        failed = until(lambda: next((one for one in jobs(server) if one["error"]), None))
        assert (failed["id"], failed["state"], failed["attempts"]) == (job["id"], "queued", 1)
        assert failed["error"] == "its process ended by signal 9"
        assert failed["retry"] > failed["started"]
        assert len(block_rows(store)) == 14
        assert answers(server.url) == expected
        assert metric(server, "flameduck_jobs_total", kind="compact", outcome="failed") == 1
        (line,) = [
            one for one in logged(server) if "blocks of anonymous were not compacted" in one["message"]
        ]
        assert "signal 9" in line["message"]
        assert 3 < line["retry_s"] < 7
        done = ended(server, job["id"])
        assert (done["state"], done["attempts"], done["error"]) == ("done", 2, "")
        assert answers(server.url) == expected
    assert len(block_rows(store)) == 1
    assert problems(store) == []


@pytest.mark.parametrize(
    "kills", [1, pytest.param(60, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])]
)
def test_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path, kills: int) -> None:
    """Whoever asks again has a killed job begun again at once."""
    chance = random.Random(20_261_128)
    blocks = [*HOURLY, *COPIES]
    store = made_store(tmp_path, blocks)
    expected, total = answers(store), cpu_total(store)
    killed = 0
    with running_server(store, *NEVER) as server:
        while killed < kills:
            server.http.post("/api/v1/jobs/compact")
            child = child_of(server)
            time.sleep(chance.uniform(0, 2))
            if child is not None:
                # It may have come to its end by itself.
                with suppress(psutil.NoSuchProcess):
                    child.kill()
                    killed += 1
            assert server.total() == total
            if len(block_rows(store)) == 1:
                store_of(store, blocks, STEP_NS)
                time.sleep(60 / REQUESTS_A_MINUTE)
        until(lambda: server.http.post("/api/v1/jobs/compact").json() == {"job": None}, pause_s=1)
        assert answers(server.url) == expected
    assert len(block_rows(store)) == 1
    assert problems(store) == []


@pytest.mark.parametrize(
    "kills", [1, pytest.param(40, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])]
)
def test_a_killed_server_leaves_no_process_at_work(tmp_path: Path, kills: int) -> None:
    """At different moments of the job, the start of its process among them."""
    blocks = [*HOURLY, *COPIES]
    store = made_store(tmp_path, blocks)
    expected = answers(store)
    for kill in range(kills):
        kill_server(store, 2.0 * kill / kills)
        assert problems(store) == []
        assert answers(store) == expected
        # One that was quick enough gets more to do: copies of what is there.
        if len(block_rows(store)) == 1:
            store_of(store, blocks, STEP_NS)
    with running_server(store, *OFTEN) as server:
        wait_for_one_block(store)
        assert answers(server.url) == expected


def kill_server(store: Path, after_s: float) -> None:
    """So long after the process for the job was started; the process is gone afterwards."""
    with running_server(store, *NEVER) as server:
        compact(server)
        child = until(lambda: child_of(server), pause_s=0.005)
        time.sleep(after_s)
        server.kill()
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, seconds=30)


def wait_for_one_block(store: Path) -> None:
    until(lambda: len(block_rows(store)) == 1)


def test_a_server_that_stops_does_not_wait_for_a_job(tmp_path: Path) -> None:
    store = made_store(tmp_path)
    with running_server(store, *NEVER) as server:
        compact(server)
        child = caught(server)
        begun_s = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun_s < 15
        assert not child.is_running()
    assert "were not compacted" not in server.log.read_text()


def test_what_takes_too_long_or_too_much_is_ended(tmp_path: Path) -> None:
    store = made_store(tmp_path)
    with running_server(store, *NEVER, "--compaction-seconds", "1") as server:
        compact(server)
        child = caught(server)
        error = until(lambda: jobs(server)[0]["error"])
        assert error == "a step took more than 1 s, and was stopped; limit compaction_seconds"
        assert not child.is_running()
    with running_server(store, *NEVER, "--compaction-memory-bytes", "30000000") as server:
        compact(server)
        error = until(lambda: jobs(server)[0]["error"])
        assert "bytes of memory; limit compaction_memory_bytes 30000000" in error
    assert len(block_rows(store)) == 14


def test_a_block_that_does_not_hold_is_told_and_not_tried_again_and_again(tmp_path: Path) -> None:
    store = made_store(tmp_path, HOURLY)
    damaged = sorted(store.glob("anonymous/blocks/*/samples.parquet"))[4]
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-20])
    with running_server(store, *OFTEN) as server:
        job = until(lambda: next((one for one in jobs(server) if one["ended"]), None))
        assert job["state"] == "partly"
        (problem,) = job["problems"]
        ulid = damaged.parent.name
        assert problem.startswith(f"block {ulid}: samples.parquet: ")
        (alone,) = left_alone(server)
        assert (alone["tenant"], alone["block"]) == ("anonymous", ulid)
        assert (job["before"]["blocks"], job["after"]["blocks"]) == (11, 1)
        time.sleep(4)
        assert [one["id"] for one in jobs(server)] == [job["id"]]
        assert metric(server, "flameduck_blocks_left_alone") == 1
        assert metric(server, "flameduck_jobs_total", kind="compact", outcome="partly") == 1
        assert sum(f"block {ulid}: samples.parquet: " in one["message"] for one in logged(server)) == 1
    with running_server(store, *OFTEN) as server:
        # A restart does not read it again, and tells of it.
        until(lambda: metric(server, "flameduck_blocks_left_alone") == 1)
        assert left_alone(server)[0]["block"] == ulid
        time.sleep(2)
        assert list(jobs(server)) == []
        # Who has repaired it says so.
        damaged.write_bytes(whole)
        released = command("blocks", "quarantine", "--store", store, "--release", ulid)
        assert released.returncode == 0, released.stderr
        until(lambda: len(block_rows(store)) == 1)
        until(lambda: not left_alone(server))
    assert problems(store) == []


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    store = made_store(tmp_path)
    with running_server(store, *NEVER, "--data-dir", str(tmp_path / "data")) as server:
        with immutable(None, store / "anonymous" / "blocks"):
            compact(server)
            failed = until(lambda: next((one for one in jobs(server) if one["error"]), None))
            assert failed["state"] == "queued"
            assert str(store / "anonymous" / "blocks") in failed["error"]
            assert server.total() == cpu_total(store)
        assert ended(server, failed["id"])["attempts"] > 1
    assert len(block_rows(store)) == 1


def test_who_asks_twice_gets_the_same_job(tmp_path: Path) -> None:
    unlimited = ("--compaction-memory-bytes", "0", "--compaction-seconds", "0")
    with running_server(made_store(tmp_path), *NEVER, *unlimited) as server:
        job = compact(server)
        child = caught(server)
        again = server.http.post("/api/v1/jobs/compact")
        assert (again.status_code, again.json()["job"]["id"]) == (200, job["id"])
        child.resume()
        assert ended(server, job["id"])["attempts"] == 1


def test_two_tenants(tmp_path: Path) -> None:
    store = tmp_path / "store"
    for tenant in ("acme", "other"):
        fill(store, tenant, range(3))
    with running_server(store, *NEVER, "--multitenancy") as server:
        job = compact(server, **{"x-scope-orgid": "acme"})
        done = ended(server, job["id"], **{"x-scope-orgid": "acme"})
        assert (done["tenant"], done["before"]["blocks"]) == ("acme", 3)
        assert list(jobs(server, **{"x-scope-orgid": "other"})) == []
        assert [one["tenant"] for one in jobs(server, "/api/v1/status/jobs")] == ["acme"]
        assert server.http.get("/api/v1/jobs").status_code == 401
        nobody = server.http.post("/api/v1/jobs/compact", headers={"x-scope-orgid": "nobody"})
        assert (nobody.status_code, nobody.json()) == (200, {"job": None})
    assert (len(block_rows(store, "acme")), len(block_rows(store, "other"))) == (1, 3)
    assert not (store / "nobody").exists()


def fill(store: Path, tenant: str, numbers: Sequence[int]) -> None:
    """A block for each profile, hours apart."""
    for number in numbers:
        with flameduck.open(store, tenant=tenant) as db:
            db.ingest([upload((number, number, "cart", False), STEP_NS)])


def test_the_command_line_asks_and_lists(tmp_path: Path) -> None:
    store = made_store(tmp_path)
    alone = command("jobs", "--store", store)
    assert (alone.returncode, alone.stdout) == (2, "")
    assert "no server keeps it" in alone.stderr
    with running_server(store, *NEVER) as server:
        done = command("compact", "--url", server.url, "--format", "json")
        assert done.returncode == 0, done.stderr
        (row,) = json.loads(done.stdout)
        assert (row["level"], row["blocks"], row["profiles_before"], row["profiles"]) == (1, 14, 28, 24)
        assert row["block"] == block_rows(store)[0]["ulid"]
        assert json.loads(command("compact", "--url", server.url, "--format", "json").stdout) == []
        # A local store is asked about by its server.
        (job,) = json.loads(command("jobs", "--store", store, "--format", "json").stdout)
        assert (job["state"], job["blocks_before"], job["blocks_after"]) == ("done", 14, 1)
        assert command("jobs", "--url", server.url, "--all-tenants").stdout.count("compact") == 1
        store_of(store, [[(50, 1, "cart", False)]], STEP_NS)
        damaged = max(store.glob("anonymous/blocks/*/samples.parquet"))
        damaged.write_bytes(damaged.read_bytes()[:-20])
        told = command("compact", "--url", server.url)
        assert told.returncode == 1
        assert f"flameduck: block {damaged.parent.name}: samples.parquet: " in told.stderr
        assert (
            f"note: block {damaged.parent.name} of anonymous is left alone"
            in command("jobs", "--url", server.url).stderr
        )


def test_the_command_line_tells_why_a_job_failed(tmp_path: Path) -> None:
    with running_server(made_store(tmp_path), *NEVER, "--compaction-memory-bytes", "30000000") as server:
        failed = command("compact", "--url", server.url)
        assert failed.returncode == 1
        assert "limit compaction_memory_bytes 30000000; it is tried again at 20" in failed.stderr


def test_what_is_kept_long_enough_goes_by_age_and_by_size(tmp_path: Path) -> None:
    store = tmp_path / "store"
    for tenant in ("aged", "large", "kept"):
        fill(store, tenant, range(4))
    size_mb = sum(path.stat().st_size for path in (store / "large" / "blocks").rglob("*.*")) / (1 << 20)
    limits = tmp_path / "limits.toml"
    limits.write_text("")
    age_s = time.time() - 1_750_000_000 - 1.5 * STEP_NS / 1e9
    options = (*OFTEN, "--compaction-grace-s", str(10**9), "--sweep-every-s", "0")
    with running_server(store, "--multitenancy", *options, "--limits-file", str(limits)) as server:
        time.sleep(3)
        assert list(jobs(server, "/api/v1/status/jobs")) == []
        limits.write_text(
            f'[tenants.aged]\ncompactor_blocks_retention_period = "{round(age_s)}s"\n'
            f"[tenants.large]\ncompactor_blocks_retention_size_mb = {size_mb / 2}\n"
        )
        until(lambda: len(block_rows(store, "aged")) == 2 and len(block_rows(store, "large")) < 4)
        shown = until(
            lambda: (
                [
                    one
                    for one in jobs(server, "/api/v1/status/jobs")
                    if one["ended"] and one["tenant"] in ("aged", "large")
                ]
                if len(jobs(server, "/api/v1/status/jobs")) == 2
                else None
            )
        )
        assert {(one["tenant"], one["kind"]) for one in shown} == {("aged", "expire"), ("large", "expire")}
    assert len(block_rows(store, "kept")) == 4
    assert len(block_rows(store, "large")) in (1, 2)


def test_leftovers_are_swept_but_not_where_there_is_no_catalog(tmp_path: Path) -> None:
    store = made_store(tmp_path)
    directories = {path.name for path in (store / "anonymous" / "blocks").iterdir()}
    shutil.copytree(store / "anonymous", store / "lost")
    shutil.rmtree(store / "lost" / "catalog")
    options = (*OFTEN, "--sweep-every-s", "2", "--sweep-older-s", "0")
    with running_server(store, *options) as server:
        until(lambda: len(list((store / "anonymous" / "blocks").iterdir())) == 1)
        kinds = {one["kind"] for one in jobs(server, "/api/v1/status/jobs")}
        assert kinds == {"compact", "sweep"}
    assert {path.name for path in (store / "lost" / "blocks").iterdir()} == directories


def test_a_bucket(s3_process: S3Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process finds the bucket as the server does, and tenants are found without listing every object."""
    environment = s3_process.client.environment() | {"FLAMEDUCK_CACHE_DIRECTORY": str(tmp_path / "cache")}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    url = f"s3://{s3_process.client.bucket}/jobs"
    put_blocks(open_objects(url), HOURLY, STEP_NS)
    expected = answers(url)
    options = (*OFTEN, "--data-dir", str(tmp_path / "data"))
    with running_server(url, *options, beside=tmp_path / "beside", **environment) as server:
        (job,) = until(lambda: [one for one in jobs(server) if one["ended"]])
        assert (job["state"], job["before"]["blocks"], job["after"]["blocks"]) == ("done", 12, 1)
        assert answers(server.url) == expected
    assert answers(url) == expected
    assert problems(url) == []
