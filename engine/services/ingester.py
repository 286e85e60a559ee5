"""The ingester: pushes become durable in the head, are answered, and are flushed to blocks.

Decoded groups queue for one committing thread, which takes all that wait into one commit of the head, so that one
sync answers many pushes. Another thread flushes by age, samples and memory.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from queue import Queue
from threading import Condition, Event, Lock, Thread

from ulid import ULID

from ...schema.catalog import entry_of
from ...schema.errors import FlameduckError, ObjectMissing, Overloaded, StorageError, Unavailable
from ...schema.profile import Upload
from ...schema.request import Refused
from ..block_set import BlockSet
from ..execution.start import give_memory_back
from ..head.generation import TenantRows
from ..head.head import Generation, Head, HeadBatch
from ..ingest.decode import DecodeLimits
from ..storage.blocks import write_block
from .decoding import Decoded, DecodePool, GroupBounds, Refusals, Submission
from .metrics import Metrics

log = logging.getLogger(__name__)

_FLUSH_LOOK_S = 0.5
_FLUSH_RETRY_S = 10.0
_PAUSE = 2.0
"""A flush that nobody waits for rests so many times as long as a tenant took: pushes and questions go on meanwhile."""

_SIZE_LOOK_S = 0.1
_MOST_GROUPS = 4
"""Decoded groups that wait to be written; decoding waits when there are more."""


@dataclass(frozen=True)
class FlushBounds:
    """When the head is flushed, and how large it may become."""

    age_s: float = 60
    samples: int = 6_000_000
    size_bytes: int = 256 << 20
    head_bytes: int = 1 << 30


@dataclass(frozen=True)
class IngesterBounds:
    """All that an ingester is bounded by."""

    groups: GroupBounds
    flush: FlushBounds
    limits_of: Callable[[str], DecodeLimits]
    noted: Callable[[str], None] = lambda tenant: None
    """Told the tenant of every block that a flush stores."""


class Ingester:
    """Durable on acknowledgement. Safe for several threads."""

    def __init__(
        self,
        head: Head,
        blocks_of: Callable[[str], BlockSet],
        bounds: IngesterBounds,
        metrics: Metrics,
    ) -> None:
        self.head = head
        self._blocks_of = blocks_of
        self._bounds = bounds.flush
        self._noted = bounds.noted
        self._metrics = metrics
        self._pool = DecodePool(bounds.groups, bounds.limits_of, self._queue_group)
        self._groups: Queue[Sequence[Decoded] | None] = Queue(_MOST_GROUPS)
        self._head_size = _HeadSize(head)
        self._committing = Thread(target=self._commit_all, name="commit", daemon=True)
        self._flushing = Thread(target=self._flush_all, name="flush", daemon=True)
        self._flush_lock = Lock()
        # How many wait for a flush; told when there are any.
        self._waiting = 0
        self._hurried = Condition()
        self._stopped = Event()
        self._oldest: float | None = None

    def start(self) -> None:
        """Begin to take pushes; what an earlier process left in the head is flushed."""
        self._pool.start()
        self._committing.start()
        self._flushing.start()

    def push(self, tenant: str, uploads: Sequence[Upload]) -> Future[Refusals]:
        """Take uploads; the future becomes the refused ones once the others are durable.

        It raises `Unavailable` when they could not be written. Raises `Overloaded` when too much waits.
        """
        held = self._head_size.bytes
        if held > self._bounds.head_bytes:
            raise Overloaded(f"the head holds {held} bytes; limit {self._bounds.head_bytes}")
        submission = Submission(tenant, uploads)
        # A client that goes away cannot take back what it sent.
        submission.answer.set_running_or_notify_cancel()
        self._pool.submit(submission)
        return submission.answer

    def _queue_group(self, group: Sequence[Decoded]) -> None:
        uploads = sum(len(one.uploads) for decoded in group for one in decoded.submissions)
        self._metrics.group_profiles.observe(uploads)
        # It waits where the disk is slow, so that no more is decoded than can be written.
        self._groups.put(group)

    def _commit_all(self) -> None:
        is_open = True
        while is_open:
            waiting = [self._groups.get()]
            while not self._groups.empty():
                waiting.append(self._groups.get())
            is_open = None not in waiting
            decoded = [one for group in waiting if group is not None for one in group]
            if decoded:
                self._commit(decoded)

    def _commit(self, decoded: Sequence[Decoded]) -> None:
        """Make some groups durable, and answer their pushes."""
        batches = [HeadBatch(one.tenant, pieces) for one in decoded for pieces in one.batches]
        try:
            with self._metrics.commit_seconds.time():
                errors = self.head.commit(batches) if batches else []
        except FlameduckError as error:
            _fail(decoded, error)
        except Exception:  # the boundary of a thread that everything waits for
            log.exception("a commit failed")
            _fail(decoded, Unavailable("internal error"))
        else:
            self._oldest = self._oldest or time.monotonic()
            _answer(decoded, errors)

    def _flush_all(self) -> None:
        wait_s = _FLUSH_LOOK_S
        while not self._stopped.wait(wait_s):
            try:
                self._settle_all()
                if self._is_due():
                    self._rotate()
                    self._store_closed()
                elif self.head.closed_generations:
                    self._store_closed()
                wait_s = _FLUSH_LOOK_S
                continue
            except FlameduckError as error:
                log.warning("the flush failed and will be tried again: %s", error)
            except Exception:  # the boundary of a thread that the head's bound depends on
                log.exception("the flush failed and will be tried again")
            self._metrics.flush_failures.inc()
            wait_s = min(2 * wait_s, _FLUSH_RETRY_S)

    def _is_due(self) -> bool:
        """Whether the current generation is old or large enough."""
        if self._oldest is None:
            return False
        return (
            time.monotonic() - self._oldest >= self._bounds.age_s
            or self.head.open_samples >= self._bounds.samples
            or self.head.open_bytes >= self._bounds.size_bytes
        )

    def flush(self) -> None:
        """Store everything that was committed before this call as blocks. Raises `StorageError`, `Unavailable`."""
        self._rotate()
        with self._hurried:
            self._waiting += 1
            self._hurried.notify_all()
        try:
            self._store_closed()
        finally:
            with self._hurried:
                self._waiting -= 1

    def _rotate(self) -> None:
        self._oldest = None
        self.head.rotate()

    def _store_closed(self) -> None:
        """Store what is closed; what is in the way of one tenant's profiles does not hold up the others'."""
        with self._flush_lock, self._metrics.flush_seconds.time():
            errors: list[FlameduckError] = []
            for generation in self.head.closed():
                errors += self._store_generation(generation)
                if not generation.tenants():
                    self.head.drop(generation)
                self._head_size.forget()
            give_memory_back()
            if errors:
                raise errors[0]

    def _store_generation(self, generation: Generation) -> list[FlameduckError]:
        errors = []
        busy_s = 0.0
        for tenant, rows in generation.tenants().items():
            self._pause(_PAUSE * busy_s)
            begun_s = time.thread_time()
            try:
                self._store(generation, tenant, rows)
            except FlameduckError as error:
                errors.append(error)
            busy_s = time.thread_time() - begun_s
        return errors

    def _pause(self, pause_s: float) -> None:
        """Wait, unless somebody waits for the flush, or the next one is due."""
        with self._hurried:
            if not self._is_due():
                self._hurried.wait_for(lambda: self._waiting > 0 or self._stopped.is_set(), pause_s)

    def _store(self, generation: Generation, tenant: str, rows: TenantRows) -> None:
        blocks = self._blocks_of(tenant)
        self._settle(tenant, blocks)
        if not is_stored(generation, blocks):
            built = rows.build(_ulid_after(generation.name), generation.source)
            if built is not None:
                meta = write_block(blocks.objects, built)
                blocks.catalog.commit(added=(entry_of(meta),), removed=(), reason="flush")
                log.info("flushed %d profiles of %s to block %s", meta.profiles, tenant, meta.ulid)
                self._noted(tenant)
        generation.drop(tenant)

    def _settle(self, tenant: str, blocks: BlockSet) -> None:
        """See to it that the head knows what a tenant's catalog is at. Raises `StorageError`."""
        if tenant in self.head.unsettled():
            self.head.settle(tenant, blocks.state().version)

    def _settle_all(self) -> None:
        """The same for all; where the store does not answer, pushes go on, and it is tried again."""
        with suppress(StorageError, Unavailable):
            for tenant in self.head.unsettled():
                self._settle(tenant, self._blocks_of(tenant))

    def fault(self) -> str:
        """Why pushes cannot be taken now; empty when they can."""
        for thread in (self._committing, self._flushing):
            if not thread.is_alive():
                return f"not ready: the {thread.name} thread does not run"
        held, limit = self.head.size_bytes, self._bounds.head_bytes
        return f"not ready: the head holds {held} bytes; limit {limit}" if held > limit else ""

    def stop(self) -> None:
        """Take no more, answer what waits, flush, and release everything."""
        self._pool.stop()
        self._groups.put(None)
        if self._committing.is_alive():
            self._committing.join()
        with self._hurried:
            self._stopped.set()
            self._hurried.notify_all()
        if self._flushing.is_alive():
            self._flushing.join()
        try:
            self.flush()
        except FlameduckError as error:
            log.warning("the last flush failed; the head keeps its profiles for the next start: %s", error)
        finally:
            self.head.close()


