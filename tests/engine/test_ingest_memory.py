"""Very long files are ingested whole, within bounded memory, also when their stacks have nothing in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flameduck
from flameduck.engine.embedded import open_embedded
from flameduck.engine.execution.inline import InlineExecutor
from flameduck.engine.ingest.run import IngestBounds, ingest
from flameduck.engine.settings import Settings
from flameduck.engine.storage.builder import NODE_BYTES
from flameduck.schema.request import DEFAULT_INGEST
from tests.engine.ingest.made_profiles import COMMAND, START_NS, cpu_total, made_total, made_upload, problems
from tests.fuzz.mutations import varint
from tests.measured_process import run_measured

FUNCTIONS = 5_000
DEPTH = 8
MANY_FILES = 16
LONG = [pytest.mark.nightly, pytest.mark.timeout(1200)]
PEAK_BYTES = 1 << 30

FramesOf = Callable[[int], Iterator[int]]


def frames_of(sample: int) -> Iterator[int]:
    """The functions of a stack, root first. 20 samples have the same; callers are shared as in a program."""
    number = sample // 20
    for depth in range(DEPTH):
        yield (number // 9 ** (DEPTH - 1 - depth) * 31 + depth) % FUNCTIONS


def scattered_frames_of(sample: int) -> Iterator[int]:
    """As random ones: no two samples have the same, and few share more than the outermost function."""
    digits = (sample + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128) * FUNCTIONS**DEPTH >> 128
    for _ in range(DEPTH):
        digits, function = divmod(digits, FUNCTIONS)
        yield function


def value_of(sample: int) -> int:
    return sample % 1000 + 1


def total_of(samples: int) -> int:
    whole, rest = divmod(samples, 1000)
    return whole * 500_500 + rest * (rest + 1) // 2


def write_folded(path: Path, samples: range, frames: FramesOf) -> None:
    with path.open("w") as file:
        file.writelines(
            f"{';'.join(f'f{frame}' for frame in frames(sample))} {value_of(sample)}\n" for sample in samples
        )


def field(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(body)) + body


def write_pprof(path: Path, samples: range, frames: FramesOf) -> None:
    """Field by field, since a message of that size would take more memory than what is measured."""
    texts = ["", "cpu", "nanoseconds", *(f"f{number}" for number in range(FUNCTIONS))]
    with path.open("wb") as file:
        file.write(field(1, b"\x08\x01\x10\x02"))
        ids = [varint(number + 1) for number in range(FUNCTIONS)]
        for sample in samples:
            locations = b"".join(ids[frame] for frame in reversed(list(frames(sample))))
            file.write(field(2, field(1, locations) + field(2, varint(value_of(sample)))))
        for number, known in enumerate(ids):
            file.write(field(4, b"\x08" + known + field(4, b"\x08" + known)))
            file.write(field(5, b"\x08" + known + b"\x10" + varint(number + 3)))
        file.writelines(field(6, text.encode()) for text in texts)
        file.write(b"\x48" + varint(START_NS))


Write = Callable[[Path, range, FramesOf], None]


def ingest_measured(store: Path, inputs: Path) -> str:
    """What the command says of an ingest that stays within bounds."""
    words: list[str | Path] = [*COMMAND, "ingest", inputs, "--service", "made", "--store", store]
    ended = run_measured(words, {}, limit_s=900)
    print(f"{inputs.name}: {ended.peak_bytes >> 20} MB, {ended.seconds:.0f} s")
    assert ended.code == 0, ended.stderr
    assert ended.peak_bytes <= PEAK_BYTES
    return ended.stdout


@pytest.mark.parametrize(
    ("frames", "samples"),
    [
        (frames_of, 500_000),
        pytest.param(frames_of, 10_000_000, marks=LONG),
        (scattered_frames_of, 500_000),
    ],
)
@pytest.mark.parametrize(("name", "write"), [("long.folded", write_folded), ("long.pb", write_pprof)])
def test_a_very_long_file(tmp_path: Path, name: str, write: Write, frames: FramesOf, samples: int) -> None:
    write(tmp_path / name, range(samples), frames)
    store = tmp_path / "store"
    said = ingest_measured(store, tmp_path / name)
    assert said == "1 new, 0 known, 0 refused; 1 blocks written\n"
    with flameduck.open(store) as db:
        assert db.flamegraph().total == total_of(samples)
    assert problems(store) == []


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_many_files_of_stacks_without_anything_in_common(tmp_path: Path) -> None:
    inputs, store = tmp_path / "inputs", tmp_path / "store"
    inputs.mkdir()
    for number in range(MANY_FILES):
        write_pprof(
            inputs / f"{number}.pb", range(number * 100_000, (number + 1) * 100_000), scattered_frames_of
        )
    said = ingest_measured(store, inputs)
    assert said.startswith(f"{MANY_FILES} new, 0 known, 0 refused; ")
    with flameduck.open(store) as db:
        assert len(db.blocks()) > 1
        assert db.flamegraph().total == total_of(MANY_FILES * 100_000)
    assert problems(store) == []


def test_a_block_is_cut_when_its_stacks_may_become_too_many_nodes(tmp_path: Path) -> None:
    """Uploads come 64 at a time, and the first 64 bring all 102 stacks, of three frames each."""
    uploads = [made_upload(number) for number in range(64 * 3)]
    for most_nodes, blocks in ((102 * 3 * 2, 1), (102 * 3, 3)):
        store = tmp_path / str(most_nodes)
        bounds = IngestBounds(max_build_bytes=most_nodes * NODE_BYTES)
        database = open_embedded(str(store), "anonymous", Settings())
        report = ingest(database.blocks, uploads, InlineExecutor(), DEFAULT_INGEST, bounds)
        assert (report.new, len(report.blocks)) == (len(uploads), blocks)
        assert cpu_total(store) == made_total(range(len(uploads)))
