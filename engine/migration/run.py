"""A migration: slice by slice, every series and profile type of a source as one merged profile, checked and stored.

What is stored says where it comes from and which time it stands for, so that a rerun takes only what is missing,
also with other slices. Each batch of slices is durable when the next begins.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...schema.errors import FlameduckError, RequestError
from ...schema.labels import PROFILE_TYPE, parse_selector
from ...schema.profile import Upload
from ...schema.profile_type import parse_profile_type
from ...schema.request import Database, IngestOptions, IngestReport
from ...schema.times import format_time_ns
from .part import Asked, Findings, Part
from .querier import PATIENT, Labels, Patience, Querier
from .slices import NS_PER_MS, Slice, grid, grid_length
from .source import Source
from .stored import StoredSlices, own_labels, read_stored

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
BATCH_S = 20.0
BATCH_BYTES = 64 << 20
"""A batch ends with the slice in which it gets so old or so large."""

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Wanted:
    """Which profiles, in slices of `step_ms`. `start_ns` None: from the source's oldest profile on.

    `labels` are added to every series that does not have them. `keep_mismatches` stores what does not add up to the
    source's own totals, with a warning, where otherwise it is refused.
    """

    end_ns: int
    start_ns: int | None = None
    selector: str = "{}"
    step_ms: int = HOUR_MS
    labels: Mapping[str, str] = field(default_factory=dict)
    keep_mismatches: bool = False
    jobs: int = 0


class Migration:
    """One run over one source. Raises what the source's answers raise, after what came before is stored."""

    def __init__(self, source: Source, wanted: Wanted, patience: Patience = PATIENT) -> None:
        """Raises `InvalidSelector`, or `RequestError` for a step below 1 ms. Nothing is asked yet."""
        parse_selector(wanted.selector)
        if wanted.step_ms < 1:
            raise RequestError(f"step: {wanted.step_ms} ms; expected at least 1 ms")
        self._source, self._wanted = source, wanted
        self._querier = Querier(source, patience)
        self._asked = Asked(source, wanted.selector, wanted.labels, wanted.keep_mismatches, self._querier)
        self._findings = Findings()
        self._whole: Slice | None = None
        self._failure: FlameduckError | None = None

    def open(self) -> int:
        """Ask the source what it has; the number of slices to go through."""
        bounds_ms = self._bounds_ms()
        if bounds_ms is None and self._wanted.start_ns is None:
            self._findings.warn(f"{self._source.name}: it holds no profiles")
            return 0
        step_ms = self._wanted.step_ms
        start_ms = max(1, -(-(self._wanted.start_ns or 0) // NS_PER_MS))
        end_ms = self._wanted.end_ns // NS_PER_MS
        if bounds_ms is not None:
            # Where there are no profiles there is nothing to ask for; the grid is kept, and late profiles may come.
            start_ms = max(start_ms, bounds_ms[0] // step_ms * step_ms)
            end_ms = min(end_ms, bounds_ms[1] // step_ms * step_ms + step_ms + DAY_MS)
            if start_ms <= bounds_ms[0] < end_ms:
                self._look_at(bounds_ms[0])
        self._whole = Slice(start_ms, max(start_ms, end_ms))
        return grid_length(self._whole, step_ms)

    def run(self, database: Database, progress: Progress | None = None) -> IngestReport:
        """Store what is missing; `progress` is told how many slices are done. Raises after storing what it has."""
        if self._whole is None and not self.open():
            return self._report([])
        slices = self._slices(database)
        options = IngestOptions(self._wanted.jobs)
        reports: list[IngestReport] = []
        batch = _Batch(self._uploads(slices, progress))
        while not batch.ended:
            reports.append(database.ingest(batch.uploads(), options))
        if self._failure is not None:
            stored = self._report(reports).new
            raise type(self._failure)(
                f"{self._failure}; {stored} new profiles are stored, a rerun goes on from there"
            )
        return self._report(reports)

    def close(self) -> None:
        """Close the connection to the source."""
        self._querier.close()

    def _bounds_ms(self) -> tuple[int, int] | None:
        try:
            return self._querier.bounds_ms()
        except RequestError:
            # Several tenants at once have no such times, and an old source does not know the question.
            if self._wanted.start_ns is None:
                raise
            return None

    def _look_at(self, oldest_ms: int) -> None:
        """Warn when the source says nothing of the time of its oldest profile."""
        if not self._querier.series("{}", oldest_ms, oldest_ms):
            since = format_time_ns(oldest_ms * NS_PER_MS)
            self._findings.warn(
                f"{self._source.name}: it keeps profiles from {since} on, but answers nothing about that time: raise "
                "its limit max_query_lookback (7 days by default) to take them"
            )

    def _report(self, reports: Sequence[IngestReport]) -> IngestReport:
        return IngestReport(
            new=sum(one.new for one in reports),
            known=self._findings.known + sum(one.known for one in reports),
            refused=(*self._findings.refused, *(refused for one in reports for refused in one.refused)),
            blocks=tuple(block for one in reports for block in one.blocks),
            warnings=(*self._findings.warnings, *(text for one in reports for text in one.warnings)),
        )

    def _slices(self, database: Database) -> Iterator[tuple[Slice, StoredSlices]]:
        """The slices in order, with what is stored of them already, which is looked up a day at a time."""
        assert self._whole is not None
        step_ms = self._wanted.step_ms
        for window in grid(self._whole, max(1, DAY_MS // step_ms) * step_ms):
            stored = read_stored(database, self._source.mark, window)
            for one in grid(window, step_ms):
                yield one, stored

    def _uploads(
        self, slices: Iterator[tuple[Slice, StoredSlices]], progress: Progress | None
    ) -> Iterator[Upload | None]:
        """What is to be stored, and None behind each slice. Where the source fails it ends, with `_failure` set."""
        for number, (one, stored) in enumerate(slices):
            try:
                yield from self._slice(one, stored)
            except FlameduckError as error:
                self._failure = error
                return
            yield None
            if progress is not None:
                progress(number + 1)

    def _slice(self, one: Slice, stored: StoredSlices) -> Iterator[Upload]:
        by_type: dict[str, list[Labels]] = defaultdict(list)
        for labels in self._querier.series(self._wanted.selector, one.start_ms, one.end_ms):
            by_type[dict(labels).get(PROFILE_TYPE, "")].append(own_labels(labels))
        for profile_type in sorted(by_type):
            kind = parse_profile_type(profile_type)
            for part in stored.cut(one, profile_type):
                yield from Part(self._asked, kind, part, by_type[profile_type]).uploads(
                    stored, self._findings
                )


class _Batch:
    """Uploads of some slices at a time, of what yields None behind each slice."""

    def __init__(self, uploads: Iterator[Upload | None]) -> None:
        self._uploads = uploads
        self.ended = False

    def uploads(self) -> Iterator[Upload]:
        """The uploads of the next slices."""
        begun, size_bytes = time.monotonic(), 0
        for upload in self._uploads:
            if upload is not None:
                size_bytes += len(upload.data)
                yield upload
            elif size_bytes >= BATCH_BYTES or time.monotonic() - begun >= BATCH_S:
                return
        self.ended = True
