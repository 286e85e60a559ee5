"""Captures of memray beside what memray's own reports say of them; skipped by name where memray is not installed."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

import flameduck
from flameduck.engine.formats import Failed, Input, detect_format
from flameduck.engine.formats import memray as reader_of_memray
from flameduck.engine.formats.memray import Memray
from tests.engine.formats.read_samples import decode, read, reason

READER = Memray()
RENAMED_THREAD = """
import threading
def work():
    kept = bytearray(3_000_000)
    threading.current_thread().name = "later"
    del kept
thread = threading.Thread(target=work, name="first")
thread.start()
thread.join()
"""
TYPES = ("alloc_objects/count", "alloc_space/bytes", "inuse_objects/count", "inuse_space/bytes")


def record(folder: Path, program: str, *options: str) -> bytes:
    """The capture of a program."""
    (folder / "x.py").write_text(program)
    command = [sys.executable, "-m", "memray", "run", *options, "-q", "-o", "x.bin", "x.py"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "x.bin").read_bytes()


def test_captures_are_told(fixtures: Path) -> None:
    for name in ("all", "aggregated", "tiny"):
        assert detect_format((fixtures / f"python-memray-{name}.bin").read_bytes(), "").name == "memray"
    for raw in (b"memray", b"memray is fine 5\n", b"\x04\x22\x4d\x18" + b"x" * 40):
        assert not READER.matches(raw, "x.bin")


def test_without_memray_the_extra_is_named(fixtures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_of_memray, "find_spec", lambda name: None)
    raw = (fixtures / "python-memray-tiny.bin").read_bytes()
    assert reason(READER, raw) == "a memray capture is read by memray itself: install flameduck[memray]"


class TestWithMemray:
    """What needs memray."""

    @pytest.fixture(autouse=True)
    def _memray(self) -> None:
        pytest.importorskip("memray")

    def test_a_capture_of_one_stack(self, fixtures: Path) -> None:
        (one,) = read(READER, (fixtures / "python-memray-tiny.bin").read_bytes())
        assert one.samples == {
            (("main tiny.py:11", "work tiny.py:11"), (("allocator", "malloc"), ("tid", 2))): (7, 721, 3, 307)
        }
        assert (one.name, one.types) == ("memory", TYPES)
        assert one.header["default"] == "inuse_space"
        assert one.header["time_nanos"] > 1_700_000_000 * 10**9
        assert one.header["comments"][0] == "command: tiny"

    def test_totals_are_those_of_memray_s_reports(self, fixtures: Path) -> None:
        from memray import FileReader
        from memray._memray import compute_statistics

        file = fixtures / "python-memray-all.bin"
        stats = compute_statistics(str(file))
        assert stats.total_num_allocations > 1000
        with FileReader(str(file)) as reader:
            peak = [(one.n_allocations, one.size) for one in reader.get_high_watermark_allocation_records()]
        (one,) = read(READER, file.read_bytes())
        assert one.totals == {
            "alloc_objects/count": stats.total_num_allocations,
            "alloc_space/bytes": stats.total_memory_allocated,
            "inuse_objects/count": sum(count for count, _ in peak),
            "inuse_space/bytes": stats.peak_memory_allocated,
        }
        largest = {(name, line): size for (name, _, line), size in stats.top_locations_by_size}
        by_leaf: dict[tuple[str, int], int] = {}
        for (stack, _), values in one.samples.items():
            if stack:
                name, _, place = stack[-1].partition(" ")
                key = name, int(place.rpartition(":")[2])
                by_leaf[key] = by_leaf.get(key, 0) + values[1]
        assert {key: by_leaf[key] for key in largest} == largest

    def test_an_aggregated_capture_knows_the_peak_alone(self, fixtures: Path) -> None:
        (one,) = read(READER, (fixtures / "python-memray-aggregated.bin").read_bytes())
        assert one.types == TYPES[2:]
        assert one.totals["inuse_space/bytes"] > 30_000_000
        ((stack, labels),) = [key for key, values in one.samples.items() if values[1] > 30_000_000]
        assert [frame.split()[0] for frame in stack[-3:]] == ["main", "fill_cache", "<listcomp>"]
        assert labels[0][0] == "allocator"

    def test_into_a_store_with_no_flag(self, fixtures: Path) -> None:
        with flameduck.open("memory://memray") as db:
            assert not db.ingest([fixtures / "python-memray-all.bin"]).refused
            tree = db.flamegraph(type="inuse_space")
            assert tree.total > 30_000_000
            files = db.sql("SELECT DISTINCT filename FROM functions WHERE name = 'fill_cache'").fetchall()
            assert [Path(name).name for (name,) in files] == ["workers.py"]

    def test_zeros_at_the_end_cost_nothing(self, fixtures: Path) -> None:
        raw = (fixtures / "python-memray-tiny.bin").read_bytes()
        # memray alone takes minutes for so many, which is more than it may.
        assert read(READER, raw.rstrip(b"\0") + bytes(60_000_000)) == read(READER, raw)

    def test_native_frames(self, tmp_path: Path) -> None:
        program = "def work():\n    return [bytearray(3_000_000)]\nkept = work()\n"
        (one,) = read(READER, record(tmp_path, program, "--native"))
        ((stack, _),) = [key for key, values in one.samples.items() if values[3] >= 3_000_000]
        names = [frame.split()[0] for frame in stack]
        assert names.index("work") < len(names) - 1, "native frames are below the Python one"

    def test_pieces(self, fixtures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        raw = (fixtures / "python-memray-all.bin").read_bytes()
        (whole,) = read(READER, raw)
        for limit, least in (("PIECE_SAMPLES", 10), ("PIECE_FRAMES", 100), ("PIECE_FRAMES", 1)):
            with monkeypatch.context() as patch:
                patch.setattr(reader_of_memray, limit, least)
                assert [one.continues for one in decode(READER, raw)].count(True) > 3
                assert read(READER, raw) == [whole]

    def test_a_stack_comes_once_with_all_its_values(self, fixtures: Path) -> None:
        (piece,) = decode(READER, (fixtures / "python-memray-all.bin").read_bytes())
        (row,) = piece.batch.to_pylist()
        assert len([one for one in row["sample"] if one["value"][0] and one["value"][2]]) > 10
        assert not [one for one in row["sample"] if one["value"][2] and not one["value"][0]]

    def test_threads_have_their_last_names(self, tmp_path: Path) -> None:
        (one,) = read(READER, record(tmp_path, RENAMED_THREAD))
        ((_, labels),) = [key for key, values in one.samples.items() if values[1] == 3_000_001]
        assert dict(labels)["thread"] == "later"

    def test_of_long_captures_the_peak_alone(
        self, fixtures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        program = tmp_path / "few.py"
        source = reader_of_memray._PROGRAM.read_text()
        program.write_text(source.replace("MAX_RECORDS = 50_000_000", "MAX_RECORDS = 5"))
        monkeypatch.setattr(reader_of_memray, "_PROGRAM", program)
        raw = (fixtures / "python-memray-tiny.bin").read_bytes()
        (piece,) = decode(READER, raw)
        assert piece.warnings == (
            "12 records are more than 5: "
            "what was allocated was left out, what was in use at the peak was not",
        )
        (one,) = read(READER, raw)
        assert list(one.samples.values()) == [(0, 0, 3, 307)]

    def test_errors(self, fixtures: Path) -> None:
        raw = (fixtures / "python-memray-tiny.bin").read_bytes()
        found = list(
            READER.decode([Input(raw[:7] + b"\xff" + raw[8:]), Input(raw[:20]), Input(b"memray\x00")])
        )
        reasons = [one.reason for one in found if isinstance(one, Failed)]
        assert reasons[0].startswith(
            "memray: The provided input file is incompatible with this version of memray."
        )
        assert all(one.startswith("memray: ") for one in reasons)
        assert len(reasons) == 3

    def test_a_capture_that_makes_memray_crash_falls_alone(
        self, fixtures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        raw = (fixtures / "python-memray-tiny.bin").read_bytes()
        program = tmp_path / "crash.py"
        programs = {
            "import os; os.kill(os.getpid(), 11)": "memray: its reader was ended by signal 11",
            "import os; os.kill(os.getpid(), 24)": "memray: reading takes more than 2 seconds",
            "import sys; sys.exit(3)": "memray: its reader ended with 3",
            "print('[]')": "memray: its reader ended with 0",
            "print('[\"end\"]')": "memray: the capture has no header",
            "import sys; sys.stderr.write('Memray ERROR: odd\\n'); print('[\"end\"]')": "memray: odd",
            "print('[]'); print('x' * 1_000_000)": "memray: its reader ended with 0",
            'print(\'["labels", 9223372036854775808, "", "malloc"]\')': (
                "memray: tid 9223372036854775808 does not fit 64 bits"
            ),
        }
        monkeypatch.setattr(reader_of_memray, "_PROGRAM", program)
        for text, expected in programs.items():
            program.write_text(text)
            assert reason(READER, raw) == expected

    def test_what_a_spoilt_process_prints(
        self, fixtures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        program = tmp_path / "spoilt.py"
        monkeypatch.setattr(reader_of_memray, "_PROGRAM", program)
        lines = '["header",0,0,false,"x",1]', '["frame","f","x.py",1]', '["labels",1,"","malloc"]'
        for samples, frames, columns, expected in (
            (1, 1, (0, 1, 1, 1, 1), "memray: its reader ended with 0"),
            (1, 0, (1, 0, 1, 1, 1, 1), reader_of_memray._NOT_AS_PRINTED),
            (1, 0, (-1, 0, 1, 1, 1, 1), reader_of_memray._NOT_AS_PRINTED),
            (1, 2, (0, 2, 1, 1, 1, 1, 1), reader_of_memray._NOT_AS_PRINTED),
            (1, 2, (0, 1, 1, 1, 1, 1, 0), reader_of_memray._NOT_AS_PRINTED),
            (-1, 0, (), "memray: its reader ended with 0"),
        ):
            printed = "\n".join((*lines, f'["samples",{samples},{frames}]', "")).encode()
            printed += struct.pack(f"{len(columns)}q", *columns)
            program.write_text(f"import sys; sys.stdout.buffer.write({printed!r})")
            assert reason(READER, (fixtures / "python-memray-tiny.bin").read_bytes()) == expected

    def test_a_value_that_does_not_fit(self, tmp_path: Path) -> None:
        from memray._memray import RecordWriterTestHarness

        file = tmp_path / "large.bin"
        writer = RecordWriterTestHarness(str(file))
        for number in range(2):
            writer.write_allocation_record(1, 4096 + number, 2**62, 6)
        writer.write_trailer()
        writer.write_header(True)
        assert reason(READER, file.read_bytes()) == f"memray: sample.value {2**63} does not fit 64 bits"

    def test_memory_is_limited(self, fixtures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reader_of_memray, "MAX_MEMORY_BYTES", 25 << 20)
        assert reason(READER, (fixtures / "python-memray-all.bin").read_bytes()).startswith("memray: ")
