"""querier.v1: questions as values of the engine, and its answers as messages."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ....schema.errors import RequestError
from ....schema.labels import format_selector, parse_selector
from ....schema.proto import querier_pb2, querier_profile_pb2, types_pb2
from ....schema.request import (
    BlocksRequest,
    DiffRequest,
    Exported,
    ExportRequest,
    Flamegraph,
    FlamegraphDiff,
    FlamegraphRequest,
    LabelNamesRequest,
    LabelValuesRequest,
    PprofOptions,
    ProfilesRequest,
    ProfileTypesRequest,
    Request,
    Rows,
    Selection,
    SeriesLabelsRequest,
    SeriesRequest,
    SpansRequest,
    TreeQuery,
)
from .accept import takes_utf8_names
from .call_graph_dot import profile_to_dot
from .heatmap import Grid
from .heatmap_answer import heatmap_answer
from .questions import Questions, TenantQuestions
from .rpc import Answer, as_asked
from .times import MS
from .tree_bytes import tree_bytes

_HOUR_MS = 3_600_000
_NO_EXEMPLARS = (types_pb2.EXEMPLAR_TYPE_UNSPECIFIED, types_pb2.EXEMPLAR_TYPE_NONE)
_EXEMPLARS_OF_HEATMAPS = {
    querier_pb2.HEATMAP_QUERY_TYPE_INDIVIDUAL: types_pb2.EXEMPLAR_TYPE_INDIVIDUAL,
    querier_pb2.HEATMAP_QUERY_TYPE_SPAN: types_pb2.EXEMPLAR_TYPE_SPAN,
}
_PICKED = {
    "span_selector": "span_ids",
    "trace_id_selector": "trace_ids",
    "profile_id_selector": "profile_ids",
}
"""Fields of requests that pick samples or profiles, and what a selection calls them."""
_AS_PYROSCOPE = PprofOptions(rules="pyroscope", is_compressed=False)
_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TYPE_FORM = "<name>:<sample-type>:<sample-unit>:<period-type>:<period-unit>(:delta)"

Headers = Mapping[str, str]
RangeNs = tuple[int, int]


class QuerierService:
    """Handlers of querier.v1.QuerierService."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def profile_types(
        self, request: querier_pb2.ProfileTypesRequest, headers: Headers
    ) -> querier_pb2.ProfileTypesResponse:
        """The profile types in a range; without one, of the last hour."""
        start, end = request.start, request.end
        if not start and not end:
            end = time.time_ns() // MS
            start = end - _HOUR_MS
        questions = self._questions.of(headers)
        chosen = _selection((), questions.range_ns(start, end))
        ids = await _column(questions, ProfileTypesRequest(chosen))
        return querier_pb2.ProfileTypesResponse(profile_types=[_profile_type(one) for one in ids])

    async def label_names(
        self, request: types_pb2.LabelNamesRequest, headers: Headers
    ) -> types_pb2.LabelNamesResponse:
        """Label names; those with dots and the like only to clients that say they can take them."""
        questions = self._questions.of(headers)
        chosen = _selection(request.matchers, questions.range_ns(request.start, request.end))
        names = await _column(questions, LabelNamesRequest(chosen))
        return types_pb2.LabelNamesResponse(names=[name for name in names if _is_shown(name, headers)])

    async def label_values(
        self, request: types_pb2.LabelValuesRequest, headers: Headers
    ) -> types_pb2.LabelValuesResponse:
        """The values of one label."""
        questions = self._questions.of(headers)
        chosen_range = questions.range_ns(request.start, request.end)
        if not request.name:
            raise RequestError("name is required")
        chosen = _selection(request.matchers, chosen_range)
        names = await _column(questions, LabelValuesRequest(chosen, request.name))
        return types_pb2.LabelValuesResponse(names=names)

    async def series(
        self, request: querier_pb2.SeriesRequest, headers: Headers
    ) -> querier_pb2.SeriesResponse:
        """Distinct label sets, projected on the names that are asked for."""
        questions = self._questions.of(headers)
        chosen = _selection(request.matchers, questions.range_ns(request.start, request.end))
        wanted = tuple(name for name in request.label_names if _is_shown(name, headers))
        if request.label_names and not wanted:
            return querier_pb2.SeriesResponse(labels_set=[types_pb2.Labels()])
        found = await _column(questions, SeriesLabelsRequest(chosen, wanted))
        sets = {tuple((n, v) for n, v in labels if _is_shown(n, headers)) for labels in found}
        return querier_pb2.SeriesResponse(
            labels_set=[types_pb2.Labels(labels=_pairs(labels)) for labels in sorted(sets)]
        )

    async def select_merge_stacktraces(
        self, request: querier_pb2.SelectMergeStacktracesRequest, headers: Headers
    ) -> querier_pb2.SelectMergeStacktracesResponse:
        """A flame graph, or the same as tree, DOT or pprof."""
        return await self._stacktraces(request, headers, lambda answer: answer)

    async def _stacktraces(
        self,
        request: querier_pb2.SelectMergeStacktracesRequest,
        headers: Headers,
        shaped: Callable[[querier_pb2.SelectMergeStacktracesResponse], Answer],
    ) -> Answer:
        questions = self._questions.of(headers)
        chosen_range = questions.range_ns(request.start, request.end)
        most = questions.max_nodes(request.max_nodes)
        tree = _tree(request, chosen_range)

        def made(**parts: Any) -> Answer:
            return as_asked(shaped(querier_pb2.SelectMergeStacktracesResponse(**parts)), headers)

        if request.format == querier_pb2.PROFILE_FORMAT_PPROF:
            asked = _pprof_request(questions, tree, request)
            return await questions.ask(
                Exported, asked, lambda one: made(pprof=querier_pb2.PprofProfile(profile=_profile(one)))
            )
        if request.format == querier_pb2.PROFILE_FORMAT_DOT:
            source_nodes, shown = questions.dot_nodes(request.max_nodes)
            asked = ExportRequest(tree, "pprof", _AS_PYROSCOPE, source_nodes)
            return await questions.ask(
                Exported, asked, lambda one: made(dot=profile_to_dot(_profile(one), shown))
            )
        graph = FlamegraphRequest(tree, most)
        if request.format == querier_pb2.PROFILE_FORMAT_TREE:
            return await questions.ask(Flamegraph, graph, lambda one: made(tree=tree_bytes(one)))
        return await questions.ask(Flamegraph, graph, lambda one: made(flamegraph=_flamegraph(one)))

    async def select_merge_span_profile(
        self, request: querier_pb2.SelectMergeSpanProfileRequest, headers: Headers
    ) -> querier_pb2.SelectMergeSpanProfileResponse:
        """As above, of some spans."""
        inner = querier_pb2.SelectMergeStacktracesRequest(
            profile_typeID=request.profile_typeID,
            label_selector=request.label_selector,
            span_selector=request.span_selector,
            start=request.start,
            end=request.end,
            max_nodes=request.max_nodes,
        )
        if request.format == querier_pb2.PROFILE_FORMAT_TREE:
            inner.format = request.format
        return await self._stacktraces(inner, headers, _of_spans)

    async def select_merge_profile(
        self, request: querier_pb2.SelectMergeProfileRequest, headers: Headers
    ) -> querier_profile_pb2.Profile:
        """A merged pprof."""
        questions = self._questions.of(headers)
        tree = _tree(request, questions.range_ns(request.start, request.end))
        asked = _pprof_request(questions, tree, request)
        return await questions.ask(Exported, asked, lambda one: as_asked(_profile(one), headers))

    async def select_series(
        self, request: querier_pb2.SelectSeriesRequest, headers: Headers
    ) -> querier_pb2.SelectSeriesResponse:
        """Totals in time."""
        questions = self._questions.of(headers)
        chosen = _typed_selection(request, questions.range_ns(request.start, request.end))
        step_ms = _step_ms(request.step)
        if request.exemplar_type == types_pb2.EXEMPLAR_TYPE_SPAN:
            raise RequestError("exemplar type span is not implemented")
        exemplars = request.exemplar_type == types_pb2.EXEMPLAR_TYPE_INDIVIDUAL
        by = tuple(request.group_by)
        asked = SeriesRequest(chosen, step_ms * MS, by, "sum", request.limit, exemplars)
        return await questions.ask(
            Rows,
            asked,
            lambda rows: as_asked(querier_pb2.SelectSeriesResponse(series=_series(rows)), headers),
        )

    async def select_heatmap(
        self, request: querier_pb2.SelectHeatmapRequest, headers: Headers
    ) -> querier_pb2.SelectHeatmapResponse:
        """How the values of single profiles are spread in time and size."""
        questions = self._questions.of(headers)
        chosen = _typed_selection(request, questions.range_ns(request.start, request.end))
        step_ms = _step_ms(request.step)
        _check_heatmap(request)
        assert chosen.start_ns is not None
        widened = replace(chosen, start_ns=chosen.start_ns - step_ms * MS)
        spans = request.query_type == querier_pb2.HEATMAP_QUERY_TYPE_SPAN
        asked = SpansRequest(widened) if spans else ProfilesRequest(widened)
        grid = Grid(request.start, request.end, step_ms)
        return await questions.ask(
            Rows, asked, lambda rows: as_asked(heatmap_answer(rows, grid, request), headers)
        )

    async def diff(self, request: querier_pb2.DiffRequest, headers: Headers) -> querier_pb2.DiffResponse:
        """Two call trees side by side."""
        questions = self._questions.of(headers)
        sides = [(side, questions.range_ns(side.start, side.end)) for side in (request.left, request.right)]
        nodes = questions.max_nodes(max(request.left.max_nodes, request.right.max_nodes))
        left, right = (_tree(side, chosen_range) for side, chosen_range in sides)
        return await questions.ask(
            FlamegraphDiff,
            DiffRequest(left, right, nodes),
            lambda one: as_asked(querier_pb2.DiffResponse(flamegraph=_flamegraph_diff(one)), headers),
        )

    async def get_profile_stats(
        self, request: types_pb2.GetProfileStatsRequest, headers: Headers
    ) -> types_pb2.GetProfileStatsResponse:
        """Whether there is data, and of what time."""
        return await self._questions.of(headers).ask(Rows, BlocksRequest(), _stats)

    async def analyze_query(
        self, request: querier_pb2.AnalyzeQueryRequest, headers: Headers
    ) -> querier_pb2.AnalyzeQueryResponse:
        """Empty, as Pyroscope's own newer storage answers it."""
        self._questions.of(headers)
        return querier_pb2.AnalyzeQueryResponse()


