"""Decode and normalise medium profiles on one core, against a bare protobuf parse of the same bytes.

python -m benchmarks.decode [--profiles 128] [--rounds 9]
"""

from __future__ import annotations

import gzip
import os
import sys

import pyarrow.compute as pc

from flameduck.engine.execution.local import WORKER_ENVIRONMENT
from flameduck.engine.ingest.decode import DecodeLimits, Outcome, decode_and_normalise, group_uploads
from flameduck.schema.profile import Upload
from flameduck.schema.proto.profile_pb2 import Profile

from .made_profiles import medium_profiles
from .measure import argument_parser, interleaved, report


def main() -> None:
    """Measure inflating, decoding and normalising together."""
    parser = argument_parser(__doc__)
    parser.add_argument("--profiles", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    if "FLAMEDUCK_WORKER" not in os.environ:
        again = [sys.executable, "-m", "benchmarks.decode", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, **WORKER_ENVIRONMENT})
    raws = medium_profiles(options.profiles)
    uploads = [
        Upload(gzip.compress(raw, 6), {"service_name": "bench"}, str(number))
        for number, raw in enumerate(raws)
    ]
    _check(raws, _decoded(uploads))
    costs = interleaved(options.rounds, {"parse": lambda: _parsed(raws), "decode": lambda: _decoded(uploads)})
    count = len(raws)
    report(
        "decode",
        {
            "raw_kb": sum(map(len, raws)) / count / 1e3,
            "gzipped_kb": sum(len(upload.data) for upload in uploads) / count / 1e3,
            "parse_us": 1e6 * costs["parse"].cpu_s / count,
            "decode_us": 1e6 * costs["decode"].cpu_s / count,
            "decode_to_parse": costs["decode"].cpu_s / costs["parse"].cpu_s,
            "profiles_per_s_core": count / costs["decode"].cpu_s,
        },
    )


def _parsed(raws: list[bytes]) -> None:
    for raw in raws:
        Profile().ParseFromString(raw)


def _decoded(uploads: list[Upload]) -> list[Outcome]:
    return [decode_and_normalise(group, DecodeLimits()) for group in group_uploads(uploads)]


def _check(raws: list[bytes], outcomes: list[Outcome]) -> None:
    wanted = 0
    for raw in raws:
        profile = Profile()
        profile.ParseFromString(raw)
        wanted += sum(sum(sample.value) for sample in profile.sample)
    batches = [batch for outcome in outcomes for batch, _ in outcome.batches]
    found = sum(pc.sum(batch.samples.column("value")).as_py() for batch in batches)
    assert found == wanted, (found, wanted)


if __name__ == "__main__":
    main()
