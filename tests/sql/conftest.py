"""Blocks made of folded stacks: small enough to compute every answer by hand.

A frame of a stack is a location. `a` is a function, `a|b` a location whose function `a` has `b` inlined into
it, `[app]` a location of the mapping `/bin/app` without symbols, `?` one without a mapping too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
import xxhash

from flameduck.engine.database import DatabaseLimits, DuckDB, connect
from flameduck.engine.database_face import FaceContents
from flameduck.engine.storage.blocks import write_block
from flameduck.engine.storage.builder import BlockBuilder
from flameduck.engine.storage.layout import BlockOrigin, BlockTables
from flameduck.engine.storage.objects import open_objects
from flameduck.schema import profile
from flameduck.schema.identity import ROOT_PATH, extend_paths, series_id
from flameduck.schema.profile import NormalisedBatch
from flameduck.schema.tables import TABLES

CPU = "process_cpu:cpu:nanoseconds:cpu:nanoseconds"
SPACE = "memory:inuse_space:bytes:space:bytes"
SECOND = 1_000_000_000
NOON = 1_767_268_800 * SECOND
"""2026-01-01 12:00 UTC."""


@dataclass(frozen=True)
class Sampled:
    """One profile: folded stacks with values, a series, a time in seconds after `NOON`, and an identity."""

    stacks: Mapping[str, int]
    seconds: int = 0
    service: str = "checkout"
    region: str = "eu"
    type: str = CPU
    identity: str = ""
    labelled: Mapping[str, str] = field(default_factory=dict)


def number(text: str) -> int:
    """A content hash for a test: of its description."""
    return xxhash.xxh3_64_intdigest(text.encode())


def stack_id(folded: str) -> int:
    """The content hash of a stack of test locations."""
    path = np.array([ROOT_PATH])
    for frame in folded.split(";"):
        extend_paths(path, np.array([number("location " + frame)], np.uint64))
    return int(path[0])


def batch_of(profiles: Sequence[Sampled]) -> NormalisedBatch:
    """Profiles as decoding and normalising would deliver them."""
    stacks = sorted({folded for sampled in profiles for folded in sampled.stacks})
    frames = sorted({frame for folded in stacks for frame in folded.split(";")})
    symbols = [frame for frame in frames if frame != "?" and not frame.startswith("[")]
    functions = sorted({name for frame in symbols for name in frame.split("|")})
    labelsets = {key: value for sampled in profiles for key, value in sampled.labelled.items()}
    return NormalisedBatch(
        series=_series_table(profiles),
        profiles=_profile_table(profiles),
        samples=_sample_table(profiles),
        stacks=_table(
            profile.STACKS,
            [
                (stack_id(folded), [number("location " + frame) for frame in reversed(folded.split(";"))])
                for folded in stacks
            ],
        ),
        locations=_table(profile.LOCATIONS, [_location(frame) for frame in frames]),
        functions=_table(
            profile.FUNCTIONS,
            [(number("function " + name), name, name + "()", f"{name}.c", 10) for name in functions],
        ),
        mappings=_table(
            profile.MAPPINGS,
            [(number("/bin/app"), "/bin/app", "f00d", 4096, 8192, 0, True, True, True, True)],
        ),
        labelsets=_table(
            profile.LABELSETS,
            [
                (number(f"{key}={value}"), [{"key": key, "str": value, "num": 0, "unit": ""}])
                for key, value in sorted(labelsets.items())
            ],
        ),
    )


def _table(schema: pa.Schema, rows: Sequence[tuple[object, ...]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)


def _location(frame: str) -> tuple[object, ...]:
    bare = frame == "?" or frame.startswith("[")
    inner_first = [] if bare else list(reversed(frame.split("|")))
    lines = [
        {"function_id": number("function " + name), "line": 20 + at, "column": 0}
        for at, name in enumerate(inner_first)
    ]
    return number("location " + frame), 0 if frame == "?" else number("/bin/app"), 4100, False, lines


def _labels(sampled: Sampled) -> dict[str, str]:
    return {
        "__name__": sampled.type.split(":")[0],
        "__profile_type__": sampled.type,
        "region": sampled.region,
        "service_name": sampled.service,
    }


def _series_table(profiles: Sequence[Sampled]) -> pa.Table:
    distinct = {series_id(_labels(sampled)): sampled for sampled in profiles}
    return _table(
        profile.SERIES,
        [
            (key, s.service, s.type.split(":")[0], s.type, list(_labels(s).items()))
            for key, s in distinct.items()
        ],
    )


def _profile_table(profiles: Sequence[Sampled]) -> pa.Table:
    rows = []
    for at, s in enumerate(profiles):
        key = xxhash.xxh3_128_digest((s.identity or f"{at} {s}").encode())
        ts = NOON + s.seconds * SECOND
        facts = (key, key, len(s.stacks), sum(s.stacks.values()), 0, 0, 10_000_000, 5 * SECOND)
        rows.append(
            (series_id(_labels(s)), ts, *facts, "", "", "", ["made by hand"], "", [number("/bin/app")])
        )
    return _table(profile.PROFILES, rows)


def _sample_table(profiles: Sequence[Sampled]) -> pa.Table:
    return _table(
        profile.SAMPLES,
        [
            (stack_id(folded), value, sum(number(f"{k}={v}") for k, v in s.labelled.items()), 0, None)
            for s in profiles
            for folded, value in s.stacks.items()
        ],
    )


EARLY = (
    Sampled({"main;work;parse": 30, "main;work": 20, "main;idle": 50}),
    Sampled({"main;work;parse": 5, "main;work;main": 7, "main;[app]": 3}, 15, labelled={"thread": "7"}),
    Sampled({"main;work": 100}, 15, region="us"),
    Sampled({"main;cache": 4096}, 15, type=SPACE),
    Sampled({}, 30, type=SPACE),
)
LATE = (
    Sampled({"main;work;parse": 1, "main;a|b;c": 2, "?": 4}, 60),
    Sampled({"serve;work": 11}, 60, service="search"),
    Sampled({"serve;work": 11}, 60, service="search", identity="another of the same nanosecond"),
)
LOOSE = (Sampled({"main;work;parse": 1000, "main;a|b;c": 500}, 90),)


def built(profiles: Sequence[Sampled], last: str) -> BlockTables:
    """A block in memory; `last` is the last letter of its ULID."""
    builder = BlockBuilder()
    builder.add(batch_of(profiles))
    return builder.build(BlockOrigin("01HZZZZZZZZZZZZZZZZZZZZZ0" + last, "acme"))


@pytest.fixture(scope="session")
def by_hand() -> ModuleType:
    """This module: a test cannot import a conftest by name."""
    return sys.modules[__name__]


@pytest.fixture(scope="session")
def blocks_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store's directory of two blocks, `EARLY` and `LATE`."""
    root = tmp_path_factory.mktemp("store")
    objects = open_objects(str(root))
    for last, profiles in (("A", EARLY), ("B", LATE)):
        write_block(objects, built(profiles, last))
    return root / "acme" / "blocks"


@pytest.fixture(scope="session")
def stored(blocks_directory: Path) -> FaceContents:
    """The two blocks of the store."""
    metas = [built(EARLY, "A").meta, built(LATE, "B").meta]
    files = {
        name: [str(path) for path in sorted(blocks_directory.glob(f"*/{name}.parquet"))] for name in TABLES
    }
    return FaceContents(metas, files)


@pytest.fixture(scope="session")
def database() -> Iterator[DuckDB]:
    """One DuckDB for all tests."""
    with connect(DatabaseLimits(threads=2)) as opened:
        yield opened


@pytest.fixture(scope="session")
def half_in_memory(stored: FaceContents) -> FaceContents:
    """The same two blocks, the later one not in files."""
    early = {name: [path for path in paths if "0A/" in path] for name, paths in stored.files.items()}
    return FaceContents(stored.metas, early, built(LATE, "B").tables)
