"""The keyword arguments of the Python API, and the request values they mean."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypedDict, cast

from ..schema.errors import RequestError
from ..schema.profile import Rules
from ..schema.request import Aggregate, FrameFilter, Granularity, Normalisation, Selection, TreeQuery
from ..schema.times import parse_time_ns

TimeLike = int | str | datetime | None
"""Nanoseconds since 1970, a text like `-1h`, a datetime (naive ones are UTC), or nothing: open."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SelectKeywords(TypedDict, total=False):
    """Which profiles: a type (an id or a short name) and the range from `start` to before `end`."""

    type: str
    start: TimeLike
    end: TimeLike


class TreeKeywords(SelectKeywords, total=False):
    """How profiles fold into a call tree; see `schema.request.TreeQuery`, `Selection` and `FrameFilter`."""

    granularity: Granularity
    aggregate: Aggregate
    delta: bool
    show: str
    hide: str
    focus: str
    ignore: str
    call_site: Sequence[str]
    span_ids: Sequence[str]
    trace_ids: Sequence[str]


class DiffKeywords(TreeKeywords, total=False):
    """What holds for both sides of a comparison, and how they are compared."""

    normalise: Normalisation
    max_nodes: int
    limit: int


class SideKeywords(TreeKeywords, total=False):
    """One side of a comparison."""

    selector: str


class IngestKeywords(TypedDict, total=False):
    """What is said about every upload of one call; see `Connection.ingest`."""

    labels: Mapping[str, str]
    rules: Rules
    time: TimeLike
    name: str
    input_format: str
    raw_names: bool
    jobs: int


Side = str | SideKeywords


def to_time_ns(moment: TimeLike) -> int | None:
    """Nanoseconds since 1970. Raises `InvalidTime`."""
    if isinstance(moment, str):
        return parse_time_ns(moment, time.time_ns())
    if isinstance(moment, datetime):
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        delta = aware - _EPOCH
        return (delta.days * 86_400 + delta.seconds) * 10**9 + delta.microseconds * 1000
    return moment


def selection(selector: str, query: SelectKeywords, known: type = SelectKeywords) -> Selection:
    """The selection that a selector and keywords mean. Raises `RequestError` on a keyword not in `known`."""
    _refuse_unknown(query, known)
    return Selection(
        selector, query.get("type", ""), to_time_ns(query.get("start")), to_time_ns(query.get("end"))
    )


def tree_query(selector: str, query: TreeKeywords) -> TreeQuery:
    """The tree query that a selector and keywords mean."""
    filters = FrameFilter(
        query.get("show", ""), query.get("hide", ""), query.get("focus", ""), query.get("ignore", "")
    )
    chosen = selection(selector, query, TreeKeywords)
    span_ids, trace_ids = tuple(query.get("span_ids", ())), tuple(query.get("trace_ids", ()))
    return TreeQuery(
        replace(chosen, span_ids=span_ids, trace_ids=trace_ids),
        query.get("granularity", "function"),
        query.get("aggregate", "sum"),
        query.get("delta", False),
        filters,
        tuple(query.get("call_site", ())),
    )


def both_sides(left: Side, right: Side, how: DiffKeywords) -> tuple[TreeQuery, TreeQuery]:
    """The tree queries of two sides; what `how` says holds where a side says nothing."""
    _refuse_unknown(how, DiffKeywords)
    shared = {name: value for name, value in how.items() if name in TreeKeywords.__annotations__}
    return _side(left, shared), _side(right, shared)


def _side(side: Side, shared: Mapping[str, object]) -> TreeQuery:
    given = {"selector": side} if isinstance(side, str) else dict(side)
    keywords = {**shared, **given}
    selector = str(keywords.pop("selector", "{}"))
    return tree_query(selector, cast(TreeKeywords, keywords))


def _refuse_unknown(given: Mapping[str, object], kind: type) -> None:
    """A misspelt keyword would otherwise be ignored. Raises `RequestError`."""
    unknown = sorted(set(given) - set(kind.__annotations__))
    if unknown:
        raise RequestError(
            f"unknown keyword: {', '.join(unknown)}; known are {', '.join(sorted(kind.__annotations__))}"
        )
