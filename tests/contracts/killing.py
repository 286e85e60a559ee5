"""Kills a command at random moments, again and again, and checks what it leaves: nothing lost, nothing doubled.

An `Action` is what a store is filled with, the command lines that are repeated until they come to their end, and what may
be seen in between. Another kind of action is one more row of `ACTIONS` in test_kills.py.
"""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import flameduck
from flameduck.engine.storage.block_directories import find_blocks
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.objects import open_objects
from flameduck.engine.upkeep import Upkeep
from tests.engine.ingest.made_profiles import COMMAND, answers, problems

TENANT = "anonymous"
START_SHARE = 0.3
"""The part of a run's time that is spent on starting Python, where a kill says nothing."""


@dataclass(frozen=True)
class Action:
    """What is done to a store.

    `fill` makes a store at a URL; `commands` are run one after the other, `{store}` in them being the URL and `{folder}`
    a directory that `fill` may use; `may_be` says of the profiles' totals of CPU time, in ascending order, whether a kill
    may leave them so.
    """

    fill: Callable[[str, Path], None]
    commands: Sequence[Sequence[str]]
    may_be: Callable[[Sequence[int]], bool]
    start_ns: int
    environment: Mapping[str, str] = field(default_factory=dict)


class Killing:
    """One action on stores of one kind: `place` makes the URL of a new one."""

    def __init__(self, action: Action, place: Callable[[], str], folder: Path, seed: int) -> None:
        self._action = action
        self._place = place
        self._folder = folder
        self._chance = random.Random(seed)
        self._environment = {
            **action.environment,
            "FLAMEDUCK_TEMP_DIRECTORY": str(folder / "spill"),
        }

    def run(self, kills: int) -> None:
        """Kill so often, in as many stores as that takes; each is brought to its end and compared."""
        whole = self._new_store()
        begun_s = time.monotonic()
        self._finish(whole)
        duration_s = time.monotonic() - begun_s
        expected = answers(whole, self._action.start_ns)
        killed = 0
        while killed < kills:
            store = self._new_store()
            while killed < kills and self._is_killed(store, duration_s):
                killed += 1
                self._check_visible(store)
            self._finish(store)
            self._check_swept(store)
            assert answers(store, self._action.start_ns) == expected

    def _new_store(self) -> str:
        store = self._place()
        self._action.fill(store, self._folder)
        return store

    def _start(self, store: str) -> subprocess.Popen[bytes]:
        """The command lines in a process group of their own, which their workers share."""
        lines = [
            shlex.join([*COMMAND, *(word.format(store=store, folder=self._folder) for word in words)])
            for words in self._action.commands
        ]
        return subprocess.Popen(
            ["sh", "-c", " && ".join(lines)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **self._environment},
            start_new_session=True,
        )

    def _is_killed(self, store: str, duration_s: float) -> bool:
        """Run it and kill it at some moment; false where it was done before."""
        process = self._start(store)
        share = START_SHARE + (1 - START_SHARE) * self._chance.random()
        try:
            process.wait(share * duration_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), errors.decode()
        return process.returncode != 0

    def _finish(self, store: str) -> None:
        """Run it to its end."""
        process = self._start(store)
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()

    def _check_visible(self, store: str) -> None:
        """What is visible is whole."""
        assert problems(store) == []
        with flameduck.open(store) as db:
            totals = [row["total"] for row in db.profiles(type="cpu").to_dicts()] if len(db.blocks()) else []
            assert not totals or db.flamegraph(type="cpu").total == sum(totals)
        assert self._action.may_be(sorted(totals)), totals

    def _check_swept(self, store: str) -> None:
        """After a sweep there is nothing but what the catalog names, in the store and beside it."""
        assert all(not removed.problem for removed in Upkeep(store, TENANT).sweep(0, act=True))
        objects = open_objects(store)
        live = set(Catalog(objects, TENANT).load().blocks)
        assert {block.ulid for block in find_blocks(objects, TENANT)} == live
        assert problems(store) == []
        spill = self._folder / "spill"
        assert not spill.exists() or list(spill.iterdir()) == []
