"""What blocks cost that a question need not read, and those of hours against one of a day.

    python -m benchmarks.many_blocks [--scale 1] [--rounds 7]

Five minutes at the end of 1 000 blocks and at the end of the last ten of them: the flame graph must be the same. And a
flame graph of everything over 24 blocks that a service sent in order of time, each merged by a job for level 1, against
the one that a job for level 2 makes of them; `--scale` is how many hours there are in all.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from ulid import ULID

from flameduck.engine.compaction.plan import MergeJob
from flameduck.engine.compaction.run import replace_blocks
from flameduck.engine.compaction.unpack import unpack
from flameduck.engine.ingest.known import without_profiles
from flameduck.engine.storage.blocks import write_block
from flameduck.engine.storage.builder import BlockBuilder
from flameduck.engine.storage.layout import BlockOrigin
from flameduck.schema.catalog import entry_of
from flameduck.schema.request import Selection, TreeQuery

from .asking import as_json, ask_flamegraph, open_store
from .corpus import CPU_TYPE, START_NS, TENANT, TICK_NS, TICKS, Shape, open_corpus
from .measure import argument_parser, interleaved, report

_FEW, _MANY, _HOURS = 10, 1000, 24
_PROFILES = 20
_MINUTE_NS = 60 * 10**9


def _copy(source: Path, name: str) -> Path:
    store = source.with_name(f"{source.name}.{name}")
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(source, store)
    return store


def _cut_to(store: Path, blocks: int) -> None:
    """Leave the last blocks of a store alone in it."""
    found = open_store(store).blocks
    gone = [block.ulid for block in found.live_blocks()][:-blocks]
    found.catalog.commit((), gone, "benchmark")


def _fill_to(store: Path, blocks: int) -> None:
    """Add blocks of a few profiles, each a minute older than the one before, until there are so many."""
    found = open_store(store).blocks
    live = found.live_blocks()
    batch = unpack(live[0])
    few = without_profiles(batch, np.arange(len(batch.profiles)) >= _PROFILES)
    at = few.profiles.schema.get_field_index("ts")
    metas = []
    for number in range(1, blocks - len(live) + 1):
        ts = few.profiles.column("ts").to_numpy() - number * _MINUTE_NS
        shifted = few.profiles.set_column(at, few.profiles.schema.field(at), pa.array(ts))
        builder = BlockBuilder()
        builder.add(type(few)(**{**vars(few), "profiles": shifted}))
        metas.append(write_block(found.objects, builder.build(BlockOrigin(str(ULID()), TENANT, level=0))))
    found.catalog.commit([entry_of(meta) for meta in metas], (), "benchmark")


def _merge(store: Path, groups: Sequence[Sequence[str]], level: int) -> None:
    blocks = open_store(store).blocks
    for group in groups:
        replace_blocks(blocks, MergeJob(tuple(group), level), "benchmark")


def _live(store: Path) -> list[str]:
    return [block.ulid for block in open_store(store).blocks.live_blocks()]


def _compare(names: tuple[str, str], stores: Mapping[str, Path], tree: TreeQuery, rounds: int) -> None:
    """The same question to both stores, opened before and anew."""
    opened = {name: open_store(store) for name, store in stores.items()}
    first, second = (ask_flamegraph(opened[name], tree) for name in names)
    assert first == second
    assert first.total > 0
    work = {name: lambda name=name: as_json(ask_flamegraph(opened[name], tree)) for name in names}
    work |= {
        f"{name}_cold": lambda name=name: as_json(ask_flamegraph(open_store(stores[name]), tree))
        for name in names
    }
    costs = interleaved(rounds, work)
    figures: dict[str, object] = {f"{name}_ms": 1e3 * cost.wall_s for name, cost in costs.items()}
    for suffix in ("", "_cold"):
        these, those = (costs[name + suffix] for name in names)
        figures[f"ratio{suffix}"] = these.wall_s / those.wall_s
        figures[f"ratio{suffix}_cpu"] = these.cpu_s / those.cpu_s
    report(f"many_blocks: {names[0]} to {names[1]}", figures)


def main() -> None:
    """Measure both."""
    parser = argument_parser(__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    minutes = open_corpus(Shape(1.0, "time", 2, TICKS // 60))
    few = _copy(minutes, "few")
    _cut_to(few, _FEW)
    many = _copy(few, "many")
    _fill_to(many, _MANY)
    end_ns = START_NS + (TICKS + 1) * TICK_NS
    recent = TreeQuery(Selection("{}", CPU_TYPE, end_ns - 5 * _MINUTE_NS, end_ns))
    _compare(
        ("last of 1 000", "last of 10"), {"last of 1 000": many, "last of 10": few}, recent, options.rounds
    )
    shape = Shape(options.scale, "time", 1)
    flushed = open_corpus(Shape(options.scale, "time", 1, max(shape.ticks // (2 * _HOURS), 1)))
    hours = _copy(flushed, "hours")
    ulids = _live(hours)
    _merge(hours, [ulids[a : a + 2] for a in range(0, len(ulids), 2)], 1)
    day = _copy(hours, "day")
    _merge(day, [_live(day)], 2)
    everything = TreeQuery(Selection("{}", CPU_TYPE))
    _compare(("hours", "day"), {"hours": hours, "day": day}, everything, options.rounds)
    for store in (few, many, hours, day):
        shutil.rmtree(store)


if __name__ == "__main__":
    main()
