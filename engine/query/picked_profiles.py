"""Single profiles picked out by their ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import numpy as np
import numpy.typing as npt

from ...schema.errors import RequestError
from .opened import OpenBlock
from .plan import Plan
from .source import Weights

IntArray = npt.NDArray[np.int64]

_LOW = (1 << 64) - 1


def only_profiles(
    blocks: Mapping[str, OpenBlock], plan: Plan, excluded: Mapping[str, IntArray], ids: Sequence[str]
) -> Weights:
    """Weights by which the profiles of these ids count, copies left out, and no others.

    Raises `RequestError` for an id that is no UUID.
    """
    numbers = [_parsed(text).int for text in ids]
    high = np.array([number >> 64 for number in numbers], np.uint64)
    low = np.array([number & _LOW for number in numbers], np.uint64)
    chosen: dict[str, tuple[IntArray, npt.NDArray[np.float64]]] = {}
    others: dict[str, IntArray] = {}
    for scan in plan.scans:
        rows = blocks[scan.ulid].profiles(scan.series, plan.start_ns, plan.end_ns)
        wanted = np.zeros(len(rows), np.bool_)
        for one_high, one_low in zip(high, low, strict=True):
            wanted |= (rows.id_high == one_high) & (rows.id_low == one_low)
        wanted &= ~np.isin(rows.row, excluded.get(scan.ulid, np.zeros(0, np.int64)))
        chosen[scan.ulid] = rows.row[wanted], np.ones(int(wanted.sum()))
        others[scan.ulid] = rows.row[~wanted]
    return Weights(weighted=chosen, excluded=others)


def _parsed(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise RequestError(f"profile id {text[:64]!r}: expected a UUID") from None
