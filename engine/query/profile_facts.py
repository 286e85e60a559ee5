"""What the profiles of a selection say beside their samples, merged as pprof merges profiles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

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
    rows = list(_uploads(snapshot, profiles))
    if not rows:
        return ProfileFacts()
    first: dict[str, str] = {}
    for name in ("default_sample_type", "drop_frames", "keep_frames", "doc_url"):
        first[name] = next((row[name] for row in rows if row[name]), "")
    return ProfileFacts(
        time_ns=min(row["ts"] for row in rows),
        duration_ns=sum(row["duration_ns"] for row in rows),
        period=max(row["period"] for row in rows),
        comments=tuple(dict.fromkeys(comment for row in rows for comment in row["comments"] or ())),
        mappings=tuple(dict.fromkeys(mapping for row in rows for mapping in row["mappings"] or ())),
        **first,
    )


def _uploads(snapshot: Snapshot, profiles: Profiles) -> Iterable[dict[str, Any]]:
    """One row an uploaded profile, whatever the number of its series."""
    seen: set[object] = set()
    for number, ulid in enumerate(profiles.ulids):
        rows = profiles.rows.row[profiles.block == number]
        stored = snapshot.blocks[ulid].table("profiles", _COLUMNS).take(pa.array(np.sort(rows)))
        for row in stored.to_pylist():
            if row["profile_id"] not in seen:
                seen.add(row["profile_id"])
                yield row
