"""Pyroscope's plain HTTP questions: /pyroscope/render, render-diff and label-values."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Sequence
from typing import cast

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ....schema import request as asked
from ....schema.errors import RequestError
from ....schema.labels import METRIC_NAME, format_selector, parse_selector
from ....schema.profile_type import parse_profile_type
from ....schema.proto import querier_profile_pb2
from ..querier import Querier
from .attime import parse_attime_ns
from .call_graph_dot import SOURCE_NODES, profile_to_dot
from .flamebearer import Timeline, flamebearer, step_s, timeline
from .query_limits import max_nodes
from .tenancy import tenant_of
from .times import MS, range_ns

_HOUR_MS = 3_600_000


class RenderRoutes:
    """Handlers of the plain routes."""

    def __init__(self, querier: Querier, multitenancy: bool) -> None:
        self._querier = querier
        self._multitenancy = multitenancy

    async def render(self, request: Request) -> Response:
        """A flame graph and its time series, as JSON; with `format=dot`, a graph for graphviz."""
        tenant = tenant_of(request.headers, self._multitenancy)
        return await asyncio.to_thread(self._render, tenant, request.query_params)

    def _render(self, tenant: str, params: QueryParams) -> Response:
        chosen, start_ms, end_ms = _selection(params, "query", "from", "until")
        nodes = int(params.get("maxNodes") or params.get("max-nodes") or 0)
        tree = asked.TreeQuery(chosen)
        if params.get("format") == "dot":
            options = asked.PprofOptions(rules="pyroscope")
            export = asked.ExportRequest(tree, "pprof", options, max(nodes, SOURCE_NODES))
            exported = cast(asked.Exported, self._querier.ask(tenant, export))
            profile = querier_profile_pb2.Profile.FromString(gzip.decompress(exported.data))
            return PlainTextResponse(profile_to_dot(profile, nodes))
        graph = cast(
            asked.Flamegraph,
            self._querier.ask(tenant, asked.FlamegraphRequest(tree, max_nodes(nodes))),
        )
        groups = tuple(params.getlist("groupBy"))
        main, by_group = self._timelines(tenant, chosen, groups, (start_ms, end_ms))
        return JSONResponse(flamebearer(graph, chosen.profile_type, main, by_group))

    def _timelines(
        self, tenant: str, chosen: asked.Selection, groups: Sequence[str], range_ms: tuple[int, int]
    ) -> tuple[Timeline, dict[str, Timeline] | None]:
        """The points of the only series there is; and those of each group, by the value of the first label."""
        request = asked.SeriesRequest(chosen, step_s(*range_ms) * 1000 * MS, tuple(groups))
        rows = cast(asked.Rows, self._querier.ask(tenant, request)).table.to_pylist()
        series: dict[tuple[tuple[str, str], ...], dict[int, float]] = {}
        for row in rows:
            series.setdefault(tuple(row["labels"]), {})[row["ts"] // MS] = row["value"]
        only = next(iter(series.values())) if len(series) == 1 else {}
        main = timeline(only, *range_ms)
        if not groups:
            return main, None
        named = {
            dict(labels).get(groups[0], "*"): timeline(points, *range_ms) for labels, points in series.items()
        }
        return main, named

    async def render_diff(self, request: Request) -> Response:
        """Two flame graphs side by side, as JSON."""
        tenant = tenant_of(request.headers, self._multitenancy)
        return await asyncio.to_thread(self._render_diff, tenant, request.query_params)

    def _render_diff(self, tenant: str, params: QueryParams) -> Response:
        left, right = (
            _selection(params, f"{side}Query", f"{side}From", f"{side}Until")[0] for side in ("left", "right")
        )
        if left.profile_type != right.profile_type:
            raise RequestError("profile types must match")
        nodes = max_nodes(int(params.get("maxNodes") or params.get("max-nodes") or 0))
        request = asked.DiffRequest(asked.TreeQuery(left), asked.TreeQuery(right), nodes)
        graph = cast(asked.FlamegraphDiff, self._querier.ask(tenant, request))
        return JSONResponse(flamebearer(graph, left.profile_type))

    async def label_values(self, request: Request) -> Response:
        """The profile types of the last hour for `__name__`; other labels need a range, which there is not."""
        tenant = tenant_of(request.headers, self._multitenancy)
        label = request.query_params.get("label", "")
        if not label:
            raise RequestError("label parameter is required")
        if label != METRIC_NAME:
            raise RequestError("missing time range in the query")
        now_ms = time.time_ns() // MS
        chosen = asked.Selection("{}", "", (now_ms - _HOUR_MS) * MS, now_ms * MS)
        rows = await asyncio.to_thread(self._querier.ask, tenant, asked.ProfileTypesRequest(chosen))
        return JSONResponse(cast(asked.Rows, rows).table.column(0).to_pylist())


def _selection(params: QueryParams, query: str, start: str, end: str) -> tuple[asked.Selection, int, int]:
    """What is selected, and the range in milliseconds. Raises `RequestError`."""
    text = params.get(query, "")
    if not text:
        raise RequestError(f'"{query}" is required')
    now_ns = time.time_ns()
    start_ms, end_ms = (parse_attime_ns(params.get(name, ""), now_ns) // MS for name in (start, end))
    matchers = parse_selector(text)
    names = [one for one in matchers if one.name == METRIC_NAME and one.op == "="]
    if not names:
        raise RequestError(f'"{query}" must contain a profile-type selection')
    try:
        profile_type = str(parse_profile_type(names[0].value))
    except RequestError:
        raise RequestError(f'failed to parse "{query}"') from None
    start_ns, end_ns = range_ns(start_ms, end_ms)
    rest = format_selector(one for one in matchers if one is not names[0])
    return asked.Selection(rest, profile_type, start_ns, end_ns), start_ms, end_ms