def _of_spans(
    found: querier_pb2.SelectMergeStacktracesResponse,
) -> querier_pb2.SelectMergeSpanProfileResponse:
    answer = querier_pb2.SelectMergeSpanProfileResponse(tree=found.tree)
    if found.HasField("flamegraph"):
        answer.flamegraph.CopyFrom(found.flamegraph)
    return answer


async def _column(questions: TenantQuestions, request: Request) -> list[Any]:
    values: list[Any] = await questions.ask(Rows, request, lambda rows: rows.table.column(0).to_pylist())
    return values


def _stats(blocks: Rows) -> types_pb2.GetProfileStatsResponse:
    answer = types_pb2.GetProfileStatsResponse()
    if len(blocks.table):
        answer.data_ingested = True
        answer.oldest_profile_time = min(blocks.table.column("min_ts").to_pylist()) // MS
        answer.newest_profile_time = max(blocks.table.column("max_ts").to_pylist()) // MS
    return answer


def _pprof_request(questions: TenantQuestions, tree: TreeQuery, request: Any) -> ExportRequest:
    options = _AS_PYROSCOPE
    if request.stack_trace_selector.HasField("go_pgo"):
        pgo = request.stack_trace_selector.go_pgo
        options = replace(
            _AS_PYROSCOPE,
            go_pgo=True,
            keep_locations=pgo.keep_locations,
            aggregate_callees=pgo.aggregate_callees,
        )
    return ExportRequest(tree, "pprof", options, questions.profile_nodes(request.max_nodes))


