"""perf.data through a perf program: one that stands in for it, bad ones, none, and the real one where it runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import flameduck
from flameduck.engine.formats import Decoded, Failed, Input, perf_program
from flameduck.engine.formats.perf_data import PerfData
from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.schema.profile import Upload

TEXT = b"app 7/8 1.5: 10 cycles: \n\t1 work (/app)\n\n"
STAND_IN = str(Path(__file__).resolve().parent / "stand_in")


def decode(raw: bytes) -> list[Decoded | Failed]:
    return list(PerfData().decode([Input(raw)]))


def reason(raw: bytes) -> str:
    (failed,) = decode(raw)
    assert isinstance(failed, Failed)
    return failed.reason


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let `script` be the perf that is found."""
    path = folder / "perf"
    path.write_text(f"#!/bin/sh\ncase $4 in --header-only) exit 0;; esac\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_what_perf_prints_is_read() -> None:
    (one,) = decode(b"PERFILE2" + TEXT * 3)
    assert isinstance(one, Decoded)
    (row,) = one.batch.to_pylist()
    assert [sample["value"] for sample in row["sample"]] == [[3, 30]]


def test_the_other_byte_order_is_perfs_too() -> None:
    assert PerfData().matches(b"2ELIFREP", "")
    assert not PerfData().matches(b"PERFILE", "perf.data")


def test_without_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert reason(b"PERFILE2" + TEXT) == "perf.data needs the perf program, which is not installed"


def test_a_push_never_starts_it() -> None:
    upload = Upload(b"PERFILE2" + TEXT, {}, "push", time_ns=1, rules="pyroscope")
    (refused,) = decode_and_normalise([upload], DecodeLimits()).refused
    assert refused.reason == "perf.data is read from files alone: push the text of `perf script`"


def test_fields_that_were_not_recorded_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = "echo \"Samples do not have X set. Cannot print '$1' field.\" >&2; exit 255"
    script = f"""
no() {{ {refuse}; }}
case $7 in *,cpu,*) no cpu;; *,period,*) no period;; esac
echo "$7" > {tmp_path}/fields
printf 'app 7/8 1.5: cycles: \\n\\t1 work (/app)\\n\\n'
"""
    program(tmp_path, monkeypatch, script)
    (one,) = decode(b"PERFILE2")
    assert isinstance(one, Decoded)
    assert (tmp_path / "fields").read_text() == "comm,pid,tid,time,event,trace,ip,sym,dso\n"


FAILING = {
    "echo one >&2; echo 'incompatible file format' >&2; exit 255": "perf script failed (255): incompatible file format",
    "exit 3": "perf script failed (3): it does not say why",
    "printf 'app 8 1.5: x: \\n\\t1 work (/app)\\n\\n'; kill -SEGV $$": "perf script failed (-11): it does not say why",
    "echo \"Cannot print 'nonsense' field.\" >&2; exit 1": "perf script failed (1): Cannot print 'nonsense' field.",
    "exit 0": "the text holds no sample",
}


@pytest.mark.parametrize("script", FAILING)
def test_failures_say_why(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, script)
    assert reason(b"PERFILE2") == FAILING[script]


def test_it_ends_in_time_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, f"sleep 1000 & echo $! > {tmp_path}/child; cat > /dev/null; sleep 1000")
    monkeypatch.setattr(perf_program, "TIMEOUT_S", 1)
    begun = time.monotonic()
    assert reason(b"PERFILE2") == "perf script took longer than the limit of 1 s"
    assert time.monotonic() - begun < 20
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not _runs(child):
            break
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")


def test_it_ends_when_it_prints_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "while :; do printf 'app 8 1.5: cycles: \\n\\t1 work (/app)\\n\\n'; done")
    monkeypatch.setattr(perf_program, "MAX_TEXT_BYTES", 100_000)
    assert reason(b"PERFILE2") == "perf script printed more than the limit of 100000 bytes"


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = PerfData().decode([Input(b"PERFILE2" + TEXT)])
    next(found)
    found.close()  # type: ignore[attr-defined]  # it is a generator
    assert isinstance(decode(b"PERFILE2" + TEXT)[0], Decoded)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the real perf records here of a busy Python; skipped where it cannot."""
    others = [folder for folder in os.environ["PATH"].split(os.pathsep) if folder != STAND_IN]
    monkeypatch.setenv("PATH", os.pathsep.join(others))
    if shutil.which("perf") is None:
        pytest.skip("perf is not installed")
    path = tmp_path / "perf.data"
    busy = [sys.executable, "-c", "sum(number * number for number in range(3_000_000))"]
    words = [
        "perf",
        "record",
        "-q",
        "-N",
        "-F",
        "199",
        "-e",
        "cpu-clock:u",
        "-g",
        "-o",
        str(path),
        "--",
        *busy,
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode or not path.exists():
        pytest.skip(f"perf cannot record here: {done.stderr.strip()[-100:]}")
    return path


def test_a_recording_counts_as_perfs_own_report_does(recording: Path) -> None:
    words = ["perf", "report", "--stdio", "--no-children", "-g", "none", "-i", str(recording)]
    report = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    period_ns = int(re.findall(r"# Event count \(approx\.\): (\d+)", report)[0])
    script = subprocess.run(
        ["perf", "script", "-i", str(recording)], capture_output=True, text=True, check=True
    )
    samples = len(re.findall(r"^\S.* cpu-clock", script.stdout, re.MULTILINE))
    connection = flameduck.open(recording)
    found = dict(
        connection.sql("SELECT profile_type, sum(total)::BIGINT FROM profiles GROUP BY ALL").fetchall()
    )
    assert found == {
        "process_cpu:cpu:nanoseconds:cpu:nanoseconds": period_ns,
        "process_cpu:samples:count:cpu:nanoseconds": samples,
    }
