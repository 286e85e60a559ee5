"""The same compaction by one worker of a Dask cluster, of one thread, and by two: how much faster, and what limits it.

    python -m benchmarks.executors [--scale 0.1] [--rounds 3]

Three replicas of the corpus in blocks of a minute, as `benchmarks.compact` makes them, become one block for each
minute: six jobs of one round at scale 0.1, planned as ever. What comes out must be equal, and add up. The scheduler
and the workers are processes of this machine, and started before; so are the processes beside the workers, by a job
of no work.

`speedup` is of the clock, and suffers when the machine has other things to do. What limits it otherwise: `busy` of one
worker, how many cores that kept busy by itself; `cpu_growth`, how much more CPU two take in all; `speedup_by_cpu`, the
CPU of one over that of the busier of the two, which is what the clock would say if the cores were theirs alone.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from flameduck.engine.compaction.compact import Compacted, compact
from flameduck.engine.compaction.executed import OnExecutor
from flameduck.engine.compaction.levels import LevelPolicy
from flameduck.engine.execution import Death
from flameduck.engine.execution.dask import DaskExecutor
from flameduck.engine.settings import Settings
from flameduck.engine.store_place import place_of
from tests.clusters import Cluster, cluster

from .asking import open_store
from .compact import replicas_of
from .corpus import TENANT, TICK_NS, Shape
from .measure import argument_parser, report
from .process_tree import cpu_s_of

TICKS_PER_BLOCK = 4
POLICY = LevelPolicy({1: TICKS_PER_BLOCK * TICK_NS}, smallest_bytes=0)


@dataclass(frozen=True)
class Run:
    """One compaction: seconds on the clock, and of CPU of each worker with the process beside it."""

    wall_s: float
    cpu_s: tuple[float, ...]
    done: Sequence[Compacted]

    @property
    def facts(self) -> list[tuple[int, int, int]]:
        """What was made, but for its names."""
        made = [one.made for one in self.done if one.made is not None]
        assert len(made) == len(self.done)
        return sorted((meta.min_ts, meta.profiles, meta.samples) for meta in made)


def run(source: Path, workers: Cluster, executor: DaskExecutor) -> Run:
    """Compact a copy of a store."""
    store = source.with_name(f"{source.name}.compacted")
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(source, store)
    on_executor = OnExecutor(executor, place_of(str(store), TENANT, Settings(), executor))
    # Each worker gets two, so that none is without.
    list(executor.map(time.sleep, [0.5] * 2 * len(workers.workers), _unexpected))
    pids = [worker.pid for worker in workers.workers]
    before, start_s = [cpu_s_of(pid) for pid in pids], time.monotonic()
    done = list(compact(open_store(store).blocks, POLICY, run_jobs=on_executor))
    wall_s, after = time.monotonic() - start_s, [cpu_s_of(pid) for pid in pids]
    shutil.rmtree(store)
    return Run(wall_s, tuple(b - a for a, b in zip(before, after, strict=True)), done)


def _unexpected(item: float, death: Death) -> None:
    raise AssertionError(f"a worker died: {death}")


def main() -> None:
    """Measure in turns and report."""
    parser = argument_parser(__doc__)
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    source = replicas_of(Shape(options.scale, "time", ticks_per_block=TICKS_PER_BLOCK))
    runs: dict[int, list[Run]] = {1: [], 2: []}
    with ExitStack() as stack:
        opened = {}
        for count in runs:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            started = stack.enter_context(cluster(directory, count))
            opened[count] = started, stack.enter_context(DaskExecutor(started.address))
        for _ in range(options.rounds):
            for count, of_count in runs.items():
                of_count.append(run(source, *opened[count]))
    _report(source, runs)


def _report(source: Path, runs: dict[int, list[Run]]) -> None:
    blocks = open_store(source).blocks.state().blocks.values()
    first = runs[1][0]
    assert all(one.facts == first.facts for of_count in runs.values() for one in of_count)
    assert sum(len(one.inputs) for one in first.done) == len(blocks)
    rows = sum(entry.samples for entry in blocks)
    alone, both = ([one.wall_s for one in runs[count]] for count in (1, 2))
    cpu = {count: statistics.median(sum(one.cpu_s) for one in of_count) for count, of_count in runs.items()}
    busier_s = statistics.median(max(one.cpu_s) for one in runs[2])
    report(
        "executors",
        {
            "jobs": len(first.done),
            "rows": rows,
            "rows_per_s_of_one": rows / statistics.median(alone),
            "speedup": statistics.median(alone) / statistics.median(both),
            "speedup_by_cpu": cpu[1] / busier_s,
            "busy": cpu[1] / statistics.median(alone),
            "cpu_growth": cpu[2] / cpu[1],
            "seconds_of_one": [round(seconds, 2) for seconds in alone],
            "seconds_of_two": [round(seconds, 2) for seconds in both],
            "load_of_machine": os.getloadavg()[0],
        },
    )


if __name__ == "__main__":
    main()