def _profile(exported: Exported) -> querier_profile_pb2.Profile:
    message = querier_profile_pb2.Profile()
    message.ParseFromString(exported.data)
    return message


def _selection(matchers: Sequence[str], range_ns: RangeNs) -> Selection:
    """What several selectors have in common, in a range. Raises `RequestError`."""
    joined = format_selector([matcher for text in matchers for matcher in parse_selector(text)])
    return Selection(joined, "", *range_ns)


def _typed_selection(request: Any, range_ns: RangeNs) -> Selection:
    """The selection of a request that names a profile type. Raises `RequestError`."""
    parts = request.profile_typeID.split(":")
    if len(parts) not in (5, 6):
        raise RequestError(
            f"profile-type selection must be of the form {_TYPE_FORM}, "
            f'got({len(parts)}): "{request.profile_typeID}"'
        )
    try:
        parse_selector(request.label_selector)
    except RequestError as error:
        raise RequestError(f'parsing label selector "{request.label_selector}": {error}') from None
    return Selection(
        request.label_selector,
        ":".join(parts[:5]),
        start_ns=range_ns[0],
        end_ns=range_ns[1],
        **{name: tuple(getattr(request, field, ())) for field, name in _PICKED.items()},
    )


def _tree(request: Any, range_ns: RangeNs) -> TreeQuery:
    sites = () if not hasattr(request, "stack_trace_selector") else request.stack_trace_selector.call_site
    return TreeQuery(_typed_selection(request, range_ns), call_site=tuple(site.name for site in sites))


