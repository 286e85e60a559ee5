"""A deletion of one profile in a hundred: flame graphs while its tombstone is in force, and writing the blocks anew.

    python -m benchmarks.delete [--scale 0.05] [--rounds 5]

The same question over the corpus as it is, through a tombstone, and after the rewriting; and the rewriting against a
bare read of the samples of the touched blocks by DuckDB on as many threads.
"""

from __future__ import annotations

import shutil
import time

import duckdb
from ulid import ULID

from flameduck.engine.compaction.deletion import Deletions
from flameduck.schema.tombstone import Tombstone

from .asking import as_json, ask_flamegraph, cpu_tree, open_store
from .corpus import START_NS, TICK_NS, Shape, open_corpus
from .measure import Usage, argument_parser, interleaved, report

_SCAN = "SELECT max(stack), sum(value) FROM read_parquet($files)"


def main() -> None:
    """Delete, ask and report."""
    parser = argument_parser(__doc__)
    parser.add_argument("--scale", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    source = open_corpus(Shape(options.scale))
    store = source.with_name(source.name + ".deleted")
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(source, store)
    whole, database = open_store(source), open_store(store)
    deletions = Deletions(database.blocks)
    ticks = max(round(Shape(options.scale).ticks * 0.01), 1)
    deletions.begin(Tombstone(str(ULID()), "{}", start_ns=START_NS, end_ns=START_NS + (ticks + 1) * TICK_NS))
    tree = cpu_tree(None)
    costs = interleaved(
        options.rounds,
        {
            "whole": lambda: as_json(ask_flamegraph(whole, tree)),
            "through": lambda: as_json(ask_flamegraph(database, tree)),
        },
    )
    hidden = ask_flamegraph(database, tree).total
    assert 0 < hidden < ask_flamegraph(whole, tree).total
    blocks = whole.blocks.live_blocks()
    rows = sum(block.meta.samples for block in blocks)
    start_s, before = time.monotonic(), Usage.now()
    touched = list(deletions.finish())
    seconds, after = time.monotonic() - start_s, Usage.now()
    assert not deletions.in_force()
    assert ask_flamegraph(database, tree).total == hidden
    start_s = time.monotonic()
    files = [block.block.path("samples") for block in blocks]
    duckdb.connect().execute(_SCAN, {"files": files}).fetchall()
    report(
        "delete",
        {
            "scale": options.scale,
            "rows": rows,
            "blocks": len(touched),
            "whole_ms": 1e3 * costs["whole"].wall_s,
            "through_ms": 1e3 * costs["through"].wall_s,
            "through_to_whole": costs["through"].wall_s / costs["whole"].wall_s,
            "rewritten_rows_per_s": rows / seconds,
            "rewritten_rows_per_cpu_s": rows / (after.own_cpu_s - before.own_cpu_s),
            "rss_mb": after.own_rss_mb,
            "rewriting_to_scan": seconds / (time.monotonic() - start_s),
        },
    )
    shutil.rmtree(store)


if __name__ == "__main__":
    main()