class _HeadSize:
    """The head's size, added up anew from all tenants a few times a second at most."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._read_at = -math.inf
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """About what the head holds."""
        if time.monotonic() - self._read_at > _SIZE_LOOK_S:
            self._bytes = self._head.size_bytes
            self._read_at = time.monotonic()
        return self._bytes

    def forget(self) -> None:
        """Read it again: much was dropped."""
        self._read_at = -math.inf


def is_stored(generation: Generation, blocks: BlockSet) -> bool:
    """Whether an earlier process stored this generation, and died before it dropped it."""
    if not generation.recovered:
        return False
    looked: set[str] = set()
    left = [ulid for ulid in blocks.state().blocks if ulid > generation.name]
    while left:
        ulid = left.pop()
        looked.add(ulid)
        try:
            meta = blocks.block(ulid).meta
        except ObjectMissing:
            continue
        if generation.source in meta.sources:
            return True
        # The block may have been merged since into one that is live.
        left += [parent for parent in meta.parents if parent > generation.name and parent not in looked]
    return False


def _ulid_after(name: str) -> str:
    """A new ULID that is later than another, whatever the clock says."""
    now_ms = time.time_ns() // 10**6
    return str(ULID.from_timestamp(max(now_ms, ULID.from_str(name).milliseconds + 1)))


def _fail(decoded: Sequence[Decoded], error: FlameduckError) -> None:
    """Tell every push that it was not stored."""
    for one in decoded:
        for submission in one.submissions:
            submission.answer.set_exception(error)


def _answer(decoded: Sequence[Decoded], errors: Sequence[FlameduckError | None]) -> None:
    """Tell every push what became of it; a batch that could not be taken is that of all pushes in it."""
    at = 0
    for one in decoded:
        count = len(one.batches)
        failed = [error for error in errors[at : at + count] if error is not None]
        at += count
        for number, submission in enumerate(one.submissions):
            refused = one.refused_of(number)
            if failed:
                refused = [Refused(upload.origin, str(failed[0])) for upload in submission.uploads]
            submission.answer.set_result(refused)
