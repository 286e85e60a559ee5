"""The series of one profile type in one slice of time: what is missing, fetched, checked against the source's totals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...schema.errors import CorruptProfile, InputError
from ...schema.labels import Matcher, format_selector
from ...schema.profile import Upload
from ...schema.profile_type import ProfileType
from ...schema.request import Refused
from .merged import Merged
from .querier import Labels, Querier
from .slices import Slice
from .source import Source
from .stored import StoredSlices

_EXACT = 2.0**53
"""From here on the source's totals, which are floating point numbers, are rounded."""


@dataclass
class Findings:
    """What is to be reported of a migration; `known` counts profiles that were stored before."""

    refused: list[Refused] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)
    known: int = 0

    def warn(self, text: str) -> None:
        """Add a warning, once."""
        self.warnings[text] = None


@dataclass(frozen=True)
class Asked:
    """Who is asked, and what is done with the answers; see `Wanted`."""

    source: Source
    selector: str
    labels: Mapping[str, str]
    keep_mismatches: bool
    querier: Querier


@dataclass(frozen=True)
class Part:
    """All series of a type that may have profiles in a slice, of which a series is stored whole or not at all.

    `series` are their own labels: what follows from the type is left out.
    """

    asked: Asked
    kind: ProfileType
    slice: Slice
    series: Sequence[Labels]

    def uploads(self, stored: StoredSlices, findings: Findings) -> Iterator[Upload]:
        """What is missing. Raises what the source's answers raise; a single bad profile is refused instead."""
        totals = self._totals(self.slice.start_ms)
        found = {one: stored.find(self._stored_labels(one), str(self.kind), self.slice) for one in totals}
        missing = sorted((one for one, known in found.items() if known is None), key=sorted)
        findings.known += len(totals) - len(missing)
        # What is stored of this very slice, but not with the total of now.
        changed = {
            one: known.total
            for one, known in found.items()
            if known and known.slice == self.slice and not _same(known.total, totals[one])
        }
        if not missing and not changed:
            return
        # A range ends with a ms that is the beginning of the next slice too: few profiles lie on it.
        at_end = self._totals(self.slice.end_ms - 1)
        for labels, total in changed.items():
            self._compare(labels, total, (totals[labels] - at_end.get(labels, 0), totals[labels]), findings)
        if missing and self.kind.is_gauge:
            findings.warn(
                f"{self.kind}: a state rather than an increment: a slice adds up the states of all profiles in it, "
                "as its source does; a --step as long as the time between two profiles keeps them apart"
            )
        for labels in missing:
            yield from self._missing(labels, totals[labels], labels in at_end, findings)

    def _compare(self, labels: Labels, stored: int, now: tuple[float, float], findings: Findings) -> None:
        """Warn when what was stored is not between two totals: those without and with what lies about the end."""
        if not now[0] <= stored <= now[1]:
            findings.warn(
                f"{self._origin(labels)}: the source's total is {now[1]:.0f} now, "
                f"and was {stored} when it was stored"
            )

    def _missing(self, labels: Labels, total: float, at_end: bool, findings: Findings) -> Iterator[Upload]:
        """One series, unless nothing of it is left, or it is refused."""
        try:
            merged = self._merged(labels, total, at_end, findings)
        except InputError as error:
            findings.refused.append(Refused(self._origin(labels), str(error)))
            return
        if merged.total:
            yield self._upload(labels, merged)

    def _totals(self, start_ms: int) -> dict[Labels, float]:
        """The source's totals of each of the series from a time to the slice's end, both included."""
        names = sorted({name for labels in self.series for name, _ in labels})
        totals = self.asked.querier.totals(
            str(self.kind), self.asked.selector, names, start_ms, self.slice.end_ms
        )
        return {labels: total for labels, total in totals.items() if total}

    def _only(self, labels: Labels) -> str:
        """A selector of one of the series alone: labels that others have must be absent."""
        names = {name for one in self.series for name, _ in one}
        return _selector({**dict.fromkeys(names, ""), **dict(labels)})

    def _merged(self, labels: Labels, expected: float, at_end: bool, findings: Findings) -> Merged:
        """The merged profile of a series, without what lies on the slice's end. Raises `CorruptProfile`."""
        merged = self._fetch(labels, self.slice.start_ms)
        if not _same(merged.total, expected):
            # Something arrived between the two questions: they are asked again.
            expected = self._totals(self.slice.start_ms).get(labels, 0)
            merged = self._fetch(labels, self.slice.start_ms)
        if not _same(merged.total, expected):
            said = f"its samples add up to {merged.total}, the source's total of the series is {expected:.0f}"
            if not self.asked.keep_mismatches:
                raise CorruptProfile(f"{said}; --keep-mismatches stores it all the same")
            findings.warn(f"{self._origin(labels)}: {said}")
        if at_end:
            merged.subtract(self._fetch(labels, self.slice.end_ms))
        return merged

    def _fetch(self, labels: Labels, start_ms: int) -> Merged:
        only = self._only(labels)
        return Merged(self.asked.querier.merged(str(self.kind), only, start_ms, self.slice.end_ms))

    def _stored_labels(self, labels: Labels) -> Labels:
        return frozenset({**self.asked.labels, **dict(labels)}.items())

    def _origin(self, labels: Labels) -> str:
        return f"{self.asked.source.name} {self.kind} {_selector(dict(labels))} {self.slice}"

    def _upload(self, labels: Labels, merged: Merged) -> Upload:
        return Upload(
            data=merged.stored(self.kind, self.slice, f"{self.asked.source.mark}{self.slice}"),
            labels=dict(self._stored_labels(labels)),
            origin=self._origin(labels),
            input_format="pprof",
            raw_names=True,
            identity=f"{self.asked.source.mark}{self.slice} {self.kind} {_selector(dict(labels))}",
        )


def _selector(labels: Mapping[str, str]) -> str:
    text = format_selector(Matcher(name, "=", labels[name]) for name in sorted(labels))
    return text.replace("\n", "\\n")


def _same(total: int, expected: float) -> bool:
    if abs(expected) < _EXACT:
        return total == expected
    return math.isclose(total, expected, rel_tol=1e-12)
