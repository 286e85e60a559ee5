"""The deleter: profiles are deleted in the head and the blocks of a tenant at once, and written out in the background.

The head begins another generation with the next push of the tenant: what comes after the tombstone stays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from queue import Queue
from threading import Lock, Thread

from ...schema.deletion import DeleteAnswer, DeleteRequest
from ...schema.errors import FlameduckError
from ...schema.tombstone import Tombstone
from ..block_set import BlockSet
from ..compaction.deletion import Deletions
from ..compaction.manifest import Manifest
from ..deleting import answer_delete
from ..head.generation import UNKNOWN
from ..head.head import Head, Moment
from .querier import visible_segments

log = logging.getLogger(__name__)


def moment_of(blocks: BlockSet) -> Moment:
    """What is known of a tenant's catalog, without a look at it."""
    state = blocks.catalog.known
    return Moment(UNKNOWN) if state is None else Moment(state.version, state.last_tombstone)


class Deleter:
    """Deletes for any tenant. Safe for several threads."""

    def __init__(self, head: Head, blocks_of: Callable[[str], BlockSet], flush: Callable[[], None]) -> None:
        """`flush` stores the head."""
        self._head = head
        self._blocks_of = blocks_of
        self._flush = flush
        # Tenants, and whether their heads are to be stored first.
        self._noted: Queue[tuple[str, bool] | None] = Queue()
        self._waiting: set[tuple[str, bool]] = set()
        self._lock = Lock()
        self._thread = Thread(target=self._work, name="delete", daemon=True)

    def start(self) -> None:
        """Begin to write out."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the tenant that is under way; a later process takes up the rest."""
        self._noted.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def ask(self, tenant: str, request: DeleteRequest) -> DeleteAnswer:
        """Say what would go, or bring the tombstone into force. Raises `RequestError`, `StorageError`."""
        blocks = self._blocks_of(tenant)
        segments = self._head.segments(tenant, request.start_ns, request.end_ns)
        state = blocks.state()
        # What was pushed by now came before the tombstone, whether or not the catalog was looked at then.
        self._head.settle(tenant, state.version)
        found = visible_segments(segments, state)
        found |= blocks.blocks(state, request.start_ns, request.end_ns)
        answer = answer_delete(Deletions(blocks), found, request)
        if request.act:
            log.info(
                "%s deletes %s of %s (%s)", request.author or "somebody", answer.selector, tenant, answer.id
            )
            self._head.note_tombstone(tenant, blocks.state().last_tombstone)
            self._put(tenant, is_new=True)
        return answer

    def note(self, tenant: str) -> None:
        """A tenant has another block: it may hold what was deleted."""
        known = self._blocks_of(tenant).catalog.known
        if known is not None and known.tombstones:
            self._put(tenant, is_new=False)

    def _put(self, tenant: str, is_new: bool) -> None:
        noted = tenant, is_new
        with self._lock:
            if noted not in self._waiting:
                self._waiting.add(noted)
                self._noted.put(noted)

    def in_force(self, tenant: str) -> Sequence[Tombstone]:
        """The tombstones in force, oldest first. Raises `StorageError`.

        What an earlier process left is gone on with: who asks wants to see it come to an end.
        """
        found = Deletions(self._blocks_of(tenant)).in_force()
        if found:
            self._put(tenant, is_new=False)
        return found

    def manifest(self, tenant: str, tombstone: str) -> Manifest | None:
        """What is known of a deletion. Raises `StorageError`."""
        return Deletions(self._blocks_of(tenant)).manifest(tombstone)

    def _work(self) -> None:
        while (noted := self._noted.get()) is not None:
            tenant, is_new = noted
            with self._lock:
                self._waiting.discard(noted)
            try:
                if is_new:
                    self._flush()
                self.finish(tenant)
            except FlameduckError as error:
                log.warning("deletions of %s are not finished: %s", tenant, error)
            except Exception:  # the boundary of a thread
                log.exception("deletions of %s are not finished", tenant)

    def finish(self, tenant: str) -> None:
        """Write the blocks of a tenant without what was deleted. Raises `StorageError`."""
        for one in Deletions(self._blocks_of(tenant)).finish():
            if one.problem:
                log.warning("block %s of %s: %s", one.ulid, tenant, one.problem)
            else:
                log.info("block %s of %s became %s", one.ulid, tenant, one.became or "nothing")
