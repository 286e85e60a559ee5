"""Which mapping a location is written with: identity leaves out addresses, so the profiles' own are looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....schema.partial import LocationPartial


class MappingChoice:
    """The mappings of some profiles in their order, numbered from 1, and the place of a location in them.

    A location knows the mapping that it was first seen with. If that is not among the profiles' mappings, one of
    the same file (and build id, where it has one) takes its place, and a bare address moves along with it.
    """

    def __init__(self, partial: LocationPartial, profile_mappings: Sequence[int]) -> None:
        known = {row["mapping_id"]: row for row in partial.mappings.to_pylist()}
        order = [mapping for mapping in profile_mappings if mapping in known]
        used = {row for row in partial.locations.column("mapping_id").unique().to_pylist() if row in known}
        self._known = known
        self._numbers = {mapping: number for number, mapping in enumerate(order, start=1)}
        self._extra = [mapping for mapping in sorted(used) if self._stand_in(known[mapping], 0) is None]
        for mapping in self._extra:
            self._numbers.setdefault(mapping, len(self._numbers) + 1)

    @property
    def written(self) -> list[Mapping[str, Any]]:
        """The rows of the mappings, in the order of their numbers."""
        return [self._known[mapping] for mapping in self._numbers]

    def place(self, location: Mapping[str, Any]) -> tuple[int, int]:
        """The address and the mapping number to write for a location; mapping 0 is none."""
        address, mapping_id = location["address"], location["mapping_id"]
        if mapping_id not in self._known:
            return address, 0
        own = self._known[mapping_id]
        relative = address - own["memory_start"] + own["file_offset"]
        stand_in = self._stand_in(own, relative)
        if stand_in is None or stand_in == mapping_id:
            return address, self._numbers[mapping_id]
        other = self._known[stand_in]
        moved = relative - other["file_offset"] + other["memory_start"]
        return moved if 0 <= moved < 2**64 else address, self._numbers[stand_in]

    def _stand_in(self, own: Mapping[str, Any], relative: int) -> int | None:
        """The profiles' mapping to use for `own`: itself, or one of the same file that holds the address."""
        if own["mapping_id"] in self._numbers:
            return int(own["mapping_id"])
        same_file = [
            mapping
            for mapping in self._numbers
            if self._known[mapping]["filename"] == own["filename"]
            and (not own["build_id"] or self._known[mapping]["build_id"] in ("", own["build_id"]))
        ] or [m for m in self._numbers if self._known[m]["filename"] == own["filename"] != ""]
        holding = [mapping for mapping in same_file if _holds(self._known[mapping], relative)]
        return next(iter(holding or same_file), None)


def _holds(mapping: Mapping[str, Any], relative: int) -> bool:
    size = mapping["memory_limit"] - mapping["memory_start"]
    return bool(mapping["file_offset"] <= relative < mapping["file_offset"] + size)
