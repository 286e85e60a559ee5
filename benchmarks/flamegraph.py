"""Flame graphs of one service and of everything, end to end to JSON, against a bare scan of the same columns.

    python -m benchmarks.flamegraph [--scale 1] [--order service|time] [--rounds 7]

`cold` opens the store anew each time; `warm` asks an open one again. The scan is DuckDB's maximum of the stack
numbers and sum of the values, over the same rows of the same files.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from flameduck.engine.embedded import StoreDatabase
from flameduck.engine.query.plan import runs_of

from .asking import as_json, ask_flamegraph, cpu_tree, open_store
from .corpus import CPU_TYPE, Shape, corpus_parser, open_corpus
from .measure import Usage, interleaved, report

_SCAN = "SELECT max(stack), sum(value), count(*) FROM read_parquet($files)"
_SCAN_PARTS = _SCAN + " WHERE part BETWEEN $first AND $last"


def main() -> None:
    """Measure one service, then all CPU services."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    store = open_corpus(Shape(options.scale, options.order))
    facts = {"order": options.order, "scale": options.scale}
    for name in (_service_nearest(store, 5_000_000 * options.scale), None):
        report("flamegraph", {**_measure(store, name, options.rounds), **facts})


def _service_nearest(store: Path, rows: float) -> str:
    """The CPU service whose number of rows is nearest to `rows`."""
    sizes: dict[str, int] = {}
    for block in open_store(store).blocks.live_blocks():
        for part in block.meta.parts:
            if part.profile_types == (CPU_TYPE,):
                count = part.samples[1] - part.samples[0]
                sizes[part.service_name] = sizes.get(part.service_name, 0) + count
    return min(sizes, key=lambda name: abs(sizes[name] - rows))


def _measure(store: Path, service: str | None, rounds: int) -> dict[str, object]:
    tree = cpu_tree(service)
    warm = open_store(store)
    scan, rows, total = _bare_scan(warm, service)
    graph = ask_flamegraph(warm, tree)
    assert graph.total == total, (graph.total, total)
    costs = interleaved(
        rounds,
        {
            "scan": scan,
            "warm": lambda: as_json(ask_flamegraph(warm, tree)),
            "cold": lambda: as_json(ask_flamegraph(open_store(store), tree)),
        },
    )
    return {
        "what": "one service" if service else "every CPU service",
        "rows": rows,
        "bars": sum(len(level) for level in graph.levels) // 4,
        "scan_ms": 1e3 * costs["scan"].wall_s,
        "warm_ms": 1e3 * costs["warm"].wall_s,
        "cold_ms": 1e3 * costs["cold"].wall_s,
        "warm_to_scan": costs["warm"].wall_s / costs["scan"].wall_s,
        "cold_to_scan": costs["cold"].wall_s / costs["scan"].wall_s,
        "warm_cpu_to_scan": costs["warm"].cpu_s / costs["scan"].cpu_s,
        "cold_cpu_to_scan": costs["cold"].cpu_s / costs["scan"].cpu_s,
        "rss_mb": Usage.now().own_rss_mb,
    }


def _bare_scan(database: StoreDatabase, service: str | None) -> tuple[Callable[[], Any], int, int]:
    """A scan of the rows of the CPU parts, or one service's; the number of rows; and the sum of their values.

    Files that are wanted whole are read by one query, without a filter.
    """
    connection = duckdb.connect()
    connection.execute("SET parquet_metadata_cache = true")
    queries: dict[tuple[int, int] | None, list[str]] = {}
    for block in database.blocks.live_blocks():
        path = block.block.path("samples")
        assert path is not None
        parts = block.meta.parts
        wanted = [
            p.part for p in parts if p.profile_types == (CPU_TYPE,) and service in (None, p.service_name)
        ]
        runs = [None] if len(wanted) == len(parts) else runs_of(np.array(wanted, np.int64))
        for run in runs:
            queries.setdefault(run, []).append(path)

    def scan() -> list[Any]:
        found = []
        for run, files in queries.items():
            if run is None:
                found += connection.execute(_SCAN, {"files": files}).fetchall()
            else:
                named = {"files": files, "first": run[0], "last": run[1] - 1}
                found += connection.execute(_SCAN_PARTS, named).fetchall()
        return found

    answers = scan()
    return scan, sum(row[2] for row in answers), sum(int(row[1]) for row in answers)


if __name__ == "__main__":
    main()
