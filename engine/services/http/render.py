"""Pyroscope's plain HTTP questions: /pyroscope/render, render-diff and label-values."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ....schema import request as asked
from ....schema.errors import RequestError
from ....schema.labels import METRIC_NAME, format_selector, parse_selector
from ....schema.profile_type import parse_profile_type
from ....schema.proto import querier_profile_pb2
from .attime import parse_attime_ns
from .call_graph_dot import profile_to_dot
from .flamebearer import Timeline, flamebearer, step_s, timeline
from .questions import Questions, TenantQuestions
from .times import MS

_HOUR_MS = 3_600_000


class RenderRoutes:
    """Handlers of the plain routes."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def render(self, request: Request) -> Response:
        """A flame graph and its time series, as JSON; with `format=dot`, a graph for graphviz."""
        questions = self._questions.of(request.headers)
        params = request.query_params
        shown = _shown(params, "query", "from", "until")
        chosen = shown.selection(questions)
        nodes = _nodes(params)
        tree = asked.TreeQuery(chosen)
        if params.get("format") == "dot":
            return await _dot(questions, tree, nodes)
        most = questions.max_nodes(nodes)
        groups = tuple(params.getlist("groupBy"))
        main, by_group = await _timelines(questions, chosen, groups, shown.range_ms(chosen))
        return await questions.ask(
            asked.Flamegraph,
            asked.FlamegraphRequest(tree, most),
            lambda graph: JSONResponse(flamebearer(graph, shown.profile_type, main, by_group)),
        )

    async def render_diff(self, request: Request) -> Response:
        """Two flame graphs side by side, as JSON."""
        questions = self._questions.of(request.headers)
        params = request.query_params
        sides = [_shown(params, f"{side}Query", f"{side}From", f"{side}Until") for side in ("left", "right")]
        if sides[0].profile_type != sides[1].profile_type:
            raise RequestError("profile types must match")
        left, right = (asked.TreeQuery(side.selection(questions)) for side in sides)
        nodes = questions.max_nodes(_nodes(params))
        return await questions.ask(
            asked.FlamegraphDiff,
            asked.DiffRequest(left, right, nodes),
            lambda graph: JSONResponse(flamebearer(graph, sides[0].profile_type)),
        )

    async def label_values(self, request: Request) -> Response:
        """The profile types of the last hour for `__name__`; other labels need a range, which there is not."""
        questions = self._questions.of(request.headers)
        label = request.query_params.get("label", "")
        if not label:
            raise RequestError("label parameter is required")
        if label != METRIC_NAME:
            raise RequestError("missing time range in the query")
        now_ms = time.time_ns() // MS
        chosen = asked.Selection("{}", "", *questions.range_ns(now_ms - _HOUR_MS, now_ms))
        return await questions.ask(
            asked.Rows,
            asked.ProfileTypesRequest(chosen),
            lambda rows: JSONResponse(rows.table.column(0).to_pylist()),
        )


@dataclass(frozen=True)
class _Shown:
    """What is to be shown: series, a profile type, and a range in milliseconds."""

    selector: str
    profile_type: str
    start_ms: int
    end_ms: int

    def selection(self, questions: TenantQuestions) -> asked.Selection:
        """The same as the engine takes it. Raises `RequestError` for a range that a tenant may not ask for."""
        return asked.Selection(
            self.selector, self.profile_type, *questions.range_ns(self.start_ms, self.end_ms)
        )

    def range_ms(self, chosen: asked.Selection) -> tuple[int, int]:
        """The range that is answered: it may begin later than what was asked for."""
        assert chosen.start_ns is not None
        return max(self.start_ms, chosen.start_ns // MS), self.end_ms


def _shown(params: QueryParams, query: str, start: str, end: str) -> _Shown:
    """What three parameters say. Raises `RequestError`."""
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
    rest = format_selector(one for one in matchers if one is not names[0])
    return _Shown(rest, profile_type, start_ms, end_ms)


def _nodes(params: QueryParams) -> int:
    """How many nodes are asked for; 0: the default. Raises `RequestError`."""
    text = params.get("maxNodes") or params.get("max-nodes") or "0"
    try:
        return int(text)
    except ValueError:
        raise RequestError(f"max-nodes must be a number, got {text[:20]!r}") from None


async def _dot(questions: TenantQuestions, tree: asked.TreeQuery, nodes: int) -> Response:
    """A graph for graphviz."""
    source_nodes, shown = questions.dot_nodes(nodes)
    options = asked.PprofOptions(rules="pyroscope", is_compressed=False)

    def drawn(exported: asked.Exported) -> Response:
        profile = querier_profile_pb2.Profile.FromString(exported.data)
        return PlainTextResponse(profile_to_dot(profile, shown))

    return await questions.ask(
        asked.Exported, asked.ExportRequest(tree, "pprof", options, source_nodes), drawn
    )


Timelines = tuple[Timeline, dict[str, Timeline] | None]


async def _timelines(
    questions: TenantQuestions, chosen: asked.Selection, groups: Sequence[str], range_ms: tuple[int, int]
) -> Timelines:
    """The points of the only series there is; and those of each group, by the value of the first label."""

    def drawn(rows: asked.Rows) -> Timelines:
        series: dict[tuple[tuple[str, str], ...], dict[int, float]] = {}
        for row in rows.table.to_pylist():
            series.setdefault(tuple(row["labels"]), {})[row["ts"] // MS] = row["value"]
        only = next(iter(series.values())) if len(series) == 1 else {}
        named = {
            dict(labels).get(groups[0], "*"): timeline(points, *range_ms)
            for labels, points in series.items()
            if groups
        }
        return timeline(only, *range_ms), named if groups else None

    request = asked.SeriesRequest(chosen, step_s(*range_ms) * 1000 * MS, tuple(groups))
    return await questions.ask(asked.Rows, request, drawn)
