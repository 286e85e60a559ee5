"""For points of a series, the one profile of each that is largest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from .snapshot import Snapshot
from .weights import Profiles

IntArray = npt.NDArray[np.int64]


def largest_of_points(
    snapshot: Snapshot, profiles: Profiles, point: IntArray, by: Sequence[str]
) -> list[dict[str, Any]]:
    """An exemplar a point: `ts, profile_id, value`, and `labels`, those that its series are grouped by aside.

    `point` numbers each profile's point. A profile that is there several times has the labels that all of them have.
    """
    rows = profiles.rows
    order = np.lexsort((rows.id_low, rows.id_high, -rows.total, point))
    first = np.append(True, point[order][1:] != point[order][:-1])[: len(order)]
    chosen = order[first]
    mine = chosen[point]
    same = np.flatnonzero((rows.id_high == rows.id_high[mine]) & (rows.id_low == rows.id_low[mine]))
    labels: dict[int, dict[str, str]] = {}
    for row in same.tolist():
        index = snapshot.blocks[profiles.ulids[int(profiles.block[row])]].index
        found = dict(index.table.column("labels")[int(rows.series[row])].as_py())
        known = labels.get(int(point[row]), found)
        labels[int(point[row])] = {name: value for name, value in known.items() if found.get(name) == value}
    return [
        {
            "ts": int(rows.ts[row]),
            "profile_id": str(UUID(int=(int(rows.id_high[row]) << 64) | int(rows.id_low[row]))),
            "value": int(rows.total[row]),
            "labels": [item for item in sorted(labels[number].items()) if item[0] not in by],
        }
        for number, row in enumerate(chosen.tolist())
    ]
