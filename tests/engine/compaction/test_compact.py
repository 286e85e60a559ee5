"""Compaction from the command line: fewer blocks and the same answers, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

import flameduck
from flameduck.engine.compaction.levels import HOUR_NS
from tests.engine.compaction.made_blocks import Made, store_of, upload
from tests.engine.ingest.made_profiles import COMMAND, START_NS, answers, command, problems

STEP_NS = HOUR_NS // 4
SEED = 20_261_128


def replicas(count: int, blocks: int = 8) -> list[list[Made]]:
    """So many profiles over two days, three times: each in blocks of its own order, and a tenth missing in each."""
    chance = random.Random(SEED)
    every = [
        (number, number % 190, ("cart", "checkout")[number % 2], number % 3 == 0) for number in range(count)
    ]
    made: list[list[Made]] = []
    for replica in range(3):
        there = [one for at, one in enumerate(every) if at % 10 != replica]
        chance.shuffle(there)
        made += [sorted(there[start::blocks], key=lambda one: one[1]) for start in range(blocks)]
    return made


def compacted(store: Path, *words: str) -> list[dict[str, object]]:
    done = command("compact", "--store", store, "--format", "json", *words)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, object]] = json.loads(done.stdout)
    return rows


def block_rows(store: Path) -> list[dict[str, object]]:
    with flameduck.open(store) as db:
        rows: list[dict[str, object]] = db.blocks().to_dicts()
    return rows


def test_many_blocks_become_few_and_answers_stay(tmp_path: Path) -> None:
    store = store_of(tmp_path, replicas(200), STEP_NS)
    expected = answers(store, START_NS)
    (planned,) = compacted(store, "--dry-run")
    assert (planned["blocks"], planned["block"]) == (24, None)
    assert len(block_rows(store)) == 24
    (done,) = compacted(store)
    (block,) = block_rows(store)
    assert (done["block"], done["level"], done["problems"]) == (block["ulid"], 1, [])
    assert done["profiles_before"] == 2 * 3 * 180
    assert done["profiles"] == block["profiles"] == 2 * 200
    assert answers(store, START_NS) == expected
    assert problems(store) == []
    assert compacted(store) == []
    text = command("compact", "--store", store, "--dry-run").stdout
    assert text.split() == ["level", "blocks", "profiles", "size", "became", "profiles", "size"]


def test_what_is_not_over_waits(tmp_path: Path) -> None:
    store_of(tmp_path, [[(0, 0, "cart", False)], [(1, 1, "cart", False)]])
    hours = (time.time_ns() - START_NS) // HOUR_NS + 2
    assert compacted(tmp_path, "--grace", f"{hours}h", "--dry-run") == []
    assert len(compacted(tmp_path, "--dry-run")) == 1


def test_a_block_that_does_not_hold_is_left_alone_and_told(tmp_path: Path) -> None:
    store = store_of(tmp_path, [[(number, number, "cart", False)] for number in range(5)])
    damaged = sorted(store.glob("anonymous/blocks/*/samples.parquet"))[2]
    damaged.write_bytes(damaged.read_bytes()[:-20])
    done = command("compact", "--store", store, "--format", "json")
    assert done.returncode == 1
    ulid = damaged.parent.name
    assert f"block {ulid}: samples.parquet: " in done.stderr
    first, second = json.loads(done.stdout)
    assert first["block"] is None
    assert len(first["problems"]) == 1
    assert (second["blocks"], second["profiles"]) == (4, 2 * 4)
    assert {block["ulid"] for block in block_rows(store)} == {ulid, second["block"]}


def test_a_server_that_is_not_there_is_told() -> None:
    done = command("compact", "--store", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith("flameduck: http://127.0.0.1:1: ")
    for words in (["--dry-run"], ["--grace", "10m"], ["--all-tenants"]):
        done = command("compact", "--store", "http://127.0.0.1:1", *words)
        assert done.returncode == 2
        assert "are for stores, not for servers" in done.stderr


def test_all_tenants_at_once(tmp_path: Path) -> None:
    for tenant in ("acme", "other"):
        for number in range(3):
            with flameduck.open(tmp_path, tenant=tenant) as db:
                db.ingest([upload((number, number, "cart", False), STEP_NS)])
    (tmp_path / "not a tenant").mkdir()
    rows = compacted(tmp_path, "--all-tenants")
    assert [(row["tenant"], row["blocks"], row["profiles"]) for row in rows] == [
        ("acme", 3, 2 * 3),
        ("other", 3, 2 * 3),
    ]
    text = command("compact", "--store", tmp_path, "--all-tenants").stdout
    assert text.split()[:2] == ["tenant", "level"]


def start(store: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, "compact", "--store", str(store)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "FLAMEDUCK_TEMP_DIRECTORY": str(store / "spill")},
    )


def test_two_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    store = store_of(tmp_path, replicas(60), STEP_NS)
    expected = answers(store, START_NS)
    both = [start(store), start(store)]
    for one in both:
        finished(one)
    assert answers(store, START_NS) == expected
    (block,) = block_rows(store)
    assert block["profiles"] == 2 * 60


@pytest.mark.parametrize(
    "kills", [3, pytest.param(150, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])]
)
def test_kill_at_random_moments(tmp_path: Path, kills: int) -> None:
    chance = random.Random(SEED)
    blocks = replicas(40, 3)
    expected = answers(store_of(tmp_path / "whole", blocks, STEP_NS), START_NS)
    duration_s = duration_of(store_of(tmp_path / "measured", blocks, STEP_NS))
    stores, killed = 0, 0
    store = store_of(tmp_path / "0", blocks, STEP_NS)
    while killed < kills:
        process = start(store)
        try:
            # The first third is spent on starting Python.
            process.wait((0.3 + 0.7 * chance.random()) * duration_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        assert problems(store) == []
        if len(block_rows(store)) == 1:
            assert answers(store, START_NS) == expected
            stores += 1
            store = store_of(tmp_path / str(stores), blocks, STEP_NS)
    # What a process left that was killed is no obstacle, and is removed.
    finished(start(store))
    assert answers(store, START_NS) == expected
    assert list((store / "spill").iterdir()) == []
    swept = command("blocks", "sweep", "--store", store, "--older", "0s", "--yes")
    assert swept.returncode == 0, swept.stderr
    assert [path.name for path in (store / "anonymous" / "blocks").iterdir()] == [
        block_rows(store)[0]["ulid"]
    ]
    assert answers(store, START_NS) == expected


def finished(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()


def duration_of(store: Path) -> float:
    begun_s = time.monotonic()
    finished(start(store))
    return time.monotonic() - begun_s
