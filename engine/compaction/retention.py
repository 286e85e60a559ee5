"""Which blocks have been kept for long enough: values in, values out, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...schema.catalog import BlockEntry


@dataclass(frozen=True)
class Retention:
    """How old the newest profile of a block may become, and how much all blocks may take; 0: no rule."""

    max_age_ns: int = 0
    max_bytes: int = 0


@dataclass(frozen=True)
class Expired:
    """A block to be given up, and the rule that says so: `age` or `size`."""

    entry: BlockEntry
    rule: str


def plan_expiry(entries: Iterable[BlockEntry], retention: Retention, now_ns: int) -> Sequence[Expired]:
    """The blocks to give up, oldest first. Whole blocks go: one stays as long as any profile of it is young enough."""
    oldest_first = sorted(entries, key=lambda entry: (entry.max_ts, entry.ulid))
    excess_bytes = sum(entry.size_bytes for entry in oldest_first) - retention.max_bytes
    expired: list[Expired] = []
    for entry in oldest_first:
        if retention.max_age_ns and entry.max_ts < now_ns - retention.max_age_ns:
            expired.append(Expired(entry, "age"))
        elif retention.max_bytes and excess_bytes > 0:
            expired.append(Expired(entry, "size"))
        else:
            break
        excess_bytes -= entry.size_bytes
    return expired
