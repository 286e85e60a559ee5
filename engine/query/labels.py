"""Label names and values, label sets, profile types: answers from the series indexes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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

LabelSet = tuple[tuple[str, str], ...]
"""Pairs of name and value, sorted."""


def label_names(snapshot: Snapshot, request: LabelNamesRequest) -> Rows:
    """Names of the labels that any chosen series has."""
    names: set[str] = set()
    for ulid, series in _chosen(snapshot, request.selection).items():
        for labels in snapshot.blocks[ulid].index.table.column("labels").take(pa.array(series)).chunks:
            names.update(labels.keys.unique().to_pylist())
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
    chosen = _chosen(snapshot, request.selection)
    names = sorted(set(request.names))
    distinct = _projected(snapshot, chosen, names) if names else _whole(snapshot, chosen)
    if distinct == {()}:
        distinct = set()
    return Rows(
        pa.table({"labels": pa.array(map(list, sorted(distinct)), pa.map_(pa.string(), pa.string()))})
    )


def _projected(snapshot: Snapshot, chosen: Mapping[str, IntArray], names: Sequence[str]) -> set[LabelSet]:
    """What is distinct is found out in columns: most series differ in other labels than those that are wanted."""
    distinct: set[LabelSet] = set()
    for ulid, series in chosen.items():
        index = snapshot.blocks[ulid].index
        columns = [index.label(name).take(pa.array(series)) for name in names]
        places = list(map(str, range(len(names))))
        for row in pa.table(columns, places).group_by(places).aggregate([]).to_pylist():
            values = zip(names, row.values(), strict=True)
            distinct.add(tuple((name, value) for name, value in values if value is not None))
    return distinct


def _whole(snapshot: Snapshot, chosen: Mapping[str, IntArray]) -> set[LabelSet]:
    """A series of several blocks has the same labels in each."""
    distinct: set[LabelSet] = set()
    seen = np.zeros(0, np.uint64)
    for ulid, series in chosen.items():
        index = snapshot.blocks[ulid].index
        new = series[~np.isin(index.series_id[series], seen)]
        seen = np.concatenate([seen, index.series_id[new]])
        distinct.update(map(tuple, index.table.column("labels").take(pa.array(new)).to_pylist()))
    return distinct


def profile_types(snapshot: Snapshot, request: ProfileTypesRequest) -> Rows:
    """Profile types of the chosen series."""
    types = known_types(snapshot, _chosen(snapshot, request.selection))
    return Rows(pa.table({"profile_type": pa.array(types, pa.string())}))


def _chosen(snapshot: Snapshot, selection: Selection) -> dict[str, IntArray]:
    chosen = choose_series(snapshot, parse_selector(selection.selector), selection)
    if selection.profile_type:
        known = known_types(snapshot, chosen)
        chosen = of_type(snapshot, chosen, resolve_profile_type(selection.profile_type, known))
    return chosen
