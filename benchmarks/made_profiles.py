"""Profiles to ingest: resampled real ones of medium size, and the files of a fleet."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from flameduck.schema.profile import Upload

from .measure import CACHE, SHARED
from .real_stacks import ProfileWriter, Stack, real_profiles, spliced, stacks_of

FLEET_PROFILES = 8000
_FLEET_START_S = 1_795_450_000
_MEDIUM_SAMPLES = 870


def medium_profiles(count: int) -> list[bytes]:
    """Raw pprofs of about 100 kB: a part of the stacks of a real profile (more of its kind where it has few), in
    an order of their own, with values of their own."""
    rnd = random.Random(1)
    pools = [_enough(stacks_of(profile), rnd) for _, profile in real_profiles() if len(profile.sample) > 50]
    return [_resampled(pools[number % len(pools)], number, rnd) for number in range(count)]


def _enough(stacks: list[Stack], rnd: random.Random) -> list[Stack]:
    return spliced(stacks, 2 * _MEDIUM_SAMPLES, rnd)


def _resampled(pool: list[Stack], number: int, rnd: random.Random) -> bytes:
    writer = ProfileWriter([("samples", "count"), ("cpu", "nanoseconds")], ("cpu", "nanoseconds", 10_000_000))
    for stack in rnd.sample(pool, min(len(pool), int(_MEDIUM_SAMPLES * rnd.uniform(0.6, 1.0)))):
        hits = int(rnd.paretovariate(1.0))
        writer.add(stack, [hits, hits * 10_000_000])
    writer.profile.time_nanos = _FLEET_START_S * 10**9 + number * 1_000_000
    writer.profile.duration_nanos = 10 * 10**9
    data: bytes = writer.profile.SerializeToString()
    return data


def fleet_uploads(folder: Path) -> Iterator[Upload]:
    """The files of a fleet and their labels, read one by one."""
    labels = json.loads((folder / "labels.json").read_text())
    for number, said in enumerate(labels):
        path = folder / "files" / f"{number:05d}.pb.gz"
        yield Upload(path.read_bytes(), said, path.name)


def fleet_folder() -> Path:
    """8 000 profiles of 20 services as files: of the shared fleet where its program is there, else resampled."""
    folder = CACHE / "fleet"
    if not folder.is_dir():
        unfinished = CACHE / "fleet.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / "files").mkdir(parents=True)
        program = SHARED / "bench" / "fleet.py"
        made = _shared_fleet(program, unfinished) if program.exists() else _own_fleet()
        labels = []
        for number, (said, data) in enumerate(made):
            (unfinished / "files" / f"{number:05d}.pb.gz").write_bytes(data)
            labels.append(said)
        (unfinished / "labels.json").write_text(json.dumps(labels))
        unfinished.rename(folder)
    return folder


def _own_fleet() -> Iterator[tuple[dict[str, str], bytes]]:
    for number, raw in enumerate(medium_profiles(FLEET_PROFILES)):
        service, pod = f"svc{number % 20:02d}", f"pod-{number // 20 % 10}"
        yield {"service_name": service, "pod": pod}, gzip.compress(raw, 6)


def _shared_fleet(program: Path, folder: Path) -> Iterator[tuple[dict[str, str], bytes]]:
    """The pprofs and labels inside the length-prefixed push bodies that the program writes."""
    bodies = folder / "bodies.bin"
    command = [sys.executable, str(program), "make", str(bodies), "--data", str(SHARED / "data" / "pprof")]
    subprocess.run([*command, "--t0", str(_FLEET_START_S)], check=True, stdout=subprocess.DEVNULL)
    with bodies.open("rb") as stream:
        while head := stream.read(4):
            for _, series in _fields(stream.read(struct.unpack("<I", head)[0])):
                yield from _series_profiles(series)
    for path in folder.glob("bodies.bin*"):
        path.unlink()


def _series_profiles(series: bytes) -> Iterator[tuple[dict[str, str], bytes]]:
    """push.v1.RawProfileSeries: labels (1) of name (1) and value (2), then samples (2) with their bytes (1)."""
    labels: dict[str, str] = {}
    for number, payload in _fields(series):
        parts = dict(_fields(payload))
        if number == 1:
            labels[parts[1].decode()] = parts[2].decode()
        elif number == 2:
            yield labels, parts[1]


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Fields of a message that has only length-delimited ones."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        length, at = _varint(message, at)
        yield tag >> 3, message[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
