"""Captures of memray on one core, against the walk over all records that memray's own reader makes of the same bytes.

python -m benchmarks.read_memray

Each capture is of a program of its own, recorded here. The CPU is that of this process and of those that it starts,
because memray is read in another. memray's walk is `FileReader`, which goes over the file once to find the peak, and
then `get_allocation_records`; ours goes over it once more to tell what was in use at the peak. The zeros at the end of
a capture are cut off before both and do not count as bytes; `as_recorded_to_bare` is what memray's walk takes longer
with them.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from flameduck.engine.ingest.decode import DecodeLimits, Outcome, decode_and_normalise
from flameduck.schema.profile import Upload

from .measure import Usage, report
from .reading import START_NS, totals_of

ROUNDS = 3

PARSE = """
import ast, io, json, pathlib, tokenize
kept = []
for file in sorted(pathlib.Path(ast.__file__).parent.glob("*.py"))[:{files}]:
    source = file.read_text()
    tree = ast.parse(source)
    kept.append(ast.unparse(tree))
    list(tokenize.generate_tokens(io.StringIO(source).readline))
    compile(tree, str(file), "exec")
    kept.append(json.loads(json.dumps(dict(enumerate(source.splitlines())))))
"""
DEEP = """
kept = []
def walk(left):
    if not left:
        kept.append(bytearray(600))
        return
    for _ in range(1 if left % 12 else 4):
        walk(left - 1)
for _ in range(50):
    walk(72)
"""
LOOP = """
kept = []
for n in range(2_000_000):
    kept.append([bytearray(2000), n]) if n % 50 == 0 else bytearray(999)
"""
RECORDINGS = {
    "parsing": (PARSE.format(files=200), ()),
    "parsing, native frames": (PARSE.format(files=200), ("--native",)),
    "parsing, every object": (PARSE.format(files=20), ("--trace-python-allocators",)),
    "deep stacks": (DEEP, ()),
    "one loop": (LOOP, ()),
}
"""The last is the worst case: two bytes a record, as nothing is called between them."""

WALK = """
import sys
from memray import FileReader
print(sum(1 for _ in FileReader(sys.argv[1]).get_allocation_records()))
"""
COUNT = """
import sys
from memray._memray import compute_statistics
print(compute_statistics(sys.argv[1]).total_num_allocations)
"""


def main() -> None:
    """Measure each program's capture, where memray is installed."""
    if not importlib.util.find_spec("memray"):
        return
    # What is imported on first use is no part of it.
    _read(b"memray\x00")
    for name, (program, options) in RECORDINGS.items():
        with tempfile.TemporaryDirectory() as folder:
            measure(name, record(Path(folder), program, options))


def record(folder: Path, program: str, options: tuple[str, ...]) -> Path:
    """Run a program under memray."""
    (folder / "x.py").write_text(program)
    command = [sys.executable, "-m", "memray", "run", "--no-compress", "-q", *options, "-o", "x.bin", "x.py"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "x.bin"


def measure(name: str, file: Path) -> None:
    """Read a capture and walk over it by turns, check the number of allocations, print one line."""
    raw = file.read_bytes().rstrip(b"\0")
    cut = file.with_name("cut.bin")
    cut.write_bytes(raw)
    allocated, records = _run(COUNT, cut), _run(WALK, cut)
    works: dict[str, Callable[[], object]] = {
        "bare": lambda: _run(WALK, cut),
        "as_recorded": lambda: _run(WALK, file),
        "read": lambda: _check(_read(raw), allocated),
    }
    rounds: dict[str, list[float]] = {one: [] for one in works}
    for _ in range(ROUNDS):
        for one, work in works.items():
            begun_s = _cpu_s()
            work()
            rounds[one].append(_cpu_s() - begun_s)
    cpu_s = {one: statistics.median(seconds) for one, seconds in rounds.items()}
    megabytes = len(raw) / 1e6
    report(
        f"read memray: {name}",
        {
            "mb": megabytes,
            "records": records,
            "mb_per_s_core": megabytes / cpu_s["read"],
            "bare_mb_per_s_core": megabytes / cpu_s["bare"],
            "to_bare": cpu_s["read"] / cpu_s["bare"],
            "as_recorded_to_bare": cpu_s["as_recorded"] / cpu_s["bare"],
        },
    )


def _check(outcome: Outcome, allocated: int) -> None:
    assert not outcome.refused, outcome.refused
    found = [total for kind, total in totals_of(outcome).items() if ":alloc_objects:" in kind]
    assert found == [allocated], (found, allocated)


def _run(program: str, file: Path) -> int:
    """The number that a program prints."""
    return int(subprocess.check_output([sys.executable, "-c", program, str(file)]))


def _read(raw: bytes) -> Outcome:
    return decode_and_normalise([Upload(raw, {}, "bench", START_NS)], DecodeLimits())


def _cpu_s() -> float:
    now = Usage.now()
    return now.own_cpu_s + now.children_cpu_s


if __name__ == "__main__":
    main()
