"""How much a question may ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from ....schema.errors import RequestError
from ....schema.request import DiffRequest, Request, Selection
from ..limits import DEFAULTS, TenantLimits

_UNITS_NS = (("d", 86_400 * 10**9), ("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9))

Asked = TypeVar("Asked", bound=Request)


def max_nodes(asked: int, limits: TenantLimits = DEFAULTS) -> int:
    """So many nodes are answered at most. Raises `RequestError`."""
    most = limits.max_flamegraph_nodes_max
    if most and asked > most:
        raise RequestError(f"max flamegraph nodes limit {asked} is greater than allowed {most}")
    if asked < 0:
        raise RequestError(f"max flamegraph nodes limit must be set (max allowed {most})")
    return asked or limits.max_flamegraph_nodes_default


def checked_query(request: Asked, limits: TenantLimits, now_ns: int) -> Asked:
    """The request without times that lie too far back.

    Raises `RequestError` for a range that is longer than the tenant's limit.
    """
    if limits.max_query_lookback_ns:
        request = _without_past(request, now_ns - limits.max_query_lookback_ns)
    most_ns = limits.max_query_length_ns
    for selection in _selections(request):
        start_ns, end_ns = selection.start_ns, selection.end_ns
        if most_ns and start_ns is not None and end_ns is not None and end_ns - start_ns - 1 > most_ns:
            raise RequestError(
                "the query time range exceeds the limit (max_query_length, "
                f"actual: {_shown(end_ns - start_ns - 1)}, limit: {_shown(most_ns)})"
            )
    return request


def _without_past(request: Asked, first_ns: int) -> Asked:
    """The request from a time on; one that ends before it has an empty range."""
    if isinstance(request, DiffRequest):
        left, right = (
            replace(side, selection=_begun(side.selection, first_ns))
            for side in (request.left, request.right)
        )
        return replace(request, left=left, right=right)
    # Every other kind has a tree with a selection, a selection, or asks about blocks.
    known: Any = request
    if hasattr(known, "tree"):
        known = replace(known, tree=replace(known.tree, selection=_begun(known.tree.selection, first_ns)))
    elif hasattr(known, "selection"):
        known = replace(known, selection=_begun(known.selection, first_ns))
    bounded: Asked = known
    return bounded


def _begun(selection: Selection, first_ns: int) -> Selection:
    start_ns = max(selection.start_ns or first_ns, first_ns)
    end_ns = selection.end_ns
    return replace(selection, start_ns=start_ns, end_ns=None if end_ns is None else max(end_ns, start_ns))


def _selections(request: Request) -> list[Selection]:
    if isinstance(request, DiffRequest):
        return [request.left.selection, request.right.selection]
    tree = getattr(request, "tree", None)
    selection = tree.selection if tree is not None else getattr(request, "selection", None)
    return [] if selection is None else [selection]


def _shown(duration_ns: int) -> str:
    text = ""
    for unit, size_ns in _UNITS_NS:
        count, duration_ns = divmod(duration_ns, size_ns)
        text += f"{count}{unit}" if count else ""
    return text or "0s"
