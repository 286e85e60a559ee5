"""Uploads in, blocks out: decode in worker processes, drop what is known, write few large blocks.

A block is written, then committed; a crash in between leaves files that no catalog entry names, which nobody
sees, and the rerun stores what is missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from ...schema.catalog import entry_of
from ...schema.errors import StorageError, Unavailable
from ...schema.profile import NormalisedBatch, Upload
from ...schema.request import IngestOptions, IngestReport, Refused
from ..compaction.plan import MergePolicy
from ..compaction.run import BlockStore, merge_small_blocks
from ..execution import Death, Executor
from ..storage.blocks import write_block
from ..storage.builder import BlockBuilder
from ..storage.layout import BlockOrigin
from .decode import DecodeLimits, Outcome, decode_and_normalise, group_uploads
from .known import KnownProfiles, without_profiles


@dataclass(frozen=True)
class IngestBounds:
    """When a block is cut: at this many samples, at this many bytes held in memory, or when building it may take
    this many on top; and how large uploads may be.
    """

    max_samples: int = 6_000_000
    max_bytes: int = 320 << 20
    max_build_bytes: int = 512 << 20
    limits: DecodeLimits = field(default_factory=DecodeLimits)


DEFAULT_BOUNDS = IngestBounds()


@dataclass
class _Tally:
    """What became of the uploads so far; a profile is told by its id and its time."""

    new: set[tuple[bytes, int]] = field(default_factory=set)
    known: int = 0
    refused: list[Refused] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    applied: int = 0
    """The catalog's version before anything of the next block came: what is deleted later concerns it."""


def ingest(
    store: BlockStore,
    uploads: Iterable[Upload],
    executor: Executor,
    options: IngestOptions,
    bounds: IngestBounds = DEFAULT_BOUNDS,
) -> IngestReport:
    """Store uploads; a bad one is refused and the others are stored. Everything is durable on return."""
    tally = _Tally(applied=store.catalog.load().version)
    known = KnownProfiles(store.live_blocks())
    builder = BlockBuilder()
    done = 0
    for outcome, uploads_done in _decoded(uploads, executor, bounds.limits):
        done += uploads_done
        _note(outcome, tally)
        for batch, continues in outcome.batches:
            if not continues and _is_full(builder, bounds):
                builder = _cut(store, builder, known, tally)
            _add(builder, batch, continues, known, tally)
        # The builder has what it needs: a large upload's batches must not stay while the block is built.
        outcome.batches.clear()
        if options.progress is not None:
            options.progress(done)
    _cut(store, builder, known, tally)
    _tidy_up(store, bounds, tally)
    return IngestReport(
        len(tally.new),
        tally.known,
        tuple(tally.refused),
        tuple(tally.blocks),
        tuple(dict.fromkeys(tally.warnings)),
    )


def _is_full(builder: BlockBuilder, bounds: IngestBounds) -> bool:
    return (
        builder.samples >= bounds.max_samples
        or builder.size_bytes >= bounds.max_bytes
        or builder.build_bytes >= bounds.max_build_bytes
    )


def _decoded(
    uploads: Iterable[Upload], executor: Executor, limits: DecodeLimits
) -> Iterator[tuple[Outcome, int]]:
    """What became of each group of uploads, and how many they were."""
    counts: deque[int] = deque()

    def groups() -> Iterator[list[Upload]]:
        for group in group_uploads(uploads):
            counts.append(len(group))
            yield group

    task = partial(decode_and_normalise, limits=limits)
    for outcome in executor.map(task, groups(), partial(_one_by_one, executor, task)):
        yield outcome, counts.popleft()


def _one_by_one(
    executor: Executor, task: Callable[[list[Upload]], Outcome], group: list[Upload], death: Death
) -> Outcome:
    """What became of a group that a worker was lost to: each upload by itself, until the culprit stands alone."""
    if len(group) == 1:
        return Outcome(refused=[Refused(group[0].origin, _reason(death))])
    merged = Outcome()
    # Not by halves: each half with something in it that never ends would take the whole time again.
    for outcome in executor.map(task, [[one] for one in group], partial(_one_by_one, executor, task)):
        merged.batches += outcome.batches
        merged.refused += outcome.refused
        merged.warnings += outcome.warnings
    return merged


def _reason(death: Death) -> str:
    if death.limit_s is None:
        return "it crashed the decoder"
    return f"it took the decoder longer than {death.limit_s:g} s (the setting decode_seconds)"


def _note(outcome: Outcome, tally: _Tally) -> None:
    tally.refused += outcome.refused
    tally.warnings += outcome.warnings


def _add(
    builder: BlockBuilder, batch: NormalisedBatch, continues: bool, known: KnownProfiles, tally: _Tally
) -> None:
    """Add what the store lacks. An upload counts once, whatever the number of its series."""
    stored = known.contains(batch.profiles)
    ids, times = (batch.profiles.column(name).to_pylist() for name in ("profile_id", "ts"))
    told = list(zip(ids, times, strict=True))
    fresh = {one for one, is_stored in zip(told, stored, strict=True) if not is_stored}
    if not continues:
        tally.known += len(set(told) - fresh) + len(fresh & tally.new)
    tally.new |= fresh
    builder.add(without_profiles(batch, stored), continues)


def _cut(store: BlockStore, builder: BlockBuilder, known: KnownProfiles, tally: _Tally) -> BlockBuilder:
    """Write and commit what was collected; returns an empty builder."""
    if builder.profiles:
        built = builder.build(BlockOrigin(_new_ulid(), store.tenant, applied=tally.applied))
        meta = write_block(store.objects, built)
        tally.applied = store.catalog.commit(added=(entry_of(meta),), removed=(), reason="ingest").version
        tally.blocks.append(meta.ulid)
        # Another process may have merged it away by now, so it is not looked up in the catalog.
        known.add(store.block(meta.ulid))
    return BlockBuilder()


def _new_ulid() -> str:
    # Imported here because reading files without a store, which passes by this module, needs none.
    from ulid import ULID

    return str(ULID())


def _tidy_up(store: BlockStore, bounds: IngestBounds, tally: _Tally) -> None:
    """Merge small blocks. What was ingested is stored already, so a failure is but a warning."""
    try:
        merge_small_blocks(store, MergePolicy(max_samples=bounds.max_samples))
    except (StorageError, Unavailable) as error:
        tally.warnings.append(f"small blocks were not merged: {error}")
