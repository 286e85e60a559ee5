"""Blocks of made profiles, put into a store as they are told: copies and twins included."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ulid import ULID

import flameduck
from flameduck.engine.compaction.plan import MergePolicy
from flameduck.engine.compaction.run import merge_small_blocks
from flameduck.engine.embedded import StoreDatabase
from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.engine.storage.blocks import write_block
from flameduck.engine.storage.builder import BlockBuilder
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.layout import BlockOrigin, BlockTables
from flameduck.engine.storage.objects import Objects, open_objects
from flameduck.schema.catalog import entry_of
from flameduck.schema.profile import Upload
from flameduck.schema.proto import profile_pb2
from tests.engine.ingest.made_profiles import START_NS, STEP_NS, made_profile

Made = tuple[int, int, str, bool]
"""A profile: its number, the tick that it is of, its service, and whether its samples have labels.

Several of one tick and service are twins of one nanosecond.
"""


def upload(made: Made, step_ns: int = STEP_NS) -> Upload:
    """The profile as it is pushed; ticks are so far apart."""
    number, tick, service, labelled = made
    profile = profile_pb2.Profile.FromString(made_profile(number))
    profile.time_nanos = START_NS + tick * step_ns
    if labelled:
        profile.string_table.extend([b"thread", b"one", b"two"])
        key = len(profile.string_table) - 3
        for at, sample in enumerate(profile.sample):
            sample.label.add(key=key, str=key + 1 + at % 2)
    return Upload(
        profile.SerializeToString(), {"service_name": service, "pod": f"pod-{number % 3}"}, str(made)
    )


def built(some: Sequence[Made], step_ns: int = STEP_NS) -> BlockTables:
    """A block of level 0."""
    outcome = decode_and_normalise([upload(made, step_ns) for made in some], DecodeLimits())
    assert not outcome.refused
    builder = BlockBuilder()
    for batch, continues in outcome.batches:
        builder.add(batch, continues)
    return builder.build(BlockOrigin(str(ULID()), "anonymous", level=0))


def store_of(directory: Path, blocks: Sequence[Sequence[Made]], step_ns: int = STEP_NS) -> Path:
    """A store with these blocks, or with these as well."""
    put_blocks(open_objects(str(directory)), blocks, step_ns)
    return directory


def put_blocks(objects: Objects, blocks: Sequence[Sequence[Made]], step_ns: int = STEP_NS) -> None:
    """Write blocks and commit them."""
    metas = [write_block(objects, built(some, step_ns)) for some in blocks]
    Catalog(objects, "anonymous").commit([entry_of(meta) for meta in metas], [], "test")


def merge_all(store: Path | str) -> None:
    """Turn all blocks into one."""
    with flameduck.open(store) as db:
        assert isinstance(db.database, StoreDatabase)
        merge_small_blocks(db.database.blocks, MergePolicy(enough=1))
