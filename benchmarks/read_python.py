"""The formats of Python's profilers on one core, against splitting text into lines, `marshal.loads`, `json.loads`.

python -m benchmarks.read_python
"""

from __future__ import annotations

import json
import marshal
from collections.abc import Callable
from random import Random

from tests.engine.formats.python_examples import event, mojo, mojo_frame

from .reading import Reading, load_json, measure_reading, read_bytes

SAMPLES = 60_000
FUNCTIONS = 2000
DEEPEST = 40


def main() -> None:
    """Measure each format."""
    for make in (py_spy, tachyon, austin, mojo_stream, pstats, pyinstrument):
        measure_reading(make(Random(1)))


def _stacks(chance: Random) -> list[list[int]]:
    """Numbers of functions, root first; many stacks have a beginning in common."""
    stacks = []
    for _ in range(SAMPLES // 4):
        depth = chance.randint(5, DEEPEST)
        first = chance.randrange(FUNCTIONS - depth)
        stacks.append(list(range(first, first + depth)))
    return stacks


def _lines(chance: Random, frame: Callable[[int], str], start: str = "") -> tuple[bytes, int, int]:
    """A text of a line a sample, the sum of its counts, the number of lines."""
    frames = [frame(number) for number in range(FUNCTIONS)]
    stacks = [start + ";".join(frames[number] for number in stack) for stack in _stacks(chance)]
    counts = [chance.randint(1, 20_000) for _ in range(SAMPLES)]
    lines = [f"{chance.choice(stacks)} {count}" for count in counts]
    return "\n".join(lines).encode(), sum(counts), len(lines)


def py_spy(chance: Random) -> Reading:
    """Threads and frames with files."""
    start = "thread (12): MainThread;"
    raw, total, _ = _lines(chance, lambda n: f"Class.method_{n} (package/module_{n % 50}.py:{n})", start)
    return Reading("py-spy", raw, {"process_cpu:samples:count::": total}, read_bytes)


def tachyon(chance: Random) -> Reading:
    """Frames with files."""
    raw, total, _ = _lines(chance, lambda n: f"module_{n % 50}.py:Class.method_{n}:{n}", "tid:12;")
    return Reading("tachyon", raw, {"process_cpu:samples:count::": total}, read_bytes)


def austin(chance: Random) -> Reading:
    """The mode wall."""
    start = "P12;T0:12;"
    raw, total, count = _lines(
        chance, lambda n: f"/app/package/module_{n % 50}.py:Class.method_{n}:{n}", start
    )
    totals = {
        "wall:samples:count:wall:nanoseconds": count,
        "wall:wall:nanoseconds:wall:nanoseconds": total * 1000,
    }
    return Reading("austin", b"# austin: 3.7.0\n# interval: 100\n# mode: wall\n\n" + raw, totals, read_bytes)


def mojo_stream(chance: Random) -> Reading:
    """The same samples as events."""
    begin = event(2, 12, 0, "c")
    defined = b"".join(
        mojo_frame(4096 + number, f"Class.method_{number}", number) for number in range(FUNCTIONS)
    )
    refs = [event(5, 4096 + number) for number in range(FUNCTIONS)]
    stacks = [b"".join(refs[number] for number in stack) for stack in _stacks(chance)]
    times = [chance.randint(1, 20_000) for _ in range(SAMPLES)]
    samples = [begin + chance.choice(stacks) + event(9, time_us) for time_us in times]
    raw = mojo([begin + defined + refs[0] + event(9, 0), *samples], "wall")
    totals = {
        "wall:samples:count:wall:nanoseconds": SAMPLES + 1,
        "wall:wall:nanoseconds:wall:nanoseconds": sum(times) * 1000,
    }
    return Reading("mojo", raw, totals, read_bytes)


def pstats(chance: Random) -> Reading:
    """A function has five callers."""
    functions = [(f"/app/package/module_{n % 99}.py", n, f"function_{n}") for n in range(SAMPLES // 4)]
    stats = {}
    for function in functions:
        callers = {caller: (3, 3, chance.random(), chance.random()) for caller in chance.sample(functions, 5)}
        own_s = sum(edge[2] for edge in callers.values()) + chance.random()
        stats[function] = (20, 20, own_s, own_s + chance.random(), callers)
    own_ns = sum(round(entry[2] * 1e9) for entry in stats.values())
    totals = {"wall:calls:count::": 20 * len(stats), "wall:wall:nanoseconds::": own_ns}
    return Reading("pstats", marshal.dumps(stats), totals, marshal.loads)


def pyinstrument(chance: Random) -> Reading:
    """A session."""
    frames = [f"method_{n}\0/app/module_{n % 50}.py\0{n}\1l{n + 5}" for n in range(FUNCTIONS)]
    stacks = [[frames[number] for number in stack] for stack in _stacks(chance)]
    records = [(chance.choice(stacks), chance.random() / 100) for _ in range(SAMPLES // 2)]
    said = {"start_time": 1.5, "duration": 2.0, "start_call_stack": [], "frame_records": records}
    totals = {
        "wall:samples:count:wall:nanoseconds": len(records),
        "wall:wall:nanoseconds:wall:nanoseconds": sum(round(seconds * 1e9) for _, seconds in records),
    }
    return Reading("pyinstrument", json.dumps(said).encode(), totals, load_json)


if __name__ == "__main__":
    main()
