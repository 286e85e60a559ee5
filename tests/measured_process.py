"""A process run to its end, with what it took: time, and the memory of the largest process in it."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Ended:
    """How a process ended; `peak_bytes` is the most that it, or a process that it waited for, ever held."""

    code: int
    stdout: str
    stderr: str
    peak_bytes: int
    seconds: float


def run_measured(
    words: Sequence[str | Path], environment: Mapping[str, str], cwd: Path = ROOT, limit_s: float = 60
) -> Ended:
    """Run a command line; it is killed, and its code negative, when it takes longer than the limit."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begun = time.monotonic()
        process = subprocess.Popen(
            list(map(str, words)),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=cwd,
            env={**os.environ, **environment},
        )
        pid = 0
        while not pid:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if not pid:
                if time.monotonic() - begun > limit_s:
                    process.kill()
                time.sleep(0.01)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begun
        out.seek(0)
        err.seek(0)
        return Ended(
            process.returncode,
            out.read().decode(errors="replace"),
            err.read().decode(errors="replace"),
            usage.ru_maxrss << 10,
            seconds,
        )
