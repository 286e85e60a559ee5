"""Call trees over a day of one service in one block of level 2, from rollups and from samples: time, rows, bytes.

    python -m benchmarks.rollups [--hours 24] [--rounds 5]

Three ranges: all that there is; most of it, with ends that no bucket begins at; and an hour of it. The answers must be
equal. Also what rollups add to the block and to the time of making it.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from flameduck.engine.compaction import stream
from flameduck.engine.compaction.plan import MergeJob
from flameduck.engine.compaction.rollup import write_rollups
from flameduck.engine.compaction.run import replace_blocks
from flameduck.engine.embedded import StoreDatabase
from flameduck.engine.query import source
from flameduck.engine.query.opened import OpenBlock
from flameduck.engine.query.plan import BlockScan
from flameduck.engine.query.rollups import Divided
from flameduck.engine.query.stack_totals import TimeRange
from flameduck.schema.block import BlockMeta
from flameduck.schema.explanation import Explanation
from flameduck.schema.request import ExplainRequest, FlamegraphRequest, TreeQuery

from .asking import ask_flamegraph, cpu_tree, open_store
from .corpus import START_NS, Shape, open_corpus, service_name
from .measure import argument_parser, interleaved, report

HOUR_NS = 3600 * 10**9
BUCKET_NS = 300 * 10**9
_READ = ("samples", "rollup_5m", "rollup_1h")


def _compacted(source_store: Path) -> tuple[Path, dict[str, float]]:
    """The corpus as one block of level 2, and the seconds that making it took, and its rollups of these."""
    store = source_store.with_name(source_store.name + ".rolled")
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(source_store, store)
    database = open_store(store)
    spent_s = 0.0

    def timed(directory: Path, meta: BlockMeta) -> BlockMeta:
        nonlocal spent_s
        start_s = time.monotonic()
        made = write_rollups(directory, meta)
        spent_s += time.monotonic() - start_s
        return made

    ulids = tuple(block.ulid for block in database.blocks.live_blocks())
    start_s = time.monotonic()
    with mock.patch.object(stream, "write_rollups", timed):
        replace_blocks(database.blocks, MergeJob(ulids, 2), "benchmark")
    return store, {"compact_s": time.monotonic() - start_s, "rollups_s": spent_s}


def _from_samples(block: OpenBlock, scan: BlockScan, at: TimeRange) -> Divided:
    return Divided((), ((scan, at),))


@dataclass(frozen=True)
class _Asking:
    """One call tree, from rollups and from samples."""

    database: StoreDatabase
    tree: TreeQuery

    def rolled(self) -> object:
        """The flame graph, as everybody gets it."""
        return ask_flamegraph(self.database, self.tree)

    def plain(self) -> object:
        """The same without rollups."""
        with mock.patch.object(source, "divide", _from_samples):
            return self.rolled()

    def read(self) -> tuple[int, int]:
        """The rows and bytes of samples and rollups that the flame graph takes."""
        found = self.database.ask(ExplainRequest(FlamegraphRequest(self.tree)))
        assert isinstance(found, Explanation)
        tables = [one for block in found.read for one in block.tables if one.table in _READ]
        return sum(one.rows for one in tables), sum(one.size_bytes for one in tables)


def _figures(name: str, asking: _Asking, rounds: int) -> dict[str, object]:
    assert asking.rolled() == asking.plain()
    rows, size_bytes = asking.read()
    with mock.patch.object(source, "divide", _from_samples):
        plain_rows, plain_bytes = asking.read()
    costs = interleaved(rounds, {"rolled": asking.rolled, "plain": asking.plain})
    return {
        f"{name}_ms": 1e3 * costs["rolled"].wall_s,
        f"{name}_samples_ms": 1e3 * costs["plain"].wall_s,
        f"{name}_times_faster": costs["plain"].wall_s / costs["rolled"].wall_s,
        f"{name}_times_fewer_rows": plain_rows / rows,
        f"{name}_times_fewer_bytes": plain_bytes / size_bytes,
    }


def main() -> None:
    """Compact, ask and report."""
    parser = argument_parser(__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    store, making = _compacted(open_corpus(Shape(options.hours, "time", 1)))
    database = open_store(store)
    (block,) = database.blocks.live_blocks()
    meta = block.meta
    tree = cpu_tree(service_name(0))
    end_ns = START_NS + round(options.hours * HOUR_NS)
    ranges = {
        "day": (None, None),
        "uneven": (START_NS + 3 * BUCKET_NS + 7 * 10**9, end_ns - 2 * BUCKET_NS - 7 * 10**9),
        "hour": (START_NS + HOUR_NS, START_NS + 2 * HOUR_NS),
    }
    figures: dict[str, object] = {"samples": meta.samples, "stacks": meta.parts[0].stacks[1], **making}
    for name, (start_ns, stop_ns) in ranges.items():
        selection = replace(tree.selection, start_ns=start_ns, end_ns=stop_ns)
        figures |= _figures(name, _Asking(database, replace(tree, selection=selection)), options.rounds)
    for rollup in meta.rollups:
        figures[f"{rollup.name}_rows"] = rollup.rows
        figures[f"{rollup.name}_bytes_per_sample"] = (
            meta.files[f"{rollup.name}.parquet"].size_bytes / meta.samples
        )
    report("rollups", figures)
    shutil.rmtree(store)


if __name__ == "__main__":
    main()
