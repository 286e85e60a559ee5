"""Time series of an hour, grouped by nothing, by service and by pod, against a bare scan of two profile columns.

python -m benchmarks.series [--scale 1] [--rounds 7]
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import pyarrow.compute as pc

from flameduck.engine.embedded import StoreDatabase
from flameduck.schema.request import Rows, Selection, SeriesRequest

from .asking import HOUR, open_store
from .corpus import CPU_TYPE, TICK_NS, Shape, open_corpus
from .measure import argument_parser, interleaved, report

_GROUPS = {"total": (), "by_service": ("service_name",), "by_pod": ("service_name", "pod")}
_SCAN = "SELECT sum(total), max(ts) FROM read_parquet($files)"


def main() -> None:
    """Ask for each grouping of the CPU profiles at a step of 15 s."""
    parser = argument_parser(__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    database = open_store(open_corpus(Shape(options.scale)))
    requests = {
        name: SeriesRequest(Selection("{}", CPU_TYPE, *HOUR), TICK_NS, by) for name, by in _GROUPS.items()
    }
    sums = {
        name: pc.sum(_ask(database, request).table.column("value")).as_py()
        for name, request in requests.items()
    }
    assert len(set(sums.values())) == 1, sums
    files = [block.block.path("profiles") for block in database.blocks.live_blocks()]
    connection = duckdb.connect()
    connection.execute("SET parquet_metadata_cache = true")
    work: dict[str, Callable[[], object]] = {
        "scan": lambda: connection.execute(_SCAN, {"files": files}).fetchall(),
        **{name: _asking(database, request) for name, request in requests.items()},
    }
    costs = interleaved(options.rounds, work)
    figures: dict[str, object] = {f"{name}_ms": 1e3 * cost.wall_s for name, cost in costs.items()}
    figures |= {f"{name}_cpu_ms": 1e3 * cost.cpu_s for name, cost in costs.items()}
    figures |= {f"{name}_to_scan": costs[name].wall_s / costs["scan"].wall_s for name in _GROUPS}
    report("series", figures)


def _asking(database: StoreDatabase, request: SeriesRequest) -> Callable[[], object]:
    return lambda: _ask(database, request)


def _ask(database: StoreDatabase, request: SeriesRequest) -> Rows:
    answer = database.ask(request)
    assert isinstance(answer, Rows)
    return answer


if __name__ == "__main__":
    main()
