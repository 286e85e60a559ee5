"""A process run to its end, with what it took: time, and the memory of the largest process in it.

The kernel counts into a process what its parent held when it was forked, and the tests may hold much. So a small
process stands between: this module, run as a program.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
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
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result"
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            subprocess.run(
                [sys.executable, __file__, result, str(limit_s), *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=cwd,
                env={**os.environ, **environment},
                check=True,
            )
            out.seek(0)
            err.seek(0)
            measured = json.loads(result.read_text())
            return Ended(
                stdout=out.read().decode(errors="replace"),
                stderr=err.read().decode(errors="replace"),
                **measured,
            )


def main(result: str, limit_s: float, words: Sequence[str]) -> None:
    """Run the command line in a group of its own, and write down how it ended."""
    begun = time.monotonic()
    process = subprocess.Popen(words, start_new_session=True)
    pid = 0
    while not pid:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if not pid:
            if time.monotonic() - begun > limit_s:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.01)
    measured = {
        "code": os.waitstatus_to_exitcode(status),
        "peak_bytes": usage.ru_maxrss << 10,
        "seconds": time.monotonic() - begun,
    }
    Path(result).write_text(json.dumps(measured))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
