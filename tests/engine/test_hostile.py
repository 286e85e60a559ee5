"""Bad files among good ones: each is refused in a line that names it, the others are stored, within bounds."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

import pytest

import flameduck
from flameduck.schema.errors import InputError
from flameduck.schema.profile import Upload
from tests.engine.hostile_inputs import LIMIT_BYTES, hostile
from tests.engine.ingest.made_profiles import (
    COMMAND,
    START_NS,
    cpu_total,
    made_total,
    made_upload,
    problems,
    write_profiles,
)
from tests.measured_process import Ended, run_measured

HOSTILE = {name: (data, reason) for name, data, reason in hostile()}
NAMES = sorted(HOSTILE)
BOUNDS = {"FLAMEDUCK_MAX_FILE_BYTES": str(LIMIT_BYTES)}
PEAK_BYTES = 700 << 20
"""Of the largest process: an interpreter with all libraries takes 200 MB, the bombs would add that much each."""


def run(*words: str | Path, cwd: Path) -> Ended:
    """Run a `flameduck` command line."""
    return run_measured([*COMMAND, *words], BOUNDS, cwd)


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "bad").mkdir()
    for name, (data, _) in HOSTILE.items():
        (folder / "bad" / name).write_bytes(data)
    return folder


# Few files are decoded in the process itself, many in workers.
@pytest.mark.parametrize("good", [20, 200])
def test_bad_files_among_good_ones(bad_files: Path, tmp_path: Path, good: int) -> None:
    profiles = write_profiles(tmp_path / "good", range(good))
    ended = run("ingest", profiles, "bad", "--service", "made", "--store", tmp_path / "store", cwd=bad_files)
    assert ended.code == 1, ended.stderr
    assert ended.stdout.startswith(f"{good} new, 0 known, {len(HOSTILE)} refused"), (
        ended.stdout + ended.stderr
    )
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("note: ")]
    complaints = dict(line.removeprefix("flameduck: bad/").split(": ", 1) for line in lines)
    assert len(lines) == len(complaints) == len(HOSTILE), lines
    missed = {name: why for name, why in complaints.items() if HOSTILE[name][1] not in why}
    assert missed == {}
    assert cpu_total(tmp_path / "store") == made_total(range(good))
    assert problems(tmp_path / "store") == []
    assert ended.peak_bytes < PEAK_BYTES, f"{ended.peak_bytes >> 20} MB"


@pytest.mark.parametrize("name", NAMES)
def test_each_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: if one gets past the parser that refuses it, the test run itself ends here."""
    data, reason = HOSTILE[name]
    monkeypatch.setenv("FLAMEDUCK_MAX_FILE_BYTES", str(LIMIT_BYTES))
    begun = time.monotonic()
    with flameduck.open(f"memory://{uuid4().hex}") as db:
        report = db.ingest([made_upload(1), Upload(data, {}, name, time_ns=START_NS), made_upload(2)])
        assert report.new == 2
        assert [refused.origin for refused in report.refused] == [name]
        assert reason in report.refused[0].reason
        assert len(report.refused[0].reason) < 300
        assert "\n" not in report.refused[0].reason
        assert db.flamegraph(type="cpu").total == made_total([1, 2])
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "name", ["empty.pb", "truncated.pb.gz", "deep-groups-late.pb", "dangling-location.pb"]
)
def test_bad_files_that_are_opened(bad_files: Path, tmp_path: Path, name: str) -> None:
    """Without a store: alone it is an error, beside a good one it is left out and said so."""
    good = write_profiles(tmp_path / "good", [5]) / "0005.pb"
    bad = bad_files / "bad" / name
    with pytest.raises(InputError, match=name):
        flameduck.open(bad)
    with flameduck.open(bad, good) as db:
        assert [refused.origin for refused in db.refused] == [str(bad)]
        assert db.flamegraph(type="cpu").total == made_total([5])
    ended = run("top", bad, good, "--type", "cpu", cwd=tmp_path)
    assert ended.code == 1
    assert [name in line for line in ended.stderr.splitlines()] == [True]
    assert "g5" in ended.stdout
