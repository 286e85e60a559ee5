"""The text of perf script on one core, against splitting the bytes into lines.

python -m benchmarks.read_perf_script

A busy service: a few threads, three thousand stacks of which some are seen far more often than others, each sampled at
many addresses, so that most lines repeat and few blocks do. The second text is of samples without call chains.
"""

from __future__ import annotations

from random import Random

from .reading import Reading, measure_reading, read_bytes

SAMPLES = 40_000
STACKS = 3_000
FLAT_SAMPLES = 300_000
PERIOD_NS = 10_101_010


def main() -> None:
    """Measure both."""
    chance = Random(1)
    for text, samples in ((chains(chance), SAMPLES), (flat(chance), FLAT_SAMPLES)):
        totals = {
            "process_cpu:cpu:nanoseconds:cpu:nanoseconds": samples * PERIOD_NS,
            "process_cpu:samples:count:cpu:nanoseconds": samples,
        }
        measure_reading(Reading("perf-script", text, totals, read_bytes))


def chains(chance: Random) -> bytes:
    """Samples with call chains of 10 to 60 frames."""
    functions = [
        f"shop::module_{number % 40}::Handler<{number}>::handle_request(shop::Order const&, int)"
        for number in range(2500)
    ]
    stacks = [
        [chance.randrange(len(functions)) for _ in range(chance.randint(10, 60))] for _ in range(STACKS)
    ]
    blocks = []
    for number in range(SAMPLES):
        stack = stacks[min(int(chance.paretovariate(0.6)), STACKS) - 1]
        blocks.append(head(number, chance) + "\n")
        for depth, function in enumerate(stack):
            # The leaf is seen at any of its instructions, callers at one of a few calls.
            offset = chance.randrange(400) if depth == 0 else 16 * (depth % 3)
            address = 0x7F0000400000 + function * 4096 + offset
            blocks.append(f"\t    {address:x} {functions[function]}+0x{offset:x} (/srv/shop/bin/checkout)\n")
        blocks.append("\n")
    return "".join(blocks).encode()


def flat(chance: Random) -> bytes:
    """Samples of one line."""
    lines = []
    for number in range(FLAT_SAMPLES):
        function, offset = min(int(chance.paretovariate(0.7)), 2000), chance.randrange(400)
        where = f"{0x400000 + function * 4096 + offset:16x} function_{function}+0x{offset:x} (/srv/shop/bin/checkout)"
        lines.append(f"{head(number, chance):>60} {where}\n")
    return "".join(lines).encode()


def head(number: int, chance: Random) -> str:
    """The fields of a sample, all but the frames."""
    thread, cpu = chance.randrange(16), chance.randrange(8)
    time = f"{1000 + number // 400}.{number % 400 * 2500:06d}"
    return f"worker-{thread} 4711/{4720 + thread} [{cpu:03d}] {time}: {PERIOD_NS:10d} cpu-clock:u: "


if __name__ == "__main__":
    main()
