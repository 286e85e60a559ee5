"""Ingest the files of a fleet into a new store, end to end to finished blocks, against a bare parse of them.

python -m benchmarks.ingest [--jobs 2] [--folder FOLDER]
"""

from __future__ import annotations

import gzip
import itertools
import shutil
import tempfile
import time
from pathlib import Path

from flameduck.engine.embedded import open_embedded
from flameduck.engine.settings import Settings
from flameduck.schema.proto.profile_pb2 import Profile
from flameduck.schema.request import IngestOptions, ProfilesRequest, Rows, Selection

from .made_profiles import fleet_folder, fleet_uploads
from .measure import CACHE, Usage, argument_parser, report

_PARSED = 400
"""How many files the yardstick parses."""


def main() -> None:
    """Ingest once; the store is thrown away."""
    parser = argument_parser(__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="holds files/00000.pb.gz ... and labels.json")
    options = parser.parse_args()
    folder = options.folder or fleet_folder()
    CACHE.mkdir(parents=True, exist_ok=True)
    store = Path(tempfile.mkdtemp(prefix="ingested-", dir=CACHE))
    before, start = Usage.now(), time.perf_counter()
    figures = _ingest(store, folder, options.jobs)
    wall_s, after = time.perf_counter() - start, Usage.now()
    profiles = figures["profiles"]
    own_ms = 1e3 * (after.own_cpu_s - before.own_cpu_s) / profiles
    workers_ms = 1e3 * (after.children_cpu_s - before.children_cpu_s) / profiles
    parse_ms, raw_kb = _bare_parse(folder)
    report(
        "ingest",
        {
            **figures,
            "raw_kb": raw_kb,
            "profiles_per_s": profiles / wall_s,
            "profiles_per_cpu_s_2_cores": 2e3 / (own_ms + workers_ms),
            "parent_cpu_ms": own_ms,
            "workers_cpu_ms": workers_ms,
            "parse_ms": parse_ms,
            "cpu_to_parse": (own_ms + workers_ms) / parse_ms,
            "parent_rss_mb": after.own_rss_mb,
            "worker_rss_mb": after.child_rss_mb,
        },
    )
    shutil.rmtree(store)


def _ingest(store: Path, folder: Path, jobs: int) -> dict[str, int]:
    database = open_embedded(str(store), "anonymous", Settings())
    told = database.ingest(fleet_uploads(folder), IngestOptions(jobs))
    assert not told.refused, told.refused
    assert not told.known, told
    metas = [block.meta for block in database.blocks.live_blocks()]
    stored = database.ask(ProfilesRequest(Selection()))
    assert isinstance(stored, Rows)
    assert len(stored.table.group_by("profile_id").aggregate([])) == told.new
    database.close()
    return {
        "profiles": told.new,
        "blocks": len(metas),
        "samples": sum(meta.samples for meta in metas),
        "bytes_per_profile": round(sum(meta.size_bytes for meta in metas) / told.new),
    }


def _bare_parse(folder: Path) -> tuple[float, float]:
    """Milliseconds and kilobytes a profile."""
    uploads = itertools.islice(fleet_uploads(folder), _PARSED)
    raws = [gzip.decompress(upload.data) for upload in uploads]
    start = time.process_time()
    for raw in raws:
        Profile().ParseFromString(raw)
    return 1e3 * (time.process_time() - start) / len(raws), sum(map(len, raws)) / len(raws) / 1e3


if __name__ == "__main__":
    main()
