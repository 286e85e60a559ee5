"""Merge small blocks into one: rows a second of CPU, against a bare scan of their samples.

python -m benchmarks.merge [--blocks 15]
"""

from __future__ import annotations

import time

import duckdb
from ulid import ULID

from flameduck.engine.compaction.run import merge_blocks
from flameduck.engine.storage.layout import BlockOrigin
from flameduck.engine.storage.table_files import encode_table

from .asking import open_store
from .corpus import TENANT, Shape, open_corpus
from .measure import Usage, argument_parser, report

_SCAN = "SELECT max(stack), sum(value) FROM read_parquet($files)"


def main() -> None:
    """Merge blocks of one minute of two services, and encode the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--blocks", type=int, default=15)
    wanted = parser.parse_args().blocks
    store = open_store(open_corpus(Shape(1.0, "time", services=2, ticks_per_block=4)))
    blocks = list(store.blocks.live_blocks())[:wanted]
    files = [block.block.path("samples") for block in blocks]
    connection = duckdb.connect()
    start = time.process_time()
    ((_, total),) = connection.execute(_SCAN, {"files": files}).fetchall()
    scan_s = time.process_time() - start
    start = time.process_time()
    built = merge_blocks(blocks, BlockOrigin(str(ULID()), TENANT))
    build_s = time.process_time() - start
    encoded = {name: encode_table(name, table) for name, table in built.tables.items()}
    merge_s = time.process_time() - start
    merged = connection.from_arrow(built.tables["samples"]).sum("value").fetchall()
    assert merged == [(total,)], (merged, total)
    report(
        "merge",
        {
            "blocks": len(blocks),
            "rows": built.meta.samples,
            "rows_per_cpu_s": built.meta.samples / merge_s,
            "encode_share": 1 - build_s / merge_s,
            "merge_to_scan": merge_s / scan_s,
            "bytes_before_to_after": sum(b.meta.size_bytes for b in blocks) / sum(map(len, encoded.values())),
            "rss_mb": Usage.now().own_rss_mb,
        },
    )


if __name__ == "__main__":
    main()
