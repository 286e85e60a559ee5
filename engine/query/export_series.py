"""An export with its series kept apart: for formats that can say whose profile it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ...schema.partial import LocationPartial
from .export import Export, SampleType
from .locations import gather_locations
from .plan import BlockScan, scan_of
from .profile_facts import ProfileFacts, facts_of
from .snapshot import Resolved
from .source import Weights
from .weights import profiles_of, weighted

LabelPairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SeriesExport:
    """All profiles of one series, which is a label set with its profile type, merged into one."""

    labels: LabelPairs
    kind: SampleType
    facts: ProfileFacts


def export_series(export: Export, labels: bool) -> tuple[list[SeriesExport], LocationPartial]:
    """The series of an export by their labels, and the exact stacks of all.

    The values of series number `i` have the text of `i` in place of a profile type. Raises `RequestError` where
    frames were asked to change.
    """
    export.require_exact_stacks()
    snapshot, aggregate = export.snapshot, export.request.tree.aggregate
    found: list[SeriesExport] = []
    chosen: list[tuple[str, Resolved]] = []
    for pairs, scans in sorted(_scans_of_series(export).items()):
        own = _narrowed(export, scans)
        own = replace(own, weights=weighted(snapshot, own, aggregate))
        kind = _sample_type(export, dict(pairs))
        chosen.append((str(len(found)), own))
        found.append(SeriesExport(pairs, kind, facts_of(snapshot, profiles_of(snapshot, own))))
    return found, gather_locations(snapshot, chosen, labels and aggregate == "sum")


def _scans_of_series(export: Export) -> dict[LabelPairs, list[BlockScan]]:
    """What to read for each label set, in the order of blocks."""
    found: dict[LabelPairs, list[BlockScan]] = {}
    for scan in export.every_type.plan.scans:
        index = export.snapshot.blocks[scan.ulid].index
        series = scan.series
        labels = index.table.column("labels").take(pa.array(series)).to_pylist()
        for number, pairs in zip(series.tolist(), labels, strict=True):
            one = np.array([number])
            found.setdefault(tuple(pairs), []).append(scan_of(scan.ulid, index.part[one], one, scan.timed))
    return found


def _narrowed(export: Export, scans: list[BlockScan]) -> Resolved:
    """The selection with one series; of the copies, those that are its own."""
    whole = export.every_type
    plan = replace(whole.plan, scans=tuple(scans))
    excluded = {}
    for scan in scans:
        copies = whole.weights.excluded.get(scan.ulid)
        if copies is not None:
            rows = export.snapshot.blocks[scan.ulid].profiles(scan.series, plan.start_ns, plan.end_ns).row
            excluded[scan.ulid] = copies[np.isin(copies, rows)]
    return Resolved(plan, Weights(excluded=excluded))


def _sample_type(export: Export, labels: dict[str, str]) -> SampleType:
    profile_type = labels["__profile_type__"]
    return next(kind for kind in export.sample_types if kind.profile_type == profile_type)
