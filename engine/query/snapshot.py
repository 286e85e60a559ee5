"""The blocks that one question sees, and the plan of what it reads in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.block import BlockMeta
from ...schema.errors import UnknownType
from ...schema.labels import METRIC_NAME, SERVICE_NAME, Matcher, parse_selector
from ...schema.profile_type import resolve_profile_type
from ...schema.request import Selection
from ..database import DuckDB
from .executed import Elsewhere, ExecutedSource
from .opened import OpenBlock
from .overlay import Overlays
from .picked import picked_by
from .picked_profiles import only_profiles
from .plan import BlockScan, Plan, SeriesSpan, copies, overlapping_series, scan_of
from .source import BlockSource, Weights
from .watch import SERIES, SERVICE, UNWATCHED, Watch

IntArray = npt.NDArray[np.int64]

_PART_LABELS = {SERVICE_NAME: "service_name", METRIC_NAME: "name"}
"""Labels that all series of a part have in common, and where its metadata says them."""


@dataclass(frozen=True)
class Snapshot:
    """Blocks of one catalog version, by ULID, oldest first. Nothing that is committed later is seen.

    `database` gives the DuckDB to read with, which is made on first use. `default_type` is the type of a
    question that names none, where there is one: a single file's own choice. `overlays` is best shared by
    the snapshots of one store. `elsewhere` is who adds up what is in the blocks, if that is not this process. `live` is
    how many blocks the catalog names, in the range or not; `watch` is told what is read.
    """

    blocks: Mapping[str, OpenBlock]
    database: Callable[[], DuckDB]
    version: int = 0
    default_type: str = ""
    overlays: Overlays = field(default_factory=Overlays)
    elsewhere: Elsewhere | None = None
    live: int = 0
    watch: Watch = UNWATCHED

    @property
    def source(self) -> BlockSource:
        """The blocks, as something that can be asked."""
        if self.elsewhere is not None:
            return ExecutedSource(self.blocks, self.database, self.overlays, self.elsewhere)
        return BlockSource(self.blocks, self.database, self.overlays, self.watch)


@dataclass(frozen=True)
class Resolved:
    """A selection that was looked up: the plan, and the copies that it must not count."""

    plan: Plan
    weights: Weights
    notes: tuple[str, ...] = ()


def resolve(snapshot: Snapshot, selection: Selection) -> Resolved:
    """Find the one profile type, the blocks, the series and the copies of a selection.

    Raises `InvalidSelector`, and `UnknownType` when the type is not the only one that fits.
    """
    snapshot.watch.phase("select")
    matchers = parse_selector(selection.selector)
    chosen = choose_series(snapshot, matchers, selection)
    profile_type, notes = _pick_type(snapshot, selection, known_types(snapshot, chosen))
    plan = plan_of(snapshot, selection, of_type(snapshot, chosen, profile_type), profile_type)
    weights = _weights(snapshot, plan, selection)
    snapshot.watch.phase("read")
    return Resolved(plan, weights, notes)


def resolve_all_types(snapshot: Snapshot, selection: Selection) -> Resolved:
    """As `resolve`, without narrowing to one type when the selection names none."""
    snapshot.watch.phase("select")
    chosen = choose_series(snapshot, parse_selector(selection.selector), selection)
    profile_type = ""
    if selection.profile_type:
        profile_type = resolve_profile_type(selection.profile_type, known_types(snapshot, chosen))
        chosen = of_type(snapshot, chosen, profile_type)
    plan = plan_of(snapshot, selection, chosen, profile_type)
    weights = _weights(snapshot, plan, selection)
    snapshot.watch.phase("read")
    return Resolved(plan, weights)


def _weights(snapshot: Snapshot, plan: Plan, selection: Selection) -> Weights:
    """Every profile counts once; of named ones, only these. Raises `RequestError` for an id that is none."""
    excluded = find_copies(snapshot, plan)
    if not selection.profile_ids:
        return Weights(excluded=excluded)
    return only_profiles(snapshot.blocks, plan, excluded, selection.profile_ids)


def choose_series(
    snapshot: Snapshot, matchers: Sequence[Matcher], selection: Selection
) -> dict[str, IntArray]:
    """Series that the matchers select and whose times touch the range, by block; blocks without any left out."""
    chosen: dict[str, IntArray] = {}
    for ulid, block in snapshot.blocks.items():
        if not _may_hold(block.meta, matchers):
            snapshot.watch.pruned(ulid, SERVICE)
            continue
        series = block.index.choose(matchers, selection.start_ns, selection.end_ns)
        if len(series):
            chosen[ulid] = series
        else:
            snapshot.watch.pruned(ulid, SERIES)
    return chosen


def _may_hold(meta: BlockMeta, matchers: Sequence[Matcher]) -> bool:
    """Whether a block may have what is selected: its metadata says which services and names, without its index."""
    keep = np.ones(len(meta.parts), np.bool_)
    for matcher in matchers:
        if matcher.name in _PART_LABELS:
            values = pa.array([getattr(part, _PART_LABELS[matcher.name]) for part in meta.parts], pa.string())
            keep &= matcher.mask(values).to_numpy(zero_copy_only=False)
    return bool(keep.any())


def known_types(snapshot: Snapshot, chosen: Mapping[str, IntArray]) -> list[str]:
    """The profile types among some series, sorted."""
    types: set[str] = set()
    for ulid, series in chosen.items():
        types.update(snapshot.blocks[ulid].index.profile_type.take(series).unique().to_pylist())
    return sorted(types)


def of_type(snapshot: Snapshot, chosen: Mapping[str, IntArray], profile_type: str) -> dict[str, IntArray]:
    """Those of some series that have the profile type."""
    matcher = Matcher("__profile_type__", "=", profile_type)
    kept: dict[str, IntArray] = {}
    for ulid, series in chosen.items():
        index = snapshot.blocks[ulid].index
        fits = series[matcher.mask(index.profile_type.take(series)).to_numpy(zero_copy_only=False)]
        if len(fits):
            kept[ulid] = fits
        else:
            snapshot.watch.pruned(ulid, SERIES)
    return kept


def _pick_type(snapshot: Snapshot, selection: Selection, known: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    if selection.profile_type:
        return resolve_profile_type(selection.profile_type, known), ()
    if len(known) == 1:
        return known[0], ()
    if not known:
        return "", ("no profile matches",)
    if snapshot.default_type in known:
        return snapshot.default_type, (
            f"showing {snapshot.default_type}; the others: {_others(snapshot, known)}",
        )
    raise UnknownType(f"several profile types fit, choose one with --type: {', '.join(known)}")


def _others(snapshot: Snapshot, known: Sequence[str]) -> str:
    return ", ".join(type_id for type_id in known if type_id != snapshot.default_type)


def plan_of(
    snapshot: Snapshot, selection: Selection, chosen: Mapping[str, IntArray], profile_type: str
) -> Plan:
    """What to read of the chosen series; a block inside the range is read without looking at times."""
    scans: list[BlockScan] = []
    for ulid, series in chosen.items():
        index = snapshot.blocks[ulid].index
        before = selection.start_ns is not None and bool((index.min_ts[series] < selection.start_ns).any())
        after = selection.end_ns is not None and bool((index.max_ts[series] >= selection.end_ns).any())
        scan = scan_of(ulid, index.part[series], series, before or after)
        snapshot.watch.scanned(scan, index)
        scans.append(scan)
    picked = picked_by(selection)
    return Plan(profile_type, selection.start_ns, selection.end_ns, tuple(scans), snapshot.version, picked)


def find_copies(snapshot: Snapshot, plan: Plan) -> Mapping[str, IntArray]:
    """Profiles of the plan that another block of it has as well: rows by block, all copies but one."""
    spans = []
    for scan in plan.scans:
        index = snapshot.blocks[scan.ulid].index
        series = scan.series
        spans.append(
            SeriesSpan(scan.ulid, index.series_id[series], index.min_ts[series], index.max_ts[series])
        )
    doubtful = overlapping_series(spans)
    found = copies(snapshot.source.keys(plan, doubtful)) if len(doubtful) else {}
    for ulid, rows in found.items():
        snapshot.watch.copies(ulid, len(rows))
    return found
