"""Profile types: `name:sample type:sample unit:period type:period unit`, and the short names people use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import UnknownType


@dataclass(frozen=True)
class ProfileType:
    """The five parts of a profile type; any may be empty."""

    name: str
    sample_type: str
    sample_unit: str
    period_type: str
    period_unit: str

    def __str__(self) -> str:
        return ":".join((self.name, self.sample_type, self.sample_unit, self.period_type, self.period_unit))

    @property
    def is_gauge(self) -> bool:
        """Whether values are states rather than increments: summing ticks of `inuse_space` is not memory."""
        return self.sample_type.startswith("inuse_") or self.sample_type in (
            "goroutine",
            "goroutines",
            "live",
        )


def parse_profile_type(text: str) -> ProfileType:
    """Split an id of five parts, or six: a trailing `delta` is accepted and ignored. Raises `UnknownType`."""
    parts = text.split(":")
    if len(parts) not in (5, 6):
        raise UnknownType(
            "profile-type selection must be of the form "
            f"<name>:<sample-type>:<sample-unit>:<period-type>:<period-unit>(:delta), got({len(parts)}): {text!r}"
        )
    return ProfileType(*parts[:5])


def resolve_profile_type(text: str, known: Sequence[str]) -> str:
    """The id in `known` that `text` means: itself, a sample type, a name, `name:sample type`, or a prefix of parts.

    Raises `UnknownType` when none fits, or several; the message lists them.
    """
    if text in known:
        return text
    if text.count(":") in (4, 5):
        return str(parse_profile_type(text))
    fits = sorted({type_id for type_id in known if _fits(text, type_id)})
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise UnknownType(f"type {text!r} fits several: {', '.join(fits)}")
    listed = ", ".join(sorted(known)) or "none"
    raise UnknownType(f"no profile type {text!r} here; there are: {listed}")


def _fits(text: str, type_id: str) -> bool:
    kind = parse_profile_type(type_id)
    return text in (kind.sample_type, kind.name) or type_id.startswith(text + ":")
