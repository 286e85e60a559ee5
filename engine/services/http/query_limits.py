"""How much a question may ask for."""

from __future__ import annotations

from ....schema.errors import RequestError
from ..limits import DEFAULTS, TenantLimits
from .call_graph_dot import DEFAULT_NODES, SOURCE_NODES
from .times import MS, range_ns

_UNITS_NS = (("d", 86_400 * 10**9), ("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9))

NOTHING_NS = (0, 0)
"""A range without profiles."""


def checked_range_ns(start_ms: int, end_ms: int, limits: TenantLimits, now_ns: int) -> tuple[int, int]:
    """`[start, end)` in nanoseconds, without times that lie too far back: `NOTHING_NS` where all of them do.

    Raises `RequestError` for a range that is missing, upside down, or longer than the tenant's limit.
    """
    start_ns, end_ns = range_ns(start_ms, end_ms)
    if limits.max_query_lookback_ns:
        first_ns = (now_ns - limits.max_query_lookback_ns) // MS * MS
        if end_ns <= first_ns:
            return NOTHING_NS
        start_ns = max(start_ns, first_ns)
    most_ns, asked_ns = limits.max_query_length_ns, end_ns - 1 - start_ns
    if most_ns and asked_ns > most_ns:
        raise RequestError(
            "the query time range exceeds the limit (max_query_length, "
            f"actual: {_shown(asked_ns)}, limit: {_shown(most_ns)})"
        )
    return start_ns, end_ns


def max_nodes(asked: int, limits: TenantLimits = DEFAULTS) -> int:
    """So many nodes are answered at most. Raises `RequestError`."""
    most = limits.max_flamegraph_nodes_max
    if most and asked > most:
        raise RequestError(f"max flamegraph nodes limit {asked} is greater than allowed {most}")
    if asked < 0:
        raise RequestError(f"max flamegraph nodes limit must be set (max allowed {most})")
    return asked or limits.max_flamegraph_nodes_default


def dot_nodes(asked: int, limits: TenantLimits = DEFAULTS) -> tuple[int, int]:
    """Nodes of the call tree that a graph for graphviz is made of, and of the graph. Raises `RequestError`."""
    default, most = limits.max_flamegraph_nodes_default, limits.max_flamegraph_nodes_max
    shown = max_nodes(asked, limits) if asked else min(DEFAULT_NODES, default or DEFAULT_NODES)
    source = max(shown, SOURCE_NODES)
    return (min(source, most), min(shown, most)) if most else (source, shown)


def _shown(duration_ns: int) -> str:
    text = ""
    for unit, size_ns in _UNITS_NS:
        count, duration_ns = divmod(duration_ns, size_ns)
        text += f"{count}{unit}" if count else ""
    return text or "0s"
