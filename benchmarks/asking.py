"""Questions that several benchmarks put to a corpus."""

from __future__ import annotations

import json
from pathlib import Path

from flameduck.engine.embedded import StoreDatabase, open_embedded
from flameduck.engine.settings import Settings
from flameduck.schema.request import Flamegraph, FlamegraphRequest, Selection, TreeQuery

from .corpus import CPU_TYPE, START_NS, TENANT, TICK_NS, TICKS

HOUR = (START_NS, START_NS + (TICKS + 1) * TICK_NS)


def open_store(store: Path) -> StoreDatabase:
    """A corpus, opened anew."""
    return open_embedded(str(store), TENANT, Settings())


def cpu_tree(service: str | None) -> TreeQuery:
    """CPU of one service, or of all, in the hour."""
    return TreeQuery(Selection(f'{{service_name="{service}"}}' if service else "{}", CPU_TYPE, *HOUR))


def ask_flamegraph(database: StoreDatabase, tree: TreeQuery) -> Flamegraph:
    """The default flame graph of a tree."""
    answer = database.ask(FlamegraphRequest(tree))
    assert isinstance(answer, Flamegraph)
    return answer


def as_json(graph: Flamegraph) -> str:
    """As a server would send it."""
    return json.dumps({"names": graph.names, "levels": graph.levels, "total": graph.total})
