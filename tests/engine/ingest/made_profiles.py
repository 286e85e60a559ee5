"""Small profiles made to a number, so that every total is known; and the command as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import flameduck
from flameduck.engine.inspection import Inspection
from flameduck.engine.settings import Settings
from flameduck.schema.profile import Upload
from flameduck.schema.proto import profile_pb2

START_NS = 1_750_000_000 * 10**9
STEP_NS = 10**10
STACKS = 6
COMMAND = [sys.executable, "-m", "flameduck.cli"]


def made_value(number: int, stack: int) -> int:
    """The nanoseconds of one stack of profile `number`: no two totals of sets of profiles are alike by chance."""
    return (number + 1) * 1_000_003 + stack


def made_total(numbers: Iterable[int]) -> int:
    """The nanoseconds of some profiles."""
    return sum(made_value(number, stack) for number in numbers for stack in range(STACKS))


def made_profile(number: int) -> bytes:
    """A pprof, not compressed, of `samples` and `cpu`. Its stacks are `main;f<k>;g<k>`, k turning with the number."""
    profile = profile_pb2.Profile(time_nanos=START_NS + number * STEP_NS, duration_nanos=STEP_NS, period=1)
    texts = ["", "samples", "count", "cpu", "nanoseconds", "main", "main.go"]
    profile.sample_type.add(type=1, unit=2)
    profile.sample_type.add(type=3, unit=4)
    profile.period_type.type, profile.period_type.unit = 3, 4
    profile.function.add(id=1, name=5, filename=6)
    profile.location.add(id=1).line.add(function_id=1, line=1)
    for stack in range(STACKS):
        which = (number + stack) % 17
        inner, outer = 2 * stack + 3, 2 * stack + 2
        for known, name in ((outer, f"f{which}"), (inner, f"g{which}")):
            texts.append(name)
            profile.function.add(id=known, name=len(texts) - 1, filename=6)
            profile.location.add(id=known).line.add(function_id=known, line=known)
        profile.sample.add(location_id=[inner, outer, 1], value=[1, made_value(number, stack)])
    profile.string_table.extend(text.encode() for text in texts)
    data: bytes = profile.SerializeToString()
    return data


def made_upload(number: int, **labels: str) -> Upload:
    """The profile as an upload of the service `made`."""
    return Upload(made_profile(number), {"service_name": "made", **labels}, f"made-{number}")


def write_profiles(folder: Path, numbers: Iterable[int]) -> Path:
    """One file a profile, `0007.pb`."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        (folder / f"{number:04d}.pb").write_bytes(made_profile(number))
    return folder


def command(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command line to its end; nothing takes longer than a minute."""
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )


def cpu_total(store: str | Path) -> int:
    """The sum of all stored nanoseconds, as a flame graph counts them."""
    with flameduck.open(store) as db:
        return db.flamegraph(type="cpu").total


def answers(store: str | Path, start_ns: int = START_NS) -> Mapping[str, object]:
    """What a store says to each kind of question: equal for stores that hold the same profiles."""
    with flameduck.open(store) as db:
        types = db.profile_types()
        return {
            "types": types,
            "tops": [sorted(db.top(type=kind).fetchall()) for kind in types],
            "folded": [sorted(db.export(type=kind, format="folded").splitlines()) for kind in types],
            "series": [db.series(type=kind, start=start_ns, step="20s").fetchall() for kind in types],
            "profiles": sorted(map(str, db.profiles().to_dicts())),
            "labels": {name: db.label_values(name) for name in db.label_names()},
            "series labels": sorted(map(str, db.series_labels())),
            "levels": [len(db.flamegraph(type=kind, max_nodes=0).levels) for kind in types],
        }


def problems(store: str | Path, tenant: str = "anonymous") -> list[str]:
    """What is wrong with the visible blocks."""
    inspection = Inspection(str(store), tenant, Settings())
    return [problem for one in inspection.verify(list(inspection.state.blocks)) for problem in one.problems]
