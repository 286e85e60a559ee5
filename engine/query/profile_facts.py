"""What the profiles of a selection say beside their samples, merged as pprof merges profiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.profile import CARRIED
from .export import Export
from .snapshot import Snapshot
from .weights import Profiles

_COLUMNS = ("profile_id", "ts", *CARRIED)


@dataclass(frozen=True)
class ProfileFacts:
    """Metadata of one or several profiles. `mappings` are mapping ids in the order the profiles have them."""

    time_ns: int = 0
    duration_ns: int = 0
    period: int = 0
    default_sample_type: str = ""
    drop_frames: str = ""
    keep_frames: str = ""
    doc_url: str = ""
    comments: tuple[str, ...] = ()
    mappings: tuple[int, ...] = ()


def profile_facts(export: Export) -> ProfileFacts:
    """The earliest time, all durations, the largest period, every comment and mapping once, the first of the rest."""
    return facts_of(export.snapshot, export.profiles)


def facts_of(snapshot: Snapshot, profiles: Profiles) -> ProfileFacts:
    """The same of some profiles."""
    uploads = _uploads(snapshot, profiles)
    if not len(uploads):
        return ProfileFacts()
    texts = ("default_sample_type", "drop_frames", "keep_frames", "doc_url")
    return ProfileFacts(
        time_ns=pc.min(uploads.column("ts")).as_py(),
        duration_ns=pc.sum(uploads.column("duration_ns")).as_py(),
        period=pc.max(uploads.column("period")).as_py(),
        comments=_each_once(uploads.column("comments")),
        mappings=_each_once(uploads.column("mappings")),
        **{name: next(filter(None, uploads.column(name).unique().to_pylist()), "") for name in texts},
    )


def _each_once(lists: pa.ChunkedArray) -> tuple[Any, ...]:
    return tuple(pc.list_flatten(lists).unique().to_pylist())


def _uploads(snapshot: Snapshot, profiles: Profiles) -> pa.Table:
    """One row an uploaded profile, whatever the number of its series, in stored order."""
    rows = [
        snapshot.blocks[ulid]
        .table("profiles", _COLUMNS)
        .take(pa.array(np.sort(profiles.rows.row[profiles.block == number])))
        for number, ulid in enumerate(profiles.ulids)
    ]
    if not rows:
        return pa.table({})
    every = pa.concat_tables(rows)
    ids = every.column("profile_id").combine_chunks().storage.dictionary_encode().indices.to_numpy()
    _, first = np.unique(ids, return_index=True)
    return every.take(pa.array(np.sort(first)))
