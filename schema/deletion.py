"""What may be asked of deletion, and what is answered, as values that JSON carries."""

from __future__ import annotations

from dataclasses import dataclass


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
