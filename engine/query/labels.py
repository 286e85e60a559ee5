"""Label names and values, label sets, profile types: answers from the series indexes alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.labels import parse_selector
from ...schema.profile_type import resolve_profile_type
from ...schema.request import (
    LabelNamesRequest,
    LabelValuesRequest,
    ProfileTypesRequest,
    Rows,
    Selection,
    SeriesLabelsRequest,
)
from .snapshot import Snapshot, choose_series, known_types, of_type

IntArray = npt.NDArray[np.int64]


def label_names(snapshot: Snapshot, request: LabelNamesRequest) -> Rows:
    """Names of the labels that any chosen series has."""
    names = {name for labels in chosen_labels(snapshot, request.selection) for name, _ in labels}
    return Rows(pa.table({"name": pa.array(sorted(names), pa.string())}))


def label_values(snapshot: Snapshot, request: LabelValuesRequest) -> Rows:
    """Values of one label among the chosen series."""
    values: set[str] = set()
    for ulid, series in _chosen(snapshot, request.selection).items():
        column = snapshot.blocks[ulid].index.label(request.name).take(pa.array(series))
        values.update(value for value in column.unique().to_pylist() if value)
    return Rows(pa.table({"value": pa.array(sorted(values), pa.string())}))


def series_labels(snapshot: Snapshot, request: SeriesLabelsRequest) -> Rows:
    """Distinct label sets, whole or projected on some names; none at all when no series has any of the names."""
    wanted = set(request.names)
    distinct = {
        tuple(pair for pair in labels if not wanted or pair[0] in wanted)
        for labels in chosen_labels(snapshot, request.selection)
    }
    if distinct == {()}:
        distinct = set()
    return Rows(
        pa.table({"labels": pa.array(map(list, sorted(distinct)), pa.map_(pa.string(), pa.string()))})
    )


def profile_types(snapshot: Snapshot, request: ProfileTypesRequest) -> Rows:
    """Profile types of the chosen series."""
    types = known_types(snapshot, _chosen(snapshot, request.selection))
    return Rows(pa.table({"profile_type": pa.array(types, pa.string())}))


def chosen_labels(snapshot: Snapshot, selection: Selection) -> Iterable[list[tuple[str, str]]]:
    """The label sets of the chosen series of all blocks; a series of several blocks comes several times."""
    for ulid, series in _chosen(snapshot, selection).items():
        yield from snapshot.blocks[ulid].index.table.column("labels").take(pa.array(series)).to_pylist()


def _chosen(snapshot: Snapshot, selection: Selection) -> dict[str, IntArray]:
    chosen = choose_series(snapshot, parse_selector(selection.selector), selection)
    if selection.profile_type:
        known = known_types(snapshot, chosen)
        chosen = of_type(snapshot, chosen, resolve_profile_type(selection.profile_type, known))
    return chosen
