"""Profiles to ingest: resampled real ones of medium size, and the files of a fleet."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from flameduck.schema.profile import Upload
from flameduck.schema.proto.profile_pb2 import Profile
from flameduck.schema.proto.push_pb2 import PushRequest

from .measure import CACHE, SHARED
from .real_stacks import real_profiles

FLEET_PROFILES = 8000
_SERVICES, _PODS = 20, 10
_FLEET_START_S = 1_795_450_000
_MEDIUM_BYTES, _MEDIUM_FILES = 98_000, 3


def medium_profiles(count: int) -> list[bytes]:
    """Raw pprofs of about 100 kB: real ones with a part of their samples, in an order of their own, with values,
    ids and a string table of their own."""
    rnd = random.Random(1)
    fitting = [profile for _, profile in real_profiles() if profile.ByteSize() <= 3 * _MEDIUM_BYTES]
    medium = sorted(fitting, key=Profile.ByteSize)[-_MEDIUM_FILES:]
    return [_resampled(medium[number % len(medium)], number, rnd) for number in range(count)]


def _resampled(real: Profile, number: int, rnd: random.Random) -> bytes:
    made = Profile()
    made.CopyFrom(real)
    part = min(_MEDIUM_BYTES / real.ByteSize(), 1.0) * rnd.uniform(0.6, 1.0)
    kept = rnd.sample(list(real.sample), max(int(len(real.sample) * part), 1))
    for repeated in (made.sample, made.location, made.function, made.string_table):
        del repeated[:]
    locations, functions = ({one.id: one for one in table} for table in (real.location, real.function))
    location_ids = _renumbered(id for sample in kept for id in sample.location_id)
    function_ids = _renumbered(line.function_id for id in location_ids for line in locations[id].line)
    for sample in kept:
        added = made.sample.add()
        added.CopyFrom(sample)
        added.location_id[:] = [location_ids[id] for id in sample.location_id]
        added.value[:] = [int(value * rnd.uniform(0.2, 3)) for value in sample.value]
    made.location.extend(locations[id] for id in location_ids)
    for location in made.location:
        location.id = location_ids[location.id]
        for line in location.line:
            line.function_id = function_ids[line.function_id]
    made.function.extend(functions[id] for id in function_ids)
    for function in made.function:
        function.id = function_ids[function.id]
    _with_strings_shuffled(made, real, rnd)
    made.time_nanos = _FLEET_START_S * 10**9 + number * 1_000_000
    data: bytes = made.SerializeToString()
    return data


def _renumbered(ids: Iterable[int]) -> dict[int, int]:
    """1, 2, 3 ... in the order in which they are first met."""
    return {old: new for new, old in enumerate(dict.fromkeys(ids), start=1)}


def _with_strings_shuffled(made: Profile, real: Profile, rnd: random.Random) -> None:
    order = list(range(1, len(real.string_table)))
    rnd.shuffle(order)
    place = {old: new for new, old in enumerate([0, *order])}
    made.string_table.extend(real.string_table[old] for old in place)
    labels = [label for sample in made.sample for label in sample.label]
    for messages, names in (
        ([*made.sample_type, made.period_type], ("type", "unit")),
        (labels, ("key", "str", "num_unit")),
        (made.mapping, ("filename", "build_id")),
        (made.function, ("name", "system_name", "filename")),
        ([made], ("drop_frames", "keep_frames", "default_sample_type", "doc_url")),
    ):
        for message in messages:
            for name in names:
                setattr(message, name, place[getattr(message, name)])
    made.comment[:] = [place[text] for text in made.comment]


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


def push_of(profile: Profile, number: int) -> tuple[bytes, int]:
    """A push of a profile by one of 200 pods, and the sum of the values in it."""
    labels = {
        "__name__": "process_cpu",
        "service_name": f"service{number % _SERVICES}",
        "pod": f"pod{number // _SERVICES % _PODS}",
    }
    request = PushRequest()
    series = request.series.add()
    for name, value in labels.items():
        series.labels.add(name=name, value=value)
    series.samples.add(raw_profile=gzip.compress(profile.SerializeToString(), 1))
    # Under Pyroscope's rules a sample with a negative value is left out.
    total = sum(sum(sample.value) for sample in profile.sample if min(sample.value) >= 0)
    return request.SerializeToString(), total
