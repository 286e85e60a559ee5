"""One very long file: it is ingested whole, within bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flameduck
from tests.engine.ingest.made_profiles import COMMAND, START_NS, problems
from tests.fuzz.mutations import varint
from tests.measured_process import run_measured

CHUNK = 50_000
FUNCTIONS = 5_000
DEPTH = 8
SIZES = [500_000, pytest.param(10_000_000, marks=[pytest.mark.nightly, pytest.mark.timeout(1200)])]
PEAK_BYTES = 1 << 30


def frames_of(sample: int) -> Iterator[int]:
    """The functions of a stack, root first. 20 samples have the same; callers are shared as in a program."""
    number = sample // 20
    for depth in range(DEPTH):
        yield (number // 9 ** (DEPTH - 1 - depth) * 31 + depth) % FUNCTIONS


def value_of(sample: int) -> int:
    return sample % 1000 + 1


def total_of(samples: int) -> int:
    whole, rest = divmod(samples, 1000)
    return whole * 500_500 + rest * (rest + 1) // 2


def write_folded(path: Path, samples: int) -> None:
    with path.open("w") as file:
        for start in range(0, samples, CHUNK):
            lines = (
                f"{';'.join(f'f{frame}' for frame in frames_of(sample))} {value_of(sample)}\n"
                for sample in range(start, min(start + CHUNK, samples))
            )
            file.writelines(lines)


def field(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(body)) + body


def write_pprof(path: Path, samples: int) -> None:
    """Field by field, since a message of that size would take more memory than what is measured."""
    texts = ["", "cpu", "nanoseconds", *(f"f{number}" for number in range(FUNCTIONS))]
    with path.open("wb") as file:
        file.write(field(1, b"\x08\x01\x10\x02"))
        ids = [varint(number + 1) for number in range(FUNCTIONS)]
        for start in range(0, samples, CHUNK):
            for sample in range(start, min(start + CHUNK, samples)):
                locations = b"".join(ids[frame] for frame in reversed(list(frames_of(sample))))
                file.write(field(2, field(1, locations) + field(2, varint(value_of(sample)))))
        for number, known in enumerate(ids):
            file.write(field(4, b"\x08" + known + field(4, b"\x08" + known)))
            file.write(field(5, b"\x08" + known + b"\x10" + varint(number + 3)))
        file.writelines(field(6, text.encode()) for text in texts)
        file.write(b"\x48" + varint(START_NS))


@pytest.mark.parametrize("samples", SIZES)
@pytest.mark.parametrize(("name", "write"), [("long.folded", write_folded), ("long.pb", write_pprof)])
def test_a_very_long_file(
    tmp_path: Path, name: str, write: Callable[[Path, int], None], samples: int
) -> None:
    write(tmp_path / name, samples)
    store = tmp_path / "store"
    words: list[str | Path] = [*COMMAND, "ingest", tmp_path / name, "--service", "made", "--store", store]
    ended = run_measured(words, {}, limit_s=900)
    print(f"{name}: {samples} samples, {ended.peak_bytes >> 20} MB, {ended.seconds:.0f} s")
    assert (ended.code, ended.stdout) == (0, "1 new, 0 known, 0 refused; 1 blocks written\n"), ended.stderr
    assert ended.peak_bytes <= PEAK_BYTES
    with flameduck.open(store) as db:
        assert db.flamegraph().total == total_of(samples)
    assert problems(store) == []
