"""Pushes wait a moment for each other, and are decoded in groups by worker processes.

A group of ten profiles costs a third of ten groups of one. The first push of a group opens a window; while no
worker is idle the group goes on growing. What is not answered yet is bounded in bytes, and every push is answered.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Condition, Thread

from ...schema.errors import Overloaded, Unavailable
from ...schema.profile import NormalisedBatch, Upload
from ...schema.request import Refused
from ..execution import Death
from ..execution.local import LocalExecutor
from ..ingest.decode import DecodeLimits, Outcome, decode_and_normalise

_TINY_PPROF = bytes.fromhex(
    "0a0408011002 12060a0101120101 2206080122020801 2a0408011001 3200 3203637075 32026e73"
)
"""One sample type, sample, location, function, and the strings "", cpu and ns."""
_TINY_LABELS = {"__name__": "process_cpu", "service_name": "none"}

log = logging.getLogger(__name__)

Refusals = Sequence[Refused]


@dataclass(frozen=True)
class Submission:
    """Uploads of one tenant that are answered together: `answer` becomes the refused ones, or an error."""

    tenant: str
    uploads: Sequence[Upload]
    answer: Future[Refusals] = field(default_factory=Future)

    @property
    def size_bytes(self) -> int:
        """Bytes of the uploads, as they came."""
        return sum(len(upload.data) for upload in self.uploads)


@dataclass(frozen=True)
class Decoded:
    """Submissions of one tenant and what decoding made of them; `origin`s are `<submission>/<upload>`."""

    tenant: str
    submissions: Sequence[Submission]
    outcome: Outcome

    @property
    def batches(self) -> Sequence[Sequence[NormalisedBatch]]:
        """The batches, each with those that continue it."""
        chains: list[list[NormalisedBatch]] = []
        for batch, continues in self.outcome.batches:
            if continues:
                chains[-1].append(batch)
            else:
                chains.append([batch])
        return chains

    def refused_of(self, number: int) -> Refusals:
        """The refused uploads of one submission, under their own origins."""
        refused = []
        for one in self.outcome.refused:
            submission, _, upload = one.origin.partition("/")
            if int(submission) == number:
                refused.append(replace(one, origin=self.submissions[number].uploads[int(upload)].origin))
        return refused


@dataclass(frozen=True)
class GroupBounds:
    """When a group is cut, and how much may be unanswered."""

    window_s: float = 0.04
    profiles: int = 64
    size_bytes: int = 4 << 20
    queue_bytes: int = 64 << 20
    workers: int = 1
    limit_s: float = 0


class DecodePool:
    """Takes submissions, hands groups of decoded ones to `deliver`, which threads of this pool call."""

    def __init__(
        self,
        bounds: GroupBounds,
        limits_of: Callable[[str], DecodeLimits],
        deliver: Callable[[Sequence[Decoded]], None],
    ) -> None:
        self._bounds = bounds
        self._limits_of = limits_of
        self._deliver = deliver
        self._waiting: deque[tuple[float, Submission]] = deque()
        self._waiting_bytes = 0
        # Of all submissions that are not answered, those that wait among them.
        self._unanswered_bytes = 0
        self._changed = Condition()
        self._stopping = False
        self._threads = [
            Thread(target=self._serve, name=f"decode-{number}", daemon=True)
            for number in range(bounds.workers)
        ]

    def start(self) -> None:
        """Begin to take submissions."""
        for thread in self._threads:
            thread.start()

    def submit(self, submission: Submission) -> None:
        """Queue uploads. Raises `Overloaded` when too much is not answered, `Unavailable` after `stop`."""
        size_bytes = submission.size_bytes
        with self._changed:
            if self._stopping:
                raise Unavailable("the server is stopping")
            held = self._unanswered_bytes
            if held and held + size_bytes > self._bounds.queue_bytes:
                raise Overloaded(f"{held} bytes of pushes wait; limit {self._bounds.queue_bytes}")
            self._waiting.append((time.monotonic(), submission))
            self._waiting_bytes += size_bytes
            self._unanswered_bytes += size_bytes
            self._changed.notify()
        submission.answer.add_done_callback(lambda _: self._release(size_bytes))

    def _release(self, size_bytes: int) -> None:
        with self._changed:
            self._unanswered_bytes -= size_bytes

    def stop(self) -> None:
        """Decode what waits, and end the workers."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _serve(self) -> None:
        executor = LocalExecutor(1, self._bounds.limit_s, inline=False)
        with suppress(OSError):
            # The first push need not wait until the worker has started and loaded what decoding takes.
            _outcomes(
                executor, [(DecodeLimits(), [Upload(_TINY_PPROF, _TINY_LABELS, "0/0/0", rules="pyroscope")])]
            )
        while group := self._next_group():
            try:
                decoded = _decode(executor, group, self._limits_of)
            except Exception:  # the boundary of a thread that every push waits for
                log.exception("a group of pushes could not be decoded")
                executor.close()
                executor = LocalExecutor(1, self._bounds.limit_s, inline=False)
                for submission in group:
                    submission.answer.set_exception(Unavailable("internal error"))
            else:
                self._deliver(decoded)
        executor.close()

    def _next_group(self) -> list[Submission]:
        """The submissions to decode next; waits for them. Empty when the pool has stopped."""
        with self._changed:
            while not self._waiting:
                if self._stopping:
                    return []
                self._changed.wait()
            while not self._stopping and (rest_s := self._window_rest_s()) > 0:
                self._changed.wait(rest_s)
            return self._take()

    def _window_rest_s(self) -> float:
        """How long the group may still grow."""
        if not self._waiting or self._waiting_bytes >= self._bounds.size_bytes:
            return 0.0
        if sum(len(one.uploads) for _, one in self._waiting) >= self._bounds.profiles:
            return 0.0
        window_s = self._bounds.window_s
        if 1 < len(self._waiting) == len({one.tenant for _, one in self._waiting}):
            # Those of different tenants gain less by being decoded together, and cost more each afterwards.
            window_s /= 2
        return self._waiting[0][0] + window_s - time.monotonic()

    def _take(self) -> list[Submission]:
        group: list[Submission] = []
        profiles = size_bytes = 0
        while self._waiting and (
            not group or (profiles < self._bounds.profiles and size_bytes < self._bounds.size_bytes)
        ):
            _, one = self._waiting.popleft()
            group.append(one)
            profiles += len(one.uploads)
            size_bytes += one.size_bytes
        self._waiting_bytes -= size_bytes
        if self._waiting:
            # Another worker may be idle.
            self._changed.notify()
        return group


