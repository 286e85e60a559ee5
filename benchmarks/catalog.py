"""A catalog of a hundred thousand blocks: opened and planned on a disk, and cold on an S3 server behind some latency;
commits of several processes at once; a catalog rebuilt from its blocks.

    python -m benchmarks.catalog [--blocks 100000] [--latency-ms 20] [--writers 4] [--reindexed 3000]

The log ends as far behind a checkpoint as it can. What a disk takes is set against reading the checkpoint as a bare
Parquet file. The S3 server is the tests'; where it is not there, that part is left out.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import pyarrow.parquet as pq
from ulid import ULID

from flameduck.engine.compaction.levels import HOUR_NS, LevelPolicy, plan_levels
from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.engine.storage.blocks import write_block
from flameduck.engine.storage.builder import BlockBuilder
from flameduck.engine.storage.catalog import CHECKPOINT_EVERY, Catalog
from flameduck.engine.storage.layout import BlockOrigin
from flameduck.engine.storage.objects import Objects, open_objects
from flameduck.engine.upkeep import Upkeep
from flameduck.schema.catalog import BlockEntry
from flameduck.schema.profile import Upload
from tests.engine.ingest.made_profiles import made_profile
from tests.fault_proxy import FaultProxy, Faults
from tests.servers import CACHE, GATEWAY_VERSION, S3Process, S3Server

from .measure import argument_parser, interleaved, report

_TENANT = "acme"
_BATCH = 1000
_EVERY_NS = 60 * 10**9
_BYTES = 100 << 20
_GATEWAY = CACHE / f"versitygw-{GATEWAY_VERSION}" / "versitygw"


def entry(number: int) -> BlockEntry:
    """A block of a minute, large enough to stay as it is."""
    ulid = str(ULID.from_timestamp(1_700_000_000 + number))
    return BlockEntry(ulid, 1, number * _EVERY_NS, (number + 1) * _EVERY_NS, 10, 1000, _BYTES)


def make_log(objects: Objects, blocks: int) -> set[str]:
    """A catalog of so many blocks, and their names; the last checkpoint is as old as one gets."""
    catalog = Catalog(objects, _TENANT)
    last = CHECKPOINT_EVERY - 1
    entries = [entry(number) for number in range(blocks)]
    early, late = entries[:-last], entries[-last:]
    while catalog.load().version % CHECKPOINT_EVERY or early:
        batch, early = early[:_BATCH], early[_BATCH:]
        # Where there are no more, one is named again.
        state = catalog.commit(batch or [entries[0]], [], "made")
    for one in late:
        state = catalog.commit([one], [], "made")
    assert state.version % CHECKPOINT_EVERY == last
    return {one.ulid for one in entries}


def open_and_plan(url: str) -> tuple[float, int]:
    """How long a new reader takes to know all blocks and what to do with them, and how many there are."""
    begun_s = time.perf_counter()
    state = Catalog(open_objects(url), _TENANT).load()
    jobs = plan_levels(state.blocks.values(), LevelPolicy(grace_ns=HOUR_NS), time.time_ns())
    recent = state.overlapping(100 * _EVERY_NS, 105 * _EVERY_NS)
    assert len(recent) == 6
    assert all(len(job.ulids) > 1 for job in jobs)
    return time.perf_counter() - begun_s, len(state.blocks)


def commit_some(url: str, writer: int, count: int) -> None:
    """Commit so many blocks, one by one."""
    catalog = Catalog(open_objects(url), _TENANT)
    for number in range(count):
        catalog.commit([BlockEntry(f"{writer}-{number}", 0, 0, 1, 1, 1, 1)], [], "writer")


def commits_a_second(url: str, writers: int, count: int = 25) -> float:
    """Of several processes at once; all of them must be there afterwards."""
    before = len(Catalog(open_objects(url), _TENANT).load().blocks)
    with ProcessPoolExecutor(writers, get_context("spawn")) as pool:
        list(pool.map(len, [""] * writers))
        begun_s = time.perf_counter()
        for done in [pool.submit(commit_some, url, writer, count) for writer in range(writers)]:
            done.result()
        seconds = time.perf_counter() - begun_s
    assert len(Catalog(open_objects(url), _TENANT).load().blocks) == before + writers * count
    return writers * count / seconds


@contextmanager
def s3_behind(latency_s: float, folder: Path) -> Iterator[str]:
    """The URL of an empty store of an S3 server that answers that much later."""
    server = S3Process(_GATEWAY, folder)
    server.start()
    try:
        server.client.make_bucket()
        with FaultProxy(server.client.endpoint, Faults(latency_s=latency_s)) as proxy:
            os.environ.update(S3Server(proxy.endpoint).environment())
            yield f"s3://{server.client.bucket}/store"
    finally:
        server.stop()


def cold_on_s3(store: Path, latency_s: float, blocks: int) -> dict[str, object]:
    """Opening and planning in a process that has just begun, from a copy of the store's catalog."""
    objects = open_objects(str(store))
    with tempfile.TemporaryDirectory(dir=store) as folder, s3_behind(latency_s, Path(folder)) as url:
        copied = open_objects(url)
        for info in objects.list(f"{_TENANT}/catalog"):
            copied.write(info.path, objects.read(info.path))
        begun_s = time.perf_counter()
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            inside_s, found = pool.submit(open_and_plan, url).result()
        assert found == blocks
        return {"s3_cold_s": inside_s, "s3_cold_with_start_s": time.perf_counter() - begun_s}


