"""Short commands against the interpreter that they cannot do without.

    python -m benchmarks.startup [--rounds 9]

`top` of a small file, `--help` and `import flameduck`, beside an interpreter that imports duckdb and pyarrow, and
a bare one.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from .measure import Usage, argument_parser, report
from .real_stacks import FIXTURES

_SMALL = FIXTURES / "go-cpu.pb.gz"
_MAIN = "from flameduck.cli.main import main; main()"
_COMMANDS = {
    "python": ["-c", "pass"],
    "imports": ["-c", "import duckdb, pyarrow"],
    "import": ["-c", "import flameduck"],
    "help": ["-c", _MAIN, "--help"],
    "top": ["-c", _MAIN, "top", str(_SMALL)],
}


def main() -> None:
    """Run every command once a round."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    _check_top()
    walls: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    cpus: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    for _ in range(rounds):
        for name, arguments in _COMMANDS.items():
            cpu, wall = Usage.now().children_cpu_s, time.perf_counter()
            _run(arguments)
            walls[name].append(time.perf_counter() - wall)
            cpus[name].append(Usage.now().children_cpu_s - cpu)
    wall_s = {name: statistics.median(times) for name, times in walls.items()}
    cpu_s = {name: statistics.median(times) for name, times in cpus.items()}
    figures: dict[str, object] = {f"{name}_ms": 1e3 * seconds for name, seconds in wall_s.items()}
    figures |= {f"{name}_cpu_ms": 1e3 * seconds for name, seconds in cpu_s.items()}
    figures["top_to_imports"] = wall_s["top"] / wall_s["imports"]
    figures["top_to_imports_cpu"] = cpu_s["top"] / cpu_s["imports"]
    report("startup", figures)


def _run(arguments: Sequence[str]) -> bytes:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    return done.stdout


def _check_top() -> None:
    rows = json.loads(_run([*_COMMANDS["top"], "--format", "json"]))
    assert rows[0]["self"] > 0, rows


if __name__ == "__main__":
    main()