def _step_ms(step_s: float) -> int:
    if not step_s >= 0.001:
        raise RequestError("step must be >= 1ms")
    return int(step_s * 1000)


def _check_heatmap(request: querier_pb2.SelectHeatmapRequest) -> None:
    """Raises `RequestError` for what a heatmap cannot be of."""
    if request.limit < 0:
        raise RequestError(f"limit must be 0 or more, got {request.limit}")
    if request.start >= request.end:
        raise RequestError(f"start {request.start} must be before end {request.end}")
    fitting = _EXEMPLARS_OF_HEATMAPS.get(request.query_type)
    if fitting is None:
        raise RequestError("valid heatmap query type must be specified")
    if request.exemplar_type not in (*_NO_EXEMPLARS, fitting):
        raise RequestError("exemplars of single profiles go with heatmaps of them, those of spans with spans")


def _is_shown(name: str, headers: Headers) -> bool:
    return bool(_PLAIN_NAME.fullmatch(name)) or takes_utf8_names(headers.get("accept", ""))


def _pairs(labels: Sequence[tuple[str, str]]) -> list[types_pb2.LabelPair]:
    return [types_pb2.LabelPair(name=name, value=value) for name, value in labels]


def _profile_type(type_id: str) -> types_pb2.ProfileType:
    name, sample_type, sample_unit, period_type, period_unit = type_id.split(":")
    return types_pb2.ProfileType(
        ID=type_id,
        name=name,
        sample_type=sample_type,
        sample_unit=sample_unit,
        period_type=period_type,
        period_unit=period_unit,
    )


def _series(rows: Rows) -> list[types_pb2.Series]:
    """Points of one series follow each other."""
    series: list[types_pb2.Series] = []
    last: object = None
    for row in rows.table.to_pylist():
        if row["labels"] != last or not series:
            series.append(types_pb2.Series(labels=_pairs(row["labels"])))
            last = row["labels"]
        point = series[-1].points.add(value=row["value"], timestamp=row["ts"] // MS)
        if found := row.get("exemplar"):
            point.exemplars.add(
                timestamp=found["ts"] // MS,
                profile_id=found["profile_id"],
                value=found["value"],
                labels=_pairs(found["labels"]),
            )
    return series


def _flamegraph(graph: Flamegraph) -> querier_pb2.FlameGraph:
    return querier_pb2.FlameGraph(
        names=graph.names,
        levels=[querier_pb2.Level(values=level) for level in graph.levels],
        total=graph.total,
        max_self=graph.max_self,
    )


def _flamegraph_diff(graph: FlamegraphDiff) -> querier_pb2.FlameGraphDiff:
    return querier_pb2.FlameGraphDiff(
        names=graph.names,
        levels=[querier_pb2.Level(values=level) for level in graph.levels],
        total=graph.total,
        max_self=graph.max_self,
        leftTicks=graph.left_ticks,
        rightTicks=graph.right_ticks,
    )