def reindex_seconds(store: Path, blocks: int) -> float:
    """How long it takes to find so many blocks and make a catalog of them."""
    objects = open_objects(str(store))
    builder = BlockBuilder()
    for batch, continues in decode_and_normalise(
        [Upload(made_profile(1), {"service_name": "made"})], DecodeLimits()
    ).batches:
        builder.add(batch, continues)
    first = write_block(objects, builder.build(BlockOrigin(str(ULID()), _TENANT)))
    root = store / _TENANT / "blocks"
    names = {first.ulid}
    meta = json.loads((root / first.ulid / "meta.json").read_text())
    while len(names) < blocks:
        ulid = str(ULID())
        shutil.copytree(root / first.ulid, root / ulid, copy_function=os.link)
        (root / ulid / "meta.json").unlink()
        (root / ulid / "meta.json").write_text(json.dumps(meta | {"ulid": ulid}))
        names.add(ulid)
    begun_s = time.perf_counter()
    Upkeep(str(store), _TENANT).reindex(act=True)
    seconds = time.perf_counter() - begun_s
    assert set(Catalog(objects, _TENANT).load().blocks) == names
    return seconds


def main() -> None:
    """Measure all of it."""
    parser = argument_parser(__doc__)
    parser.add_argument("--blocks", type=int, default=100_000)
    parser.add_argument("--latency-ms", type=float, default=20)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--reindexed", type=int, default=3000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        names = make_log(open_objects(str(store)), options.blocks)
        assert set(Catalog(open_objects(str(store)), _TENANT).load().blocks) == names
        checkpoint = max((store / _TENANT / "catalog" / "checkpoint").iterdir())
        costs = interleaved(
            5,
            {
                "open": lambda: open_and_plan(str(store)),
                "bare": lambda: pq.read_table(checkpoint).to_pylist(),
            },
        )
        figures: dict[str, object] = {"blocks": options.blocks, "open_and_plan_s": costs["open"].wall_s}
        figures["open_and_plan_cpu_s"] = costs["open"].cpu_s
        figures["to_bare"] = costs["open"].wall_s / costs["bare"].wall_s
        if _GATEWAY.exists():
            figures |= cold_on_s3(store, options.latency_ms / 1000, options.blocks)
        figures["commits_per_s"] = commits_a_second(str(store), options.writers)
        shutil.rmtree(store / _TENANT)
        figures["reindexed"] = options.reindexed
        figures["reindex_s"] = reindex_seconds(store, options.reindexed)
    report("catalog", figures)


if __name__ == "__main__":
    main()
