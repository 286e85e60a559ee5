"""The compactor: keeps the blocks of tenants that flush often few, in the background.

Blocks that were merged away leave the catalog and stay on disk: questions that began before go on reading them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock, Thread

from ...schema.errors import FlameduckError
from ..block_set import BlockSet
from ..compaction.plan import MergePolicy, plan_merges
from ..compaction.run import merge_small_blocks
from ..execution.start import give_memory_back
from .metrics import Metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompactorBounds:
    """How often to look, 0: never; and how many samples a merged block may have, which bounds the memory."""

    every_s: float = 30
    samples: int = 2_000_000

    @property
    def policy(self) -> MergePolicy:
        """What is worth merging: blocks a good deal smaller than what they are merged into."""
        return MergePolicy(small_bytes=2 * self.samples, max_samples=self.samples)


class Compactor:
    """Looks at the tenants that got blocks since the last look. Safe for several threads."""

    def __init__(
        self, blocks_of: Callable[[str], BlockSet], bounds: CompactorBounds, metrics: Metrics
    ) -> None:
        self._blocks_of = blocks_of
        self._bounds = bounds
        self._metrics = metrics
        self._lock = Lock()
        self._grown: set[str] = set()
        self._stopped = Event()
        self._thread = Thread(target=self._look_all, name="compact", daemon=True)

    def note(self, tenant: str) -> None:
        """A tenant has one block more."""
        if self._bounds.every_s:
            with self._lock:
                self._grown.add(tenant)

    def start(self) -> None:
        """Begin to look."""
        if self._bounds.every_s:
            self._thread.start()

    def stop(self) -> None:
        """Finish the merge that is under way, if any."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _look_all(self) -> None:
        while not self._stopped.wait(self._bounds.every_s):
            self.run_once()

    def run_once(self) -> None:
        """Merge what there is to merge; what fails is looked at again when its tenant has another block."""
        with self._lock:
            grown, self._grown = self._grown, set()
        for tenant in sorted(grown):
            if self._stopped.is_set():
                return
            try:
                self._merge(tenant)
            except FlameduckError as error:
                log.warning("small blocks of %s were not merged: %s", tenant, error)
            except Exception:  # the boundary of a thread
                log.exception("small blocks of %s were not merged", tenant)

    def _merge(self, tenant: str) -> None:
        blocks = self._blocks_of(tenant)
        before = blocks.state().blocks
        # Planned from the catalog alone first: mostly there is nothing to do, and no block to open.
        if not plan_merges(before.values(), self._bounds.policy):
            return
        with self._metrics.merge_seconds.time():
            merge_small_blocks(blocks, self._bounds.policy)
        give_memory_back()
        log.info("%d blocks of %s became %d", len(before), tenant, len(blocks.state().blocks))
