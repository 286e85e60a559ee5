"""What may be asked of deletion, and what is answered, as values that JSON carries."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import RequestError
from .times import FIRST_NS, LAST_NS

MOST_TEXT = 1 << 16
"""Characters of a selector or a type: every reader of the catalog reads them."""

MOST_AUTHOR = 256


@dataclass(frozen=True)
class DeleteRequest:
    """Profiles to delete: of the series that `selector` chooses, of one type or of all (""), in `[start_ns, end_ns)`.

    An empty selector needs `everything`. Without `act` it is only said what would go.
    """

    selector: str
    profile_type: str = ""
    start_ns: int | None = None
    end_ns: int | None = None
    everything: bool = False
    act: bool = False
    author: str = ""

    def checked(self) -> DeleteRequest:
        """The request, if every field is within its bounds. Raises `RequestError`."""
        for name, limit in (("selector", MOST_TEXT), ("profile_type", MOST_TEXT), ("author", MOST_AUTHOR)):
            length = len(getattr(self, name))
            if length > limit:
                raise RequestError(f"{name}: {length} characters; limit {limit}")
        for name in ("start_ns", "end_ns"):
            time_ns = getattr(self, name)
            if time_ns is not None and not FIRST_NS <= time_ns <= LAST_NS:
                raise RequestError(f"{name}: {time_ns} is not between {FIRST_NS} and {LAST_NS}")
        if self.start_ns is not None and self.end_ns is not None and self.start_ns >= self.end_ns:
            raise RequestError(f"time range: from {self.start_ns} ns is not before to {self.end_ns} ns")
        return self


@dataclass(frozen=True)
class Touched:
    """How much of a block, or of the head (`place`: `head`), would go; `size_bytes` are those of all its files."""

    place: str
    profiles: int
    samples: int
    size_bytes: int


@dataclass(frozen=True)
class DeleteAnswer:
    """What goes; `id` is that of the tombstone that is in force, empty where nothing was done."""

    id: str
    selector: str
    profile_type: str
    touched: tuple[Touched, ...]
