"""An ingest that is killed at any moment: what is visible is whole, and a rerun stores the rest, once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import flameduck
from tests.engine.ingest.made_profiles import (
    COMMAND,
    answers,
    command,
    cpu_total,
    made_total,
    made_upload,
    problems,
    write_profiles,
)

FILES = 200
SMALL_BLOCKS = {"FLAMEDUCK_BLOCK_SAMPLES": "300"}
EARLIER = range(FILES, FILES + 7)
"""Profiles that a store holds before, one a block, so that the ingest ends with a merge."""
SEED = 20_250_615


def start_ingest(folder: Path, store: Path) -> subprocess.Popen[str]:
    """The command in a process group of its own, which its workers share."""
    return subprocess.Popen(
        [*COMMAND, "ingest", str(folder), "--service", "made", "--store", str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **SMALL_BLOCKS},
        start_new_session=True,
    )


def new_store(path: Path) -> Path:
    with flameduck.open(path) as db:
        for number in EARLIER:
            db.ingest(made_upload(number))
    return path


def count_files(folder: Path) -> int:
    """All files below a directory, temporary ones too."""
    return sum(len(names) for _, _, names in os.walk(folder))


def kill_when(process: subprocess.Popen[str], store: Path, files: int, pause_s: float) -> bool:
    """Kill the group a little after so many files are there; False if it was done before."""
    while count_files(store) < files and process.poll() is None:
        time.sleep(0.002)
    time.sleep(pause_s)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def check_visible(store: Path) -> int:
    """Every visible block is whole, and every visible profile is a whole one, and there once. How many there are."""
    assert problems(store) == []
    with flameduck.open(store) as db:
        totals = [row["total"] for row in db.profiles(type="cpu").to_dicts()]
    known = {made_total([number]): number for number in [*range(FILES), *EARLIER]}
    numbers = {known[total] for total in totals}
    assert numbers.issuperset(EARLIER)
    assert len(numbers) == len(totals)
    assert cpu_total(store) == sum(totals)
    return len(numbers)


@pytest.mark.parametrize(
    "kills", [10, pytest.param(200, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])]
)
def test_kill_at_random_moments(tmp_path: Path, kills: int) -> None:
    chance = random.Random(SEED)
    folder = write_profiles(tmp_path / "profiles", range(FILES))
    expected = new_store(tmp_path / "uninterrupted")
    before = count_files(expected)
    assert command("ingest", folder, "--service", "made", "--store", expected, **SMALL_BLOCKS).returncode == 0
    written = count_files(expected) - before
    assert written > 40, "too few blocks for the moments to differ"
    whole = answers(expected)
    stores = 0
    store = new_store(tmp_path / "0")
    for _ in range(kills):
        files = count_files(store) + chance.randint(0, written)
        killed = kill_when(start_ingest(folder, store), store, files, chance.random() * 0.02)
        visible = check_visible(store)
        assert killed or visible == FILES + len(EARLIER)
        if visible == FILES + len(EARLIER):
            assert answers(store) == whole
            stores += 1
            store = new_store(tmp_path / str(stores))
    done = command("ingest", folder, "--service", "made", "--store", store, **SMALL_BLOCKS)
    assert done.returncode == 0, done.stderr
    assert answers(store) == whole
    assert cpu_total(store) == made_total([*range(FILES), *EARLIER])
    again = command("ingest", folder, "--service", "made", "--store", store, **SMALL_BLOCKS)
    assert again.stdout == f"0 new, {FILES} known, 0 refused; 0 blocks written\n"
    verified = command("blocks", "verify", "--store", store)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """A kill that hits the parent alone leaves no process behind."""
    folder = write_profiles(tmp_path / "profiles", range(FILES))
    parent = start_ingest(folder, tmp_path / "store")
    while not children(parent.pid) and parent.poll() is None:
        time.sleep(0.01)
    workers = children(parent.pid)
    assert workers, parent.communicate()
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [worker for worker in workers if alive(worker)] == []
    parent.communicate()


def children(pid: int) -> list[int]:
    if not sys.platform.startswith("linux"):
        pytest.skip("/proc/<pid>/task/<pid>/children is Linux's")
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits for its parent to notice its end does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
