"""Which of a failed job's inputs do not hold, and whether that is for good."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...schema.errors import CorruptBlock, ObjectMissing, StorageError
from ..storage.block_directories import begun_ns
from ..storage.blocks import read_meta
from ..storage.verify import broken_promises
from .run import BlockStore

LATE_NS = 3600 * 10**9
"""A file of a younger block that is missing may only be shown late by the store."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with a block. Where it is not corrupt, it is left alone for now, and tried again by the next run."""

    reason: str
    is_corrupt: bool


def examine(store: BlockStore, ulids: Sequence[str], between: str = "") -> Mapping[str, Finding]:
    """What is wrong with which blocks, after reading every byte of each from the store.

    Where each holds by itself, and `between` says what was wrong when they were brought together, that is all of them.
    Raises `Unavailable` when the store does not answer.
    """
    found = {ulid: finding for ulid in ulids if (finding := _look(store, ulid)) is not None}
    if between and not found:
        return dict.fromkeys(ulids, Finding(between, is_corrupt=True))
    return found


def _look(store: BlockStore, ulid: str) -> Finding | None:
    try:
        meta = read_meta(store.objects, store.tenant, ulid)
        problems = list(broken_promises(store.objects, meta, store.spill_directory))
    except ObjectMissing as error:
        return Finding(str(error), is_corrupt=time.time_ns() - begun_ns(ulid) > LATE_NS)
    except CorruptBlock as error:
        return Finding(str(error), is_corrupt=True)
    except StorageError as error:
        # It cannot be read, which says nothing of what it holds.
        return Finding(str(error), is_corrupt=False)
    return Finding("; ".join(problems), is_corrupt=True) if problems else None
