"""Captures of memray, read by memray's own reader in a process of its own (`memray_process.py`).

What was allocated becomes `alloc_objects` and `alloc_space`; what was in use when memory was at its peak becomes
`inuse_objects` and `inuse_space`. Captures of `memray run --aggregate` hold the second alone.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pyarrow as pa

from ...schema.errors import CorruptProfile
from . import Decoded, Failed, Input, Row, one_by_one
from .names import NameReader, name_reader
from .profile_builder import Label, Labels, ProfileBuilder
from .profile_columns import ProfileHeader, ValueType
from .seconds import MAX_NS

MAGIC = b"memray\x00"
LZ4_MAGIC = b"\x04\x22\x4d\x18"
MAX_MEMORY_BYTES = 4 << 30
MIN_CPU_SECONDS = 2
BYTES_PER_CPU_SECOND = 500_000
COMPRESSED_BYTES_PER_CPU_SECOND = 12_000
"""A second of memray's reader and ours is good for three million bytes, and lz4 may hold 255 in one."""
PIECE_SAMPLES = 250_000

_NAME = "memory"
_ALLOCATED: tuple[ValueType, ...] = (("alloc_objects", "count"), ("alloc_space", "bytes"))
_IN_USE: tuple[ValueType, ...] = (("inuse_objects", "count"), ("inuse_space", "bytes"))
_COMPRESSED_START = 32
_STDERR_BYTES = 1 << 20
_MEMRAY_ERROR = "Memray ERROR: "
_PROGRAM = Path(__file__).with_name("memray_process.py")


class Memray:
    """What `memray run` writes."""

    name = "memray"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it begins with memray's magic, which may lie in the first block of an lz4 frame."""
        if head.startswith(LZ4_MAGIC):
            return MAGIC in head[:_COMPRESSED_START]
        return head.startswith(MAGIC)

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile."""
        return one_by_one(inputs, _profile)


class _Header(msgspec.Struct, tag="header", array_like=True):
    start_ns: int
    end_ns: int
    is_aggregated: bool
    command_line: str
    pid: int


class _Frame(msgspec.Struct, tag="frame", array_like=True):
    name: str
    filename: str
    line: int


class _Sample(msgspec.Struct, tag="sample", array_like=True):
    tid: int
    thread: str
    allocator: str
    values: tuple[int, int, int, int]
    frames: list[int]


class _Warning(msgspec.Struct, tag="warning", array_like=True):
    text: str


class _Failed(msgspec.Struct, tag="failed", array_like=True):
    reason: str


class _End(msgspec.Struct, tag="end", array_like=True):
    pass


_Line = _Header | _Frame | _Sample | _Warning
_LINES = msgspec.json.Decoder(_Line | _Failed | _End)


def _profile(number: int, one: Input) -> Iterator[Decoded]:
    """Its pieces, at least one. Raises `CorruptProfile`."""
    if find_spec("memray") is None:
        raise CorruptProfile("a memray capture is read by memray itself: install flameduck[memray]")
    with tempfile.NamedTemporaryFile(prefix="flameduck-", suffix=".bin") as file:
        file.write(one.raw)
        file.flush()
        reading = _Reading(name_reader(one))
        pace = COMPRESSED_BYTES_PER_CPU_SECOND if one.raw.startswith(LZ4_MAGIC) else BYTES_PER_CPU_SECOND
        with _Process(file.name, MIN_CPU_SECONDS + len(one.raw) // pace) as process:
            more = False
            for line in process.lines():
                reading.take(line)
                if reading.is_full:
                    yield Decoded(reading.batch(), [Row(number, _NAME)], more)
                    more = True
        yield Decoded(reading.batch(), [Row(number, _NAME)], more, tuple(reading.warnings))


class _Process:
    """The process that reads a file; leaving the `with` ends it."""

    def __init__(self, path: str, cpu_seconds: int) -> None:
        self._cpu_seconds = cpu_seconds
        limits = [str(MAX_MEMORY_BYTES), str(self._cpu_seconds)]
        # Left by `__exit__`, as this object is used in a `with`.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            # -I: neither the environment nor the current folder lends it modules.
            [sys.executable, "-I", str(_PROGRAM), path, *limits],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with self._process, self._said:
            pass

    def lines(self) -> Iterator[_Line]:
        """What it prints. Raises `CorruptProfile` when it fails, or ends before its time."""
        stream = self._process.stdout
        assert stream is not None
        for raw in stream:
            try:
                line = _LINES.decode(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise CorruptProfile(f"memray: {self._why()}") from None
            if isinstance(line, _Failed):
                raise CorruptProfile(f"memray: {self._first_error() or _one_line(line.reason)}")
            if isinstance(line, _End):
                if error := self._first_error():
                    raise CorruptProfile(f"memray: {error}")
                return
            yield line
        raise CorruptProfile(f"memray: {self._why()}")

    def _why(self) -> str:
        """Why the process ended early."""
        code = self._process.wait()
        if code == -signal.SIGXCPU:
            return f"reading takes more than {self._cpu_seconds} seconds"
        ending = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        return self._first_error() or f"its reader {ending}"

    def _first_error(self) -> str:
        """The first error that memray logged; it goes on after most of them, with less than the file holds."""
        self._said.seek(0)
        lines = self._said.read(_STDERR_BYTES).decode("utf-8", "replace").splitlines()
        errors = [line.removeprefix(_MEMRAY_ERROR) for line in lines if line.startswith(_MEMRAY_ERROR)]
        return errors[0] if errors else ""


def _one_line(reason: str) -> str:
    """A reason without line breaks."""
    return " ".join(reason.split())


class _Reading:
    """The profile so far."""

    def __init__(self, names: NameReader) -> None:
        self.warnings: list[str] = []
        self._names = names
        self._builder: ProfileBuilder | None = None
        self._types = 0
        self._frames: list[int] = []

    @property
    def is_full(self) -> bool:
        """Whether enough was read for a piece."""
        return self._builder is not None and self._builder.samples >= PIECE_SAMPLES

    def batch(self) -> pa.RecordBatch:
        """What was read since the last batch. Raises `CorruptProfile` when the capture had no header."""
        if self._builder is None:
            raise CorruptProfile("memray: the capture has no header")
        batch = self._builder.to_batch()
        self._builder.drop_samples()
        return batch

    def take(self, line: _Line) -> None:
        """Add a line."""
        if isinstance(line, _Header):
            self._begin(line)
        elif isinstance(line, _Warning):
            self.warnings.append(line.text)
        elif self._builder is None:
            raise CorruptProfile("memray: the capture has no header")
        elif isinstance(line, _Frame):
            self._frames.append(self._builder.frame(line.name, line.filename, max(line.line, 0)))
        else:
            stack = [self._frames[frame] for frame in line.frames]
            self._builder.add(stack, line.values[-self._types :], _labels(line))

    def _begin(self, line: _Header) -> None:
        types = _IN_USE if line.is_aggregated else _ALLOCATED + _IN_USE
        self._types = len(types)
        start_ns = line.start_ns if 0 < line.start_ns <= MAX_NS else 0
        header = ProfileHeader(
            sample_types=types,
            time_ns=start_ns,
            duration_ns=max(line.end_ns - start_ns, 0) if start_ns and line.end_ns <= MAX_NS else 0,
            comments=(f"command: {line.command_line}", f"pid: {line.pid}"),
            default_sample_type="inuse_space",
        )
        self._builder = ProfileBuilder(header, self._names)


def _labels(line: _Sample) -> Labels:
    labels = (Label("allocator", line.allocator), Label("tid", number=line.tid))
    return (*labels, Label("thread", line.thread)) if line.thread else labels
