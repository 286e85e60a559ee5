"""What every executor does: order, errors, laziness; and what worker processes survive."""

from __future__ import annotations

import math
import operator
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flameduck.engine.execution import Death, Executor, open_executor
from flameduck.engine.execution.dask import DaskExecutor
from flameduck.engine.execution.inline import InlineExecutor
from flameduck.schema.errors import CorruptProfile
from tests.clusters import ROOT

pytestmark = pytest.mark.usefixtures("workers_know_tests")

WithLimit = Callable[[float], Executor]
"""Opens an executor whose items may take so many seconds; 0: any number."""


@pytest.fixture(params=["inline", "local", "dask"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """Each executor."""
    with InlineExecutor() if request.param == "inline" else opener(request)(0) as opened:
        yield opened


@pytest.fixture(params=["local", "dask"])
def workers(request: pytest.FixtureRequest) -> WithLimit:
    """Opens each executor that has processes."""
    return opener(request)


def opener(request: pytest.FixtureRequest) -> WithLimit:
    if request.param == "local":
        return lambda limit_s: open_executor(2, limit_s)
    address = request.getfixturevalue("dask_cluster").address
    return lambda limit_s: DaskExecutor(address, limit_s)


def unexpected(item: object, death: Death) -> int:
    raise AssertionError(f"{item!r} is said to have killed its worker")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_results_come_in_the_order_of_the_items(executor: Executor, count: int) -> None:
    assert list(executor.map(operator.neg, range(count), unexpected)) == [-n for n in range(count)]


def test_an_error_of_the_task_is_raised_and_leaves_the_executor_usable(executor: Executor) -> None:
    with pytest.raises(ValueError, match=r"math domain|negative"):
        list(executor.map(math.sqrt, [4, 9, -1, 16], unexpected))
    assert list(executor.map(math.sqrt, [4, 9, 16, 25], unexpected)) == [2, 3, 4, 5]


def refuse(number: int) -> int:
    """A task with an error of our own, which says more than its text."""
    raise CorruptProfile("cut short", profile=number)


def test_an_error_of_our_own_comes_whole(executor: Executor) -> None:
    with pytest.raises(CorruptProfile, match=r"^cut short$") as raised:
        list(executor.map(refuse, [7, 8, 9], unexpected))
    assert raised.value.profile == 7


def test_results_may_be_big(executor: Executor) -> None:
    found = executor.map(partial(operator.mul, bytes(range(256))), [80_000, 1, 80_000, 2], unexpected)
    assert [(len(data), data[-1]) for data in found] == [(n * 256, 255) for n in (80_000, 1, 80_000, 2)]


def test_many_items(executor: Executor) -> None:
    assert list(executor.map(operator.neg, range(600), unexpected)) == [-n for n in range(600)]


def test_two_maps_at_once(executor: Executor) -> None:
    negative, inverted = (executor.map(task, range(40), unexpected) for task in (operator.neg, operator.inv))
    assert list(zip(negative, inverted, strict=True)) == [(-n, ~n) for n in range(40)]


def test_items_are_taken_a_few_at_a_time(executor: Executor) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = executor.map(operator.neg, items(), unexpected)
    assert [next(results) for _ in range(3)] == [0, -1, -2]
    assert len(taken) <= 10


def test_a_map_inside_a_map(executor: Executor) -> None:
    sums: list[int] = []
    negate: Callable[[int], int] = operator.neg
    for result in executor.map(negate, range(6), unexpected):
        sums.append(result + sum(executor.map(negate, [-1, -2, -3, -4], unexpected)))
    assert sums == [10, 9, 8, 7, 6, 5]


def test_a_map_that_is_left_early(executor: Executor) -> None:
    for result in executor.map(operator.neg, range(100), unexpected):
        assert result == 0
        break
    assert list(executor.map(operator.neg, range(4), unexpected)) == [0, -1, -2, -3]


def kill_worker(number: int) -> partial[Any]:
    """A picklable item that kills the worker which calls it, or one that gives the number."""
    return partial(os._exit, 9) if number % 7 == 3 else partial(operator.neg, -number)


def test_a_worker_that_dies_costs_its_item_alone(workers: WithLimit) -> None:
    with workers(0) as executor:
        items = [kill_worker(number) for number in range(20)]
        results = list(executor.map(operator.methodcaller("__call__"), items, lambda item, death: -1))
    assert results == [-1 if number % 7 == 3 else number for number in range(20)]


def test_after_a_death_even_single_items_stay_out_of_this_process() -> None:
    with open_executor(1) as executor:
        list(executor.map(operator.methodcaller("__call__"), [partial(int)] * 3, lambda item, death: -1))
        results = [
            list(executor.map(operator.methodcaller("__call__"), items, lambda item, death: -1))
            for items in ([kill_worker(3)] * 3, [kill_worker(3)])
        ]
    assert results == [[-1, -1, -1], [-1]]


def test_a_death_may_be_answered_by_another_map(workers: WithLimit) -> None:
    with workers(0) as executor:
        call = operator.methodcaller("__call__")

        def again(item: object, death: Death) -> int:
            return sum(executor.map(call, [kill_worker(5), kill_worker(3)], lambda item, death: 100))

        assert list(executor.map(call, [kill_worker(n) for n in range(8)], again)) == [
            0,
            1,
            2,
            105,
            4,
            5,
            6,
            7,
        ]


def test_an_item_that_never_ends_costs_itself_alone_and_a_slow_consumer_none(workers: WithLimit) -> None:
    forever = partial(time.sleep, 3600)
    items = [
        partial(operator.neg, 1),
        forever,
        *[partial(operator.neg, number) for number in range(2, 9)],
        forever,
    ]
    with workers(5) as executor:
        call = operator.methodcaller("__call__")
        lost: list[tuple[object, Death]] = []

        def died(item: object, death: Death) -> int:
            lost.append((item, death))
            return 0

        begun = time.monotonic()
        results = executor.map(call, items, died)
        found = [next(results)]
        time.sleep(6)
        found += results
        assert found == [-1, 0, *range(-2, -9, -1), 0]
        assert lost == [(forever, Death(5))] * 2
        assert time.monotonic() - begun < 60
        assert list(executor.map(call, items[2:5], died)) == [-2, -3, -4]


def test_workers_see_one_core_each_and_end_with_the_executor() -> None:
    with open_executor(2) as executor:
        seen = list(
            executor.map(
                os.getenv, ["POLARS_MAX_THREADS", "FLAMEDUCK_WORKER", "POLARS_MAX_THREADS"], unexpected
            )
        )
        pids = set(executor.map(operator.methodcaller("__call__"), [os.getpid] * 8, unexpected))
    assert seen == ["1", "1", "1"]
    assert os.getpid() not in pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_script_needs_no_guard_for_its_main_module(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import operator\n"
        "from flameduck.engine.execution import open_executor\n"
        "with open_executor(2) as executor:\n"
        "    print(sum(executor.map(operator.neg, range(9), print)))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, check=True
    )
    assert (run.stdout, run.stderr) == ("-36\n", "")


def note_pid_and_sleep(path: str) -> None:
    """Leave this process' id in a file, and be busy."""
    Path(path).with_suffix(".new").write_text(str(os.getpid()))
    Path(path).with_suffix(".new").rename(path)
    time.sleep(60)


def test_workers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = (
        "from tests.contracts.test_executors import note_pid_and_sleep\n"
        "from flameduck.engine.execution.local import LocalExecutor\n"
        f"list(LocalExecutor(1, inline=False).map(note_pid_and_sleep, [{str(note)!r}], print))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT) as parent:
        while not note.exists():
            time.sleep(0.05)
        parent.kill()
    worker = int(note.read_text())
    deadline = time.monotonic() + 10
    while is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(worker)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has asked for its end does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
