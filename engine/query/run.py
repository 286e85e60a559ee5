"""Answer any request from a snapshot: one table from the kind of request to the function that answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
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
    Selection,
    SeriesLabelsRequest,
    SeriesRequest,
    SpansRequest,
    TopRequest,
    TreeRequest,
)
from .snapshot import Snapshot


def answer_export(snapshot: Snapshot, request: ExportRequest) -> Exported:
    """Bytes in one of the output formats."""
    from .export import Export
    from .outputs import output_named

    output = output_named(request.format)
    export = Export(snapshot, request)
    data = output.load()(export)
    several = output.every_type and len(export.sample_types) != 1
    profile_type = "" if several else export.resolved.plan.profile_type
    return Exported(data, output.media_type, profile_type)


_ANSWERS: Mapping[type, tuple[str, str]] = MappingProxyType(
    {
        FlamegraphRequest: ("trees", "answer_flamegraph"),
        DiffRequest: ("trees", "answer_diff"),
        TopRequest: ("trees", "answer_top"),
        DiffTopRequest: ("trees", "answer_diff_top"),
        TreeRequest: ("trees", "answer_tree"),
        SandwichRequest: ("trees", "answer_sandwich"),
        LinesRequest: ("trees", "answer_lines"),
        SeriesRequest: ("series", "answer_series"),
        ProfilesRequest: ("series", "answer_profiles"),
        SpansRequest: ("spans", "answer_spans"),
        LabelNamesRequest: ("labels", "label_names"),
        LabelValuesRequest: ("labels", "label_values"),
        SeriesLabelsRequest: ("labels", "series_labels"),
        ProfileTypesRequest: ("labels", "profile_types"),
        ExportRequest: ("run", "answer_export"),
    }
)
"""The module beside this one and the function in it; imported when asked for, since a command asks one question."""


_EVERY_SAMPLE = Selection()


def answer(snapshot: Snapshot, request: Request) -> Answer:
    """The answer of a request over the blocks of a snapshot. Raises `RequestError` or `StorageError`."""
    place = _ANSWERS.get(type(request))
    if place is None:
        raise RequestError(f"{type(request).__name__} cannot be answered from blocks")
    if getattr(request, "selection", _EVERY_SAMPLE).picks_samples:
        raise RequestError("span and trace ids choose samples: they go with call trees and exports alone")
    module, name = place
    handler: Callable[[Snapshot, Any], Answer] = getattr(import_module(f"{__package__}.{module}"), name)
    return handler(snapshot, request)
