"""Three replicas of the corpus, each without some of its profiles, made into one block: rows a second, memory, size.

    python -m benchmarks.compact [--scale 0.1]

Each replica has blocks of its own, of about what a flush holds, with stacks numbered as they came, and lacks a random
2 % of the profiles. They are compacted as they are, in one job, and then in two steps, as it is where replicas are
stored by themselves: each replica to one block, and these three to one. Each job is a process of its own. Every outcome
must have every profile once and their sum, and hold to the last byte. Against a bare scan of the same samples by DuckDB
on as many threads.
"""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb
import numpy as np
from ulid import ULID

from flameduck.engine.compaction.plan import MergeJob
from flameduck.engine.compaction.run import replace_blocks
from flameduck.engine.compaction.unpack import unpack
from flameduck.engine.execution.start import start_giving_memory_back
from flameduck.engine.ingest.known import without_profiles
from flameduck.engine.settings import Settings
from flameduck.engine.storage.blocks import write_block
from flameduck.engine.storage.builder import BlockBuilder
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.layout import BlockOrigin
from flameduck.engine.storage.objects import open_objects
from flameduck.engine.storage.verify import broken_promises
from flameduck.schema.catalog import entry_of

from .asking import open_store
from .corpus import TENANT, Shape, open_corpus
from .measure import Usage, argument_parser, report

REPLICAS = 3
MISSING = 0.02
_VERSION = 1
_SCAN = "SELECT max(stack), sum(value) FROM read_parquet($files)"


def replicas_of(shape: Shape) -> Path:
    """The store with all replicas, made if it is not there."""
    path = shape.path.with_name(f"{shape.path.name}-replicas-v{_VERSION}")
    if not path.is_dir():
        # In a process of its own: what is measured here is the memory of compaction.
        maker = multiprocessing.get_context("spawn").Process(target=_make, args=(shape, path))
        maker.start()
        maker.join()
        assert maker.exitcode == 0
    return path


def _make(shape: Shape, path: Path) -> None:
    unfinished = path.with_name(path.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    objects = open_objects(str(unfinished))
    rng = np.random.default_rng(1)
    metas = []
    for block in open_store(open_corpus(shape)).blocks.live_blocks():
        whole = unpack(block)
        for _ in range(REPLICAS):
            builder = BlockBuilder()
            builder.add(without_profiles(whole, rng.random(len(whole.profiles)) < MISSING))
            metas.append(write_block(objects, builder.build(BlockOrigin(str(ULID()), TENANT, level=0))))
    Catalog(objects, TENANT).commit([entry_of(meta) for meta in metas], [], "benchmark")
    unfinished.rename(path)


def _truth(store: Path) -> tuple[int, int]:
    """How many profiles there are, and the sum of all."""
    files = [block.block.path("profiles") for block in open_store(store).blocks.live_blocks()]
    ((count, total),) = (
        duckdb.connect()
        .execute(
            "SELECT count(*), sum(total) FROM (SELECT DISTINCT ts, profile_id, total FROM read_parquet($files))",
            {"files": files},
        )
        .fetchall()
    )
    return count, total


def _scan_seconds(store: Path, ulids: Sequence[str]) -> float:
    blocks = open_store(store).blocks
    files = [blocks.block(ulid).block.path("samples") for ulid in ulids]
    start_s = time.monotonic()
    duckdb.connect().execute(_SCAN, {"files": files}).fetchall()
    return time.monotonic() - start_s


def _compact(store: Path, ulids: Sequence[str], name: str, line: Connection) -> None:
    """One job, as `flameduck compact` runs it; what it measured goes down the line."""
    start_giving_memory_back()
    blocks = open_store(store).blocks
    rows = sum(blocks.block(ulid).meta.samples for ulid in ulids)
    start_s, before = time.monotonic(), Usage.now()
    meta = replace_blocks(blocks, MergeJob(tuple(ulids), 1), "benchmark")
    assert meta is not None
    seconds, after = time.monotonic() - start_s, Usage.now()
    figures = {
        "case": name,
        "blocks": len(ulids),
        "rows": rows,
        "rows_out": meta.samples,
        "rows_per_s": rows / seconds,
        "rows_per_cpu_s": rows / (after.own_cpu_s - before.own_cpu_s),
        "rss_mb": after.own_rss_mb,
        "rollup_bytes": sum(meta.files[f"{one.name}.parquet"].size_bytes for one in meta.rollups),
        "sample_bytes_per_row": meta.files["samples.parquet"].size_bytes / meta.samples,
        "bytes_per_profile": meta.size_bytes / meta.profiles,
    }
    line.send((meta.ulid, figures, seconds))


def _run(store: Path, ulids: Sequence[str], name: str) -> None:
    """Run a job in a process of its own, so that its memory is its own, and report it."""
    scan_s = _scan_seconds(store, ulids)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_compact, args=(store, ulids, name, theirs))
    process.start()
    ulid, figures, seconds = ours.recv()
    process.join()
    report("compact", figures | {"to_scan": seconds / scan_s})
    blocks = open_store(store).blocks
    assert list(broken_promises(blocks.objects, blocks.block(ulid).meta, Settings().spill_directory)) == []


def _is_whole(store: Path, truth: tuple[int, int]) -> bool:
    """Whether there is one block that has all profiles once, and their sum in its samples."""
    (block,) = open_store(store).blocks.live_blocks()
    total = int(block.block.table("samples", ["value"]).column("value").to_numpy().sum())
    return (block.meta.profiles, total) == truth


def _live(store: Path) -> list[str]:
    """The blocks, oldest first: of each time one of each replica, in turns."""
    return sorted(block.ulid for block in open_store(store).blocks.live_blocks())


def main() -> None:
    """Compact, check and report."""
    # Children take Arrow's pool from the environment, since they load Arrow before they are told.
    start_giving_memory_back()
    parser = argument_parser(__doc__)
    parser.add_argument("--scale", type=float, default=0.1)
    scale = parser.parse_args().scale
    source = replicas_of(Shape(scale, "time", ticks_per_block=8))
    truth = _truth(source)
    store = source.with_name(source.name + ".compacted")
    for in_steps in (False, True):
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(source, store)
        if in_steps:
            every = _live(store)
            for replica in range(REPLICAS):
                _run(store, every[replica::REPLICAS], "blocks of one replica")
        _run(store, _live(store), "replicas" if in_steps else "blocks of all replicas")
        assert _is_whole(store, truth)
    shutil.rmtree(store)


if __name__ == "__main__":
    main()
