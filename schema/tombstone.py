"""A deletion as a value: which profiles are no more, and since which version of the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .times import FIRST_NS, LAST_NS


@dataclass(frozen=True)
class Tombstone:
    """Profiles of series that `selector` chooses, of one profile type or all (""), in `[start_ns, end_ns)`, `None`: open.

    `version` is that of the catalog entry that first had it; 0 before that. It concerns what was stored before: blocks
    and heads that were begun at an earlier version (`applied`), and not what came later.
    """

    id: str
    selector: str
    profile_type: str = ""
    start_ns: int | None = None
    end_ns: int | None = None
    time_ns: int = 0
    author: str = ""
    version: int = 0

    def touches(self, min_ts: int, max_ts: int) -> bool:
        """Whether it may concern profiles between two times, both inclusive."""
        return (self.end_ns is None or min_ts < self.end_ns) and (
            self.start_ns is None or max_ts >= self.start_ns
        )

    def to_fields(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def tombstone_from_fields(fields: Mapping[str, Any]) -> Tombstone:
    """From what JSON has. Raises `TypeError` or `ValueError` where it is none."""
    found = Tombstone(**fields)
    texts = (found.id, found.selector, found.profile_type, found.author)
    times = (found.start_ns, found.end_ns)
    numbers = (found.time_ns, found.version, *[time_ns for time_ns in times if time_ns is not None])
    if not all(isinstance(text, str) for text in texts) or not all(type(one) is int for one in numbers):
        raise ValueError("not a tombstone")
    if any(not FIRST_NS <= time_ns <= LAST_NS for time_ns in numbers):
        raise ValueError("a number out of range")
    return found
