"""Answer any request from a snapshot: one table from the kind of request to the function that answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ...schema.errors import RequestError
from ...schema.request import (
    Answer,
    DiffRequest,
    DiffTopRequest,
    Exported,
    ExportRequest,
    FlamegraphRequest,
    LabelNamesRequest,
    LabelValuesRequest,
    LinesRequest,
    ProfilesRequest,
    ProfileTypesRequest,
    Request,
    SandwichRequest,
    SeriesLabelsRequest,
    SeriesRequest,
    TopRequest,
    TreeRequest,
)
from .export import Export
from .labels import label_names, label_values, profile_types, series_labels
from .outputs import output_named
from .series import answer_profiles, answer_series
from .snapshot import Snapshot
from .trees import (
    answer_diff,
    answer_diff_top,
    answer_flamegraph,
    answer_lines,
    answer_sandwich,
    answer_top,
    answer_tree,
)


def answer_export(snapshot: Snapshot, request: ExportRequest) -> Exported:
    """Bytes in one of the output formats."""
    output = output_named(request.format)
    export = Export(snapshot, request)
    data = output.load()(export)
    profile_type = ""
    if request.format != "pprof":
        profile_type = export.resolved.plan.profile_type
    return Exported(data, output.media_type, profile_type)


_ANSWERS: Mapping[type, Callable[[Snapshot, Any], Answer]] = MappingProxyType(
    {
        FlamegraphRequest: answer_flamegraph,
        DiffRequest: answer_diff,
        TopRequest: answer_top,
        DiffTopRequest: answer_diff_top,
        TreeRequest: answer_tree,
        SandwichRequest: answer_sandwich,
        LinesRequest: answer_lines,
        SeriesRequest: answer_series,
        ProfilesRequest: answer_profiles,
        LabelNamesRequest: label_names,
        LabelValuesRequest: label_values,
        SeriesLabelsRequest: series_labels,
        ProfileTypesRequest: profile_types,
        ExportRequest: answer_export,
    }
)


def answer(snapshot: Snapshot, request: Request) -> Answer:
    """The answer of a request over the blocks of a snapshot. Raises `RequestError` or `StorageError`."""
    handler = _ANSWERS.get(type(request))
    if handler is None:
        raise RequestError(f"{type(request).__name__} cannot be answered from blocks")
    return handler(snapshot, request)
