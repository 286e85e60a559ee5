"""Deletions of made profiles, and what a store says in SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ulid import ULID

import flameduck
from flameduck.engine.compaction.compact import compact
from flameduck.engine.compaction.deletion import Deletions, Rewritten
from flameduck.engine.compaction.levels import HOUR_NS, LevelPolicy
from flameduck.engine.embedded import StoreDatabase
from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.engine.storage.blocks import write_block
from flameduck.engine.storage.builder import BlockBuilder
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.layout import BlockOrigin
from flameduck.engine.storage.objects import open_objects
from flameduck.schema.catalog import entry_of
from flameduck.schema.tombstone import Tombstone
from tests.engine.compaction.made_blocks import Made, upload
from tests.engine.ingest.made_profiles import START_NS, answers

STEP_NS = HOUR_NS // 4

VIEWS = {
    "profiles": "ts, profile_id, series_id, profile_type, samples, total, comments",
    "samples": "ts, series_id, stack_id, value, sample_labels",
    "series": "* EXCLUDE (labels), labels['pod']",
    "labels": "*",
    "stacks": "*",
    "frames": "*",
    "functions": "*",
    "locations": "*",
    "mappings": "*",
}


@dataclass(frozen=True)
class Wanted:
    """What to delete: profiles of a service, of pods, of ticks `[first, last)`, of one type or all."""

    service: str = ""
    pod: str = ""
    ticks: tuple[int, int] | None = None
    type: str = ""

    def covers(self, made: Made) -> bool:
        """Whether a profile goes, of the type."""
        number, tick, service, _ = made
        return (
            self.service in ("", service)
            and self.pod in ("", f"pod-{number % 3}")
            and (self.ticks is None or self.ticks[0] <= tick < self.ticks[1])
        )

    def tombstone(self) -> Tombstone:
        """As the catalog has it."""
        pairs = {"service_name": self.service, "pod": self.pod}
        selector = ",".join(f'{name}="{value}"' for name, value in pairs.items() if value)
        start, end = (None, None) if self.ticks is None else (START_NS + t * STEP_NS for t in self.ticks)
        return Tombstone(str(ULID()), f"{{{selector}}}", self.type, start, end, 0, "somebody")


@contextmanager
def deletions(store: Path | str) -> Iterator[Deletions]:
    """The deletions of a store."""
    with flameduck.open(store) as db:
        assert isinstance(db.database, StoreDatabase)
        yield Deletions(db.database.blocks)


def begin(store: Path | str, wanted: Wanted) -> Tombstone:
    """A tombstone in force."""
    with deletions(store) as some:
        return some.begin(wanted.tombstone())


def finish(store: Path | str) -> Sequence[Rewritten]:
    """Do what remains to be done."""
    with deletions(store) as some:
        return list(some.finish())


def everything(store: Path | str) -> Mapping[str, object]:
    """What a store says to each kind of question, SQL included."""
    with flameduck.open(store) as db:
        tables = {
            view: sorted(map(repr, db.sql(f"SELECT {columns} FROM {view}").fetchall()))
            for view, columns in VIEWS.items()
        }
        (counts,) = db.sql("SELECT sum(profiles), sum(samples) FROM blocks").fetchall()
        pprof = {
            kind: sorted(db.export(type=kind, format="json").splitlines()) for kind in db.profile_types()
        }
    return {**answers(store), **tables, "counts": counts, "exports": pprof}


def put(store: Path | str, some: Sequence[Made], applied: int | None = None) -> None:
    """A block of new profiles, or of ones that were taken when the catalog was at a version."""
    objects = open_objects(str(store))
    catalog = Catalog(objects, "anonymous")
    version = catalog.load().version if applied is None else applied
    builder = BlockBuilder()
    for batch, continues in decode_and_normalise(
        [upload(made, STEP_NS) for made in some], DecodeLimits()
    ).batches:
        builder.add(batch, continues)
    origin = BlockOrigin(str(ULID()), "anonymous", level=0, applied=version)
    catalog.commit([entry_of(write_block(objects, builder.build(origin)))], [], "test")


def compact_all(store: Path | str) -> None:
    """Run every job of compaction."""
    with flameduck.open(store) as db:
        assert isinstance(db.database, StoreDatabase)
        assert not [one.problems for one in compact(db.database.blocks, LevelPolicy()) if one.problems]
