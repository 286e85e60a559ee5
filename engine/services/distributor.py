"""The distributor: checks what agents send, stamps what has no time, and hands it to the ingester."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from ...schema.errors import Overloaded
from ...schema.labels import METRIC_NAME
from ...schema.profile import Upload
from ...schema.request import Refused
from .decoding import Refusals
from .discards import BODY_SIZE, RATE, discard_reason
from .ingester import Ingester
from .limits import RateLimits
from .metrics import Metrics
from .stamps import Stamps

_SHOWN = 400


@dataclass(frozen=True)
class Pushed:
    """One profile as a client sent it; `labels` hold every label of its series, in the client's order.

    The rest is what the request said of it; 0 and empty: nothing. A profile that has a time of its own keeps it.
    """

    raw: bytes
    labels: Sequence[tuple[str, str]]
    sample_id: str = ""
    origin: str = ""
    input_format: str = "pprof"
    time_ns: int = 0
    duration_ns: int = 0
    sample_rate_hz: int = 0
    app_name: str = ""
    display_names: Mapping[str, str] = field(default_factory=dict)
    attachments: Mapping[str, bytes] = field(default_factory=dict)


class Distributor:
    """The way in. Safe for several threads."""

    def __init__(self, ingester: Ingester, rates: RateLimits, metrics: Metrics) -> None:
        self._ingester = ingester
        self._rates = rates
        self._metrics = metrics
        self._stamps = Stamps()

    def push(self, tenant: str, profiles: Sequence[Pushed]) -> Future[Refusals]:
        """Take profiles; the future becomes the refused ones once the others are durable.

        Raises `Overloaded` when too much waits.
        """
        refused = [
            Refused(one.origin, fault)
            for one in profiles
            if one.input_format == "pprof" and not one.app_name and (fault := label_fault(one.labels))
        ]
        bad = {one.origin for one in refused}
        self._count_refused(tenant, refused, {one.origin: len(one.raw) for one in profiles})
        uploads = self._uploads(tenant, [one for one in profiles if one.origin not in bad])
        if not uploads:
            answer: Future[Refusals] = Future()
            answer.set_result(refused)
            return answer
        return _with(refused, self._send(tenant, uploads))

    def stop(self) -> None:
        """Forget the ids of clients; nothing may be pushed any more."""
        self._stamps.close()

    def _uploads(self, tenant: str, profiles: Sequence[Pushed]) -> Sequence[Upload]:
        """The profiles as the ingester takes them."""
        now_ns = time.time_ns()
        return [
            Upload(
                data=one.raw,
                labels=_labels(one.labels),
                origin=one.origin,
                time_ns=one.time_ns or self._stamps.time_ns(tenant, one.sample_id, now_ns),
                sample_id=one.sample_id,
                rules="pyroscope",
                input_format=one.input_format,
                sample_rate_hz=one.sample_rate_hz,
                duration_ns=one.duration_ns,
                app_name=one.app_name,
                display_names=one.display_names,
                attachments=one.attachments,
            )
            for one in profiles
        ]

    def _send(self, tenant: str, uploads: Sequence[Upload]) -> Future[Refusals]:
        sizes = {upload.origin: len(upload.data) for upload in uploads}
        size_bytes = sum(sizes.values())
        self._metrics.received_profiles.labels(tenant).inc(len(uploads))
        self._metrics.received_bytes.labels(tenant).inc(size_bytes)
        try:
            self._rates.take(tenant, size_bytes)
        except Overloaded:
            self._metrics.overloads.inc()
            self._metrics.discard(tenant, RATE, len(uploads), size_bytes)
            raise
        try:
            answer = self._ingester.push(tenant, uploads)
        except Overloaded:
            self._metrics.overloads.inc()
            raise
        begun = time.monotonic()
        answer.add_done_callback(lambda done: self._note(tenant, done, sizes, begun))
        return answer

    def _note(self, tenant: str, answer: Future[Refusals], sizes: Mapping[str, int], begun: float) -> None:
        """Count what became of a push."""
        if answer.exception() is None:
            self._metrics.push_seconds.observe(time.monotonic() - begun)
            self._count_refused(tenant, answer.result(), sizes)

    def _count_refused(self, tenant: str, refused: Refusals, sizes: Mapping[str, int]) -> None:
        for one in refused:
            self._metrics.discard(tenant, discard_reason(one.reason), 1, sizes[one.origin])

    def count_too_large(self, tenant: str, size_bytes: int) -> None:
        """Note a body that was cut off at its limit; how many profiles it held nobody knows."""
        self._metrics.discard(tenant, BODY_SIZE, 1, size_bytes)


def label_fault(labels: Sequence[tuple[str, str]]) -> str:
    """Why a pushed series cannot be stored under its labels; empty when it can."""
    if not labels:
        return "error at least one label pair is required per profile"
    counts = Counter(name for name, _ in labels)
    twice, times = counts.most_common(1)[0]
    if times > 1:
        return f"profile with labels {_shown(labels)} has duplicate label name: {twice!r}"
    if not dict(labels).get(METRIC_NAME):
        return f"invalid labels {_shown(labels)} with error: invalid metric name"
    if "" in counts:
        return f"profile with labels {_shown(labels)} has an invalid label name: ''"
    return ""


def _shown(labels: Sequence[tuple[str, str]]) -> str:
    """Labels as messages show them, cut where they are long."""
    text = ", ".join(f'{name}="{value[:_SHOWN]}"' for name, value in sorted(labels)[:_SHOWN] if value)
    return "'{" + text[:_SHOWN] + "}'"


def _with(refused: Refusals, later: Future[Refusals]) -> Future[Refusals]:
    """An answer with those in front that were refused before."""
    if not refused:
        return later
    answer: Future[Refusals] = Future()

    def finish(done: Future[Refusals]) -> None:
        error = done.exception()
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result([*refused, *done.result()])

    answer.set_running_or_notify_cancel()
    later.add_done_callback(finish)
    return answer


def _labels(pairs: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    return {name: value for name, value in pairs if value}
