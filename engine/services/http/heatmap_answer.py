"""Single profiles, or spans, as the message of a heatmap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ....schema.proto import querier_pb2, types_pb2
from ....schema.request import Rows
from .heatmap import Grid, Point, Slot, heatmap
from .times import MS

Labels = tuple[tuple[str, str], ...]

_NO_EXEMPLARS = (types_pb2.EXEMPLAR_TYPE_UNSPECIFIED, types_pb2.EXEMPLAR_TYPE_NONE)


def heatmap_answer(
    rows: Rows, grid: Grid, request: querier_pb2.SelectHeatmapRequest
) -> querier_pb2.SelectHeatmapResponse:
    """One series for each set of the labels that are grouped by; the largest ones where there is a limit.

    `rows` answer a `ProfilesRequest` or a `SpansRequest`.
    """
    groups: dict[Labels, list[Point]] = {}
    for key, point in _points(rows, list(request.group_by)):
        groups.setdefault(key, []).append(point)
    ranked = sorted(groups, key=lambda key: (-len(groups[key]), key)) if request.limit else sorted(groups)
    chosen = ranked[: request.limit] if request.limit else ranked
    slots = heatmap([groups[key] for key in chosen], grid)
    answer = querier_pb2.SelectHeatmapResponse()
    exemplars = request.exemplar_type not in _NO_EXEMPLARS
    for key, columns in zip(chosen, slots, strict=True):
        answer.series.add(labels=_pairs(key), slots=[_slot(column, exemplars) for column in columns])
    return answer


def _points(rows: Rows, by: Sequence[str]) -> Iterator[tuple[Labels, Point]]:
    """A profile, or a span, is one point at each time, whichever series of a group its samples are in."""
    found: dict[tuple[Labels, int, str, str], Point] = {}
    spans = "span_id" in rows.table.column_names
    names = ["profile_id", "ts", "labels", "total", *(("span_id", "trace_id") if spans else ())]
    for row in rows.table.select(names).to_pylist():
        key, rest = _split(dict(row["labels"]), by)
        ids = (row["span_id"], row["trace_id"]) if spans else (row["profile_id"], "")
        place = (key, row["ts"], *ids)
        known = found.get(place)
        if known is None:
            point = Point(row["ts"] // MS, row["total"], row["profile_id"], labels=rest)
            found[place] = replace(point, span_id=ids[0], trace_id=ids[1]) if spans else point
        else:
            both = tuple(pair for pair in known.labels if pair in rest)
            found[place] = replace(known, value=known.value + row["total"], labels=both)
    for (key, *_), point in found.items():
        yield key, point


def _split(labels: Mapping[str, str], by: Sequence[str]) -> tuple[Labels, Labels]:
    """The labels that are grouped by, in that order, and the others."""
    key = tuple((name, labels[name]) for name in by if labels.get(name))
    return key, tuple(item for item in sorted(labels.items()) if item[0] not in by)


def _slot(slot: Slot, exemplars: bool) -> types_pb2.HeatmapSlot:
    return types_pb2.HeatmapSlot(
        timestamp=slot.ts_ms,
        y_min=slot.y_min,
        counts=slot.counts,
        exemplars=[_exemplar(point) for point in slot.largest] if exemplars else (),
    )


def _exemplar(point: Point) -> Any:
    return types_pb2.Exemplar(
        timestamp=point.ts_ms,
        value=point.value,
        profile_id=point.profile_id,
        span_id=point.span_id,
        trace_id=point.trace_id,
        labels=_pairs(point.labels),
    )


def _pairs(labels: Labels) -> list[types_pb2.LabelPair]:
    return [types_pb2.LabelPair(name=name, value=value) for name, value in labels]