Group = Sequence[tuple[DecodeLimits, Sequence[Upload]]]
"""Uploads by the limits they are under; `origin`s are `<tenant>/<submission>/<upload>`, all of them numbers."""


def _decode(
    executor: LocalExecutor, waiting: Sequence[Submission], limits_of: Callable[[str], DecodeLimits]
) -> Sequence[Decoded]:
    """Decode a group; what kills the worker is refused alone.

    Uploads of all tenants with equal limits are decoded together, which costs a fraction of one call for each.
    """
    by_tenant: dict[str, list[Submission]] = {}
    for one in waiting:
        by_tenant.setdefault(one.tenant, []).append(one)
    uploads: dict[DecodeLimits, list[Upload]] = {}
    for number, (tenant, submissions) in enumerate(by_tenant.items()):
        uploads.setdefault(limits_of(tenant), []).extend(_numbered(number, submissions))
    group: Group = list(uploads.items())
    outcomes = _outcomes(executor, group)
    parts = [Outcome() for _ in by_tenant]
    for outcome in outcomes:
        _share(outcome, parts)
    return [
        Decoded(tenant, submissions, part)
        for (tenant, submissions), part in zip(by_tenant.items(), parts, strict=True)
    ]


def _outcomes(executor: LocalExecutor, group: Group) -> list[Outcome]:
    """What a worker makes of a group; where one upload breaks it, of each upload alone."""
    try:
        return next(iter(executor.map(_decode_all, [group], lambda item, _: _apart(executor, item))))
    except OSError:
        # No worker can be started: no upload's fault.
        raise
    except Exception:  # what a decoder did not foresee must not cost the others of the group
        log.exception("decoding a group of pushes failed; each is decoded alone")
        return _apart(executor, group)


def _alone(executor: LocalExecutor, one: Group) -> Outcome:
    """The outcome of one upload."""
    try:
        (outcome,) = next(iter(executor.map(_decode_all, [one], _refused)))
        return outcome
    except OSError:
        raise
    except Exception as error:  # as above
        (((_, (upload,))),) = one
        log.exception("decoding %s failed", upload.origin)
        return Outcome(refused=[Refused(upload.origin, f"it broke the decoder: {type(error).__name__}")])


def _numbered(tenant: int, submissions: Sequence[Submission]) -> Sequence[Upload]:
    return [
        replace(upload, origin=f"{tenant}/{number}/{place}")
        for number, one in enumerate(submissions)
        for place, upload in enumerate(one.uploads)
    ]


def _tenant(origin: str) -> int:
    return int(origin.partition("/")[0])


def _share(outcome: Outcome, parts: Sequence[Outcome]) -> None:
    """Give every tenant what came of its uploads."""
    for one in outcome.refused:
        parts[_tenant(one.origin)].refused.append(replace(one, origin=one.origin.partition("/")[2]))
    for owner, batch in zip(outcome.owners, outcome.batches, strict=True):
        parts[owner].batches.append(batch)


def _decode_all(group: Group) -> list[Outcome]:
    """What a worker does."""
    return [
        decode_and_normalise(uploads, limits, [_tenant(upload.origin) for upload in uploads])
        for limits, uploads in group
    ]


def _refused(group: Group, death: Death) -> list[Outcome]:
    """The outcome of an upload that cannot be decoded at all."""
    (((_, (upload,))),) = group
    reason = (
        "it crashed the decoder"
        if death.limit_s is None
        else f"decoding took more than {death.limit_s:.0f} s"
    )
    return [Outcome(refused=[Refused(upload.origin, reason)])]


def _apart(executor: LocalExecutor, group: Group) -> list[Outcome]:
    """The outcomes of a group that killed its worker: each upload goes alone."""
    return [_alone(executor, [(limits, [upload])]) for limits, uploads in group for upload in uploads]
