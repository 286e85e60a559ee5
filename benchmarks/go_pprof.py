"""`flameduck top` beside `go tool pprof -top` on the same files, where Go is installed.

python -m benchmarks.go_pprof [--rounds 5]
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .measure import SHARED, argument_parser, report
from .real_stacks import FIXTURES

_FLAMEDUCK = [sys.executable, "-c", "from flameduck.cli.main import main; main()", "top", "--limit", "10"]
_LARGE = SHARED / "data" / "pprof" / "pyroscope_phlaredb_heap"


def main() -> None:
    """Measure a small file and, where it is there, a large one."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    go = shutil.which("go")
    if go is None:
        report("go_pprof", {"skipped": "go is not installed"})
        return
    theirs = [go, "tool", "pprof", "-top", "-nodecount=10"]
    for path in (FIXTURES / "go-cpu.pb.gz", _LARGE):
        if path.exists():
            report("go_pprof", _compare(path, theirs, rounds))


def _compare(path: Path, theirs: Sequence[str], rounds: int) -> dict[str, object]:
    seconds: dict[str, list[float]] = {"flameduck": [], "go": []}
    for _ in range(rounds):
        for name, command in (("flameduck", _FLAMEDUCK), ("go", theirs)):
            start = time.perf_counter()
            done = subprocess.run([*command, str(path)], capture_output=True, check=True, text=True)
            seconds[name].append(time.perf_counter() - start)
            assert len(done.stdout.splitlines()) >= 10, done.stdout
    ours_s, theirs_s = (statistics.median(seconds[name]) for name in ("flameduck", "go"))
    return {
        "file": path.name,
        "flameduck_ms": 1e3 * ours_s,
        "go_ms": 1e3 * theirs_s,
        "flameduck_to_go": ours_s / theirs_s,
    }


if __name__ == "__main__":
    main()
