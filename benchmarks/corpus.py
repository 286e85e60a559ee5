"""A synthetic hour of a fleet as a store of ours: 20 services x 50 pods x 240 profiles, about 97 million rows.

    python -m benchmarks.corpus [--scale 0.05] [--order service|time]

Each service has 5 000 to 60 000 stacks spliced from real ones, its own functions renamed; stacks are drawn with
Zipf weights that each pod tilts. 12 services are CPU profiles, 8 are allocations. Blocks are built and cut as
`flameduck ingest` does: when profiles arrive service by service, as from a directory a service or from a
compaction, or in order of time, as from live services. `--scale` keeps that part of the hour.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from ulid import ULID

from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.engine.settings import Settings
from flameduck.engine.storage.blocks import write_block
from flameduck.engine.storage.builder import BlockBuilder
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.layout import BlockOrigin
from flameduck.engine.storage.objects import open_objects
from flameduck.schema import profile
from flameduck.schema.catalog import entry_of
from flameduck.schema.profile import NormalisedBatch, Upload

from .measure import CACHE, argument_parser, report
from .real_stacks import ProfileWriter, Stack, real_profiles, spliced, stacks_of

TENANT = "anonymous"
SERVICES, PODS, TICKS = 20, 50, 240
TICK_NS = 15 * 10**9
START_NS = 1_795_449_600 * 10**9
CPU_TYPE = "process_cpu:cpu:nanoseconds:cpu:nanoseconds"
ALLOC_TYPE = "memory:alloc_space:bytes:space:bytes"

_VERSION = 1
_TICKS_PER_BATCH = 4
_DRAWS_MEDIAN, _DRAWS_SPREAD = 760, 0.6
_LIBRARY = re.compile(
    r"^(runtime|sync|net|io|os|bufio|bytes|strings|syscall|time|encoding|crypto|compress)[./]"
)

Order = Literal["service", "time"]
IntArray = npt.NDArray[np.int64]


def service_name(number: int) -> str:
    """`svc00` to `svc19`."""
    return f"svc{number:02d}"


def is_cpu(number: int) -> bool:
    """Whether a service sends CPU profiles; the others send allocations."""
    return number % 5 not in (1, 3)


@dataclass(frozen=True)
class Shape:
    """Which part of the hour and of the services, in which order they arrive, and when a block is cut: after so
    many ticks, or (0) at the size at which ingest cuts it.
    """

    scale: float = 1.0
    order: Order = "service"
    services: int = SERVICES
    ticks_per_block: int = 0

    @property
    def ticks(self) -> int:
        """How many times each pod is profiled."""
        return max(round(TICKS * self.scale), 1)

    @property
    def path(self) -> Path:
        """Where the store is kept."""
        cut = f"-{self.ticks_per_block}" if self.ticks_per_block else ""
        return CACHE / f"corpus-{self.scale:g}-{self.order}-{self.services}{cut}-v{_VERSION}"


def open_corpus(shape: Shape) -> Path:
    """The store of this shape, made if it is not there."""
    path = shape.path
    if not path.is_dir():
        unfinished = path.with_name(path.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        _make(unfinished, shape)
        unfinished.rename(path)
    return path


@dataclass(frozen=True)
class _Service:
    """What a service's profiles are drawn from. `cumulative` is each pod's distribution over stacks, end to end,
    that of pod `p` shifted by `p`; `unit` is what one draw of a stack is worth.
    """

    symbols: NormalisedBatch
    series: pa.Table
    cumulative: npt.NDArray[np.float64]
    unit: IntArray


def _service(number: int, sources: list[list[Stack]]) -> _Service:
    rnd, rng = random.Random(number), np.random.default_rng(number)
    drawn = [stack for stacks in rnd.sample(sources, min(4, len(sources))) for stack in stacks]
    pool = spliced(drawn, int(5000 * 12 ** rnd.random()), rnd)
    symbols = _symbols(number, pool)
    count = len(symbols.stacks)
    weight = rng.permutation(1 / np.arange(1, count + 1) ** rnd.uniform(0.95, 1.2))
    tilted = weight * np.exp(rng.normal(0, 0.6, (PODS, count)))
    cumulative = np.cumsum(tilted / tilted.sum(axis=1, keepdims=True), axis=1)
    cumulative[:, -1] = 1
    unit = (
        np.full(count, 10_000_000)
        if is_cpu(number)
        else np.exp(rng.normal(6, 1.5, count)).astype(np.int64) + 8
    )
    shifted = np.asarray(cumulative + np.arange(PODS)[:, None], np.float64).ravel()
    return _Service(symbols, _series(number), shifted, unit)


def _writer(number: int) -> ProfileWriter:
    if is_cpu(number):
        return ProfileWriter([("cpu", "nanoseconds")], ("cpu", "nanoseconds", 10_000_000))
    return ProfileWriter([("alloc_space", "bytes")], ("space", "bytes", 524_288))


def _symbols(number: int, pool: list[Stack]) -> NormalisedBatch:
    """The pool as the real pipeline normalises it."""
    writer = _writer(number)
    renamed: dict[str, str] = {}
    for stack in pool:
        writer.add(
            tuple(tuple((_renamed(name, number, renamed), *rest) for name, *rest in one) for one in stack),  # type: ignore[misc]
            [1],
        )
    (batch,) = _normalised([Upload(writer.profile.SerializeToString(), {}, time_ns=START_NS)])
    return batch


def _renamed(name: str, number: int, known: dict[str, str]) -> str:
    if name not in known:
        known[name] = name if _LIBRARY.match(name) else f"{service_name(number)}/{name}"
    return known[name]


def _series(number: int) -> pa.Table:
    """One series a pod."""
    writer = _writer(number)
    writer.add(((("main", "main.go", 1, 1),),), [1])
    raw = writer.profile.SerializeToString()
    name = "process_cpu" if is_cpu(number) else "memory"
    uploads = []
    for pod in range(PODS):
        labels = {
            "service_name": service_name(number),
            "pod": f"{service_name(number)}-{pod:03d}",
            "zone": f"zone-{pod % 3}",
            "version": f"v{1 + pod % 2}",
        }
        uploads.append(Upload(raw, labels, time_ns=START_NS, name=name))
    tables = [batch.series for batch in _normalised(uploads)]
    return pa.concat_tables(tables).combine_chunks()


def _normalised(uploads: list[Upload]) -> list[NormalisedBatch]:
    outcome = decode_and_normalise(uploads, DecodeLimits())
    assert not outcome.refused, outcome.refused
    return [batch for batch, _ in outcome.batches]


def _batch(service: _Service, number: int, ticks: range, rng: np.random.Generator) -> NormalisedBatch:
    """The profiles of all pods of one service in some ticks."""
    count = PODS * len(ticks)
    pod, tick = np.divmod(np.arange(count), len(ticks))
    draws = np.clip(rng.lognormal(np.log(_DRAWS_MEDIAN), _DRAWS_SPREAD, count), 50, 12_000).astype(np.int64)
    owner = np.repeat(np.arange(count), draws)
    stacks = len(service.symbols.stacks)
    found = np.searchsorted(service.cumulative, rng.random(len(owner)) + pod[owner], side="right")
    stack = np.minimum(found - pod[owner] * stacks, stacks - 1)
    key, hits = np.unique(owner * stacks + stack, return_counts=True)
    owner, stack = np.divmod(key, stacks)
    value = hits * service.unit[stack]
    if not is_cpu(number):
        value = np.maximum((value * rng.lognormal(0, 0.1, len(value))).astype(np.int64), 8)
    used, stack = np.unique(stack, return_inverse=True)
    ts = START_NS + (ticks.start + tick) * TICK_NS + number * 50_000_000 + pod * 1_000_003
    kept = service.symbols
    return NormalisedBatch(
        series=service.series,
        profiles=_profiles(
            service, pod, ts, np.bincount(owner, minlength=count), _sums(owner, value, count), rng
        ),
        samples=_samples(kept.stacks.column("stack_id").to_numpy()[used][stack], value),
        stacks=kept.stacks.take(pa.array(used)),
        locations=kept.locations,
        functions=kept.functions,
        mappings=kept.mappings,
    )


def _sums(owner: IntArray, value: IntArray, count: int) -> IntArray:
    sums = np.zeros(count, np.int64)
    np.add.at(sums, owner, value)
    return sums


def _profiles(
    service: _Service, pod: IntArray, ts: IntArray, n: IntArray, total: IntArray, rng: np.random.Generator
) -> pa.Table:
    count = len(pod)
    ids = pa.Array.from_buffers(pa.binary(16), count, [None, pa.py_buffer(rng.bytes(16 * count))])
    empty = pa.array([""] * count, pa.string())
    nothing = np.zeros(count + 1, np.int32)
    columns = {
        "series_id": service.series.column("series_id").take(pa.array(pod)),
        "ts": ts,
        "profile_id": ids,
        "upload_id": ids,
        "n": n.astype(np.uint32),
        "total": total,
        "type_no": np.zeros(count, np.uint16),
        "rules": np.zeros(count, np.uint8),
        "period": np.full(count, service.symbols.profiles.column("period")[0].as_py()),
        "duration_ns": np.full(count, TICK_NS),
        "comments": pa.ListArray.from_arrays(nothing, pa.array([], pa.string())),
        "mappings": pa.ListArray.from_arrays(nothing, pa.array([], pa.uint64())),
    }
    texts = dict.fromkeys(("default_sample_type", "drop_frames", "keep_frames", "doc_url"), empty)
    return pa.table(
        {name: (columns | texts)[name] for name in profile.PROFILES.names}, schema=profile.PROFILES
    )


def _samples(stack_id: npt.NDArray[np.uint64], value: IntArray) -> pa.Table:
    nothing = np.zeros(len(value), np.uint64)
    columns = [stack_id, value, nothing, nothing, profile.no_trace_ids(len(value))]
    return pa.table(columns, schema=profile.SAMPLES)


def _batches(shape: Shape) -> Iterator[tuple[NormalisedBatch, range]]:
    """All profiles in the order of their arrival, and the ticks that they are of."""
    sources = [stacks for _, one in real_profiles() if len(stacks := stacks_of(one)) > 50]
    rngs = [np.random.default_rng((1, number)) for number in range(shape.services)]
    starts = range(0, shape.ticks, _TICKS_PER_BATCH)
    spans = [range(first, min(first + _TICKS_PER_BATCH, shape.ticks)) for first in starts]
    if shape.order == "time":
        services = [_service(number, sources) for number in range(shape.services)]
        for span in spans:
            for number, service in enumerate(services):
                yield _batch(service, number, span, rngs[number]), span
        return
    for number in range(shape.services):
        service = _service(number, sources)
        for span in spans:
            yield _batch(service, number, span, rngs[number]), span


def _make(path: Path, shape: Shape) -> None:
    catalog = Catalog(open_objects(str(path)), TENANT)
    builder, before = BlockBuilder(), range(0)
    for batch, ticks in _batches(shape):
        full = builder.samples >= Settings().block_samples
        if shape.ticks_per_block:
            full = builder.profiles > 0 and ticks.start % shape.ticks_per_block == 0 and ticks != before
        if full:
            builder = _cut(builder, catalog, path)
        builder.add(batch)
        before = ticks
    _cut(builder, catalog, path)


def _cut(builder: BlockBuilder, catalog: Catalog, path: Path) -> BlockBuilder:
    meta = write_block(open_objects(str(path)), builder.build(BlockOrigin(str(ULID()), TENANT)))
    catalog.commit(added=(entry_of(meta),), removed=(), reason="benchmark")
    return BlockBuilder()


def corpus_parser(doc: str | None) -> argparse.ArgumentParser:
    """The command line of a program that reads a corpus, which these options tell."""
    parser = argument_parser(doc)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--order", choices=("service", "time"), default="service")
    return parser


def main() -> None:
    """Make the corpus."""
    options = corpus_parser(__doc__).parse_args()
    path = open_corpus(Shape(options.scale, options.order))
    size_mb = sum(file.stat().st_size for file in path.rglob("*.parquet")) / 1e6
    report("corpus", {"store": str(path), "scale": options.scale, "size_mb": size_mb})


if __name__ == "__main__":
    main()
