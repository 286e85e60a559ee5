"""What a deletion would take away, and the deletion itself, in a store that this process can reach."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from ..schema.deletion import DeleteAnswer, DeleteRequest, Touched
from ..schema.errors import RequestError
from ..schema.labels import parse_selector
from ..schema.profile_type import resolve_profile_type
from ..schema.tombstone import Tombstone
from .block_set import BlockSet
from .compaction.deletion import Deletions, Rewritten
from .compaction.manifest import Manifest
from .query.opened import OpenBlock
from .query.visible import rows_of

HEAD_PLACE = "head"


def tombstone_for(blocks: Mapping[str, OpenBlock], request: DeleteRequest) -> Tombstone:
    """What is asked, as it is written down; a short name of a type becomes that of the blocks.

    Raises `InvalidSelector`, `UnknownType`, and `RequestError` for everything that was not meant.
    """
    from ulid import ULID

    matchers = parse_selector(request.checked().selector)
    if not matchers and not request.everything:
        raise RequestError("the empty selector {} takes the profiles of every series: say so with --all")
    start_ns, end_ns = request.start_ns, request.end_ns
    profile_type = request.profile_type
    if profile_type:
        known: set[str] = set()
        for block in blocks.values():
            chosen = block.index.choose(matchers, start_ns, end_ns)
            known.update(block.index.profile_type.take(chosen).unique().to_pylist())
        profile_type = resolve_profile_type(profile_type, sorted(known))
    author = request.author
    return Tombstone(str(ULID()), request.selector, profile_type, start_ns, end_ns, time.time_ns(), author)


def touched_by(blocks: Mapping[str, OpenBlock], tombstone: Tombstone) -> Sequence[Touched]:
    """What would go of each block; blocks that are not stored yet together are the head."""
    found: list[Touched] = []
    head_profiles = head_samples = 0
    for ulid, block in blocks.items():
        rows = rows_of(block, tombstone)
        samples = int(block.profile_ranges(rows)[1].sum())
        if not block.meta.files:
            head_profiles, head_samples = head_profiles + len(rows), head_samples + samples
        elif len(rows):
            found.append(Touched(ulid, len(rows), samples, block.meta.size_bytes))
    if head_profiles:
        found.append(Touched(HEAD_PLACE, head_profiles, head_samples, 0))
    return found


class StoreDeletions:
    """Deletions in one tenant of a store."""

    def __init__(self, blocks: BlockSet) -> None:
        self._blocks = blocks
        self._deletions = Deletions(blocks)

    def ask(self, request: DeleteRequest) -> DeleteAnswer:
        """Say what would go, or bring the tombstone into force. Raises `RequestError`, `StorageError`."""
        state = self._blocks.state()
        blocks = self._blocks.blocks(state, request.start_ns, request.end_ns)
        return answer_delete(self._deletions, blocks, request)

    def finish(self) -> Iterator[Rewritten]:
        """Do what remains to be done. Raises `StorageError`."""
        return self._deletions.finish()

    def in_force(self) -> Sequence[Tombstone]:
        """The tombstones in force."""
        return self._deletions.in_force()

    def manifest(self, tombstone: str) -> Manifest | None:
        """What is known of a deletion."""
        return self._deletions.manifest(tombstone)


def answer_delete(
    deletions: Deletions, blocks: Mapping[str, OpenBlock], request: DeleteRequest
) -> DeleteAnswer:
    """The same over blocks that were looked at."""
    tombstone = tombstone_for(blocks, request)
    touched = tuple(touched_by(blocks, tombstone))
    if request.act:
        # Also where nothing is seen of it: a head elsewhere may hold some.
        deletions.begin(tombstone)
    return DeleteAnswer(
        tombstone.id if request.act else "", tombstone.selector, tombstone.profile_type, touched
    )
