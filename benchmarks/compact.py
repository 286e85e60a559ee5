"""Three replicas of the corpus, each without some of its profiles, made into one block: rows a second, memory, size.

    python -m benchmarks.compact [--scale 0.1]

Each replica has blocks of its own, of about what a flush holds, with stacks numbered as they came, and lacks a random
2 % of the profiles. The outcome must have every profile once and their sum, and hold to the last byte. Against a bare
scan of the same samples by DuckDB on as many threads.
"""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
from ulid import ULID

from flameduck.engine.compaction.plan import MergeJob
from flameduck.engine.compaction.run import replace_blocks
from flameduck.engine.compaction.unpack import unpack
from flameduck.engine.ingest.known import without_profiles
from flameduck.engine.query.opened import OpenBlock
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


def _truth(blocks: Sequence[OpenBlock]) -> tuple[int, int]:
    """How many profiles there are, and the sum of all."""
    files = [block.block.path("profiles") for block in blocks]
    ((count, total),) = (
        duckdb.connect()
        .execute(
            "SELECT count(*), sum(total) FROM (SELECT DISTINCT ts, profile_id, total FROM read_parquet($files))",
            {"files": files},
        )
        .fetchall()
    )
    return count, total


def main() -> None:
    """Compact, check and report."""
    parser = argument_parser(__doc__)
    parser.add_argument("--scale", type=float, default=0.1)
    scale = parser.parse_args().scale
    source = replicas_of(Shape(scale, "time", ticks_per_block=8))
    store = source.with_name(source.name + ".compacted")
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(source, store)
    database = open_store(store)
    blocks = list(database.blocks.live_blocks())
    rows = sum(block.meta.samples for block in blocks)
    start_s, before = time.monotonic(), Usage.now()
    meta = replace_blocks(database.blocks, MergeJob(tuple(block.ulid for block in blocks), 1), "benchmark")
    seconds, after = time.monotonic() - start_s, Usage.now()
    profiles, total = _truth(blocks)
    assert meta is not None
    assert meta.profiles == profiles, (meta.profiles, profiles)
    merged = database.blocks.block(meta.ulid).block
    assert merged.table("samples", ["value"]).column("value").to_numpy().sum() == total
    assert list(broken_promises(database.blocks.objects, meta, Settings().spill_directory)) == []
    start_s = time.monotonic()
    duckdb.connect().execute(_SCAN, {"files": [block.block.path("samples") for block in blocks]}).fetchall()
    scan_s = time.monotonic() - start_s
    report(
        "compact",
        {
            "blocks": len(blocks),
            "rows": rows,
            "rows_out": meta.samples,
            "rows_per_s": rows / seconds,
            "rows_per_cpu_s": rows / (after.own_cpu_s - before.own_cpu_s),
            "to_scan": seconds / scan_s,
            "rss_mb": after.own_rss_mb,
            "sample_bytes_per_row": meta.files["samples.parquet"].size_bytes / meta.samples,
            "bytes_per_profile": meta.size_bytes / meta.profiles,
        },
    )
    shutil.rmtree(store)


if __name__ == "__main__":
    main()
