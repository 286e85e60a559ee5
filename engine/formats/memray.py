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
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Annotated

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.errors import CorruptProfile
from ..trie import Ragged, offsets_of
from . import Decoded, Failed, Input, Row, one_by_one
from .names import NameReader, name_reader
from .profile_builder import ProfileBuilder
from .profile_columns import IntArray, LabelColumns, ProfileHeader, SampleColumns, ValueType
from .seconds import MAX_NS

MAGIC = b"memray\x00"
LZ4_MAGIC = b"\x04\x22\x4d\x18"
MAX_MEMORY_BYTES = 4 << 30
MIN_CPU_SECONDS = 2
BYTES_PER_CPU_SECOND = 500_000
COMPRESSED_BYTES_PER_CPU_SECOND = 12_000
"""A second of memray's reader and ours is good for five million bytes, and lz4 may hold 255 in one."""
PIECE_SAMPLES = 250_000
PIECE_FRAMES = 4_000_000

_NAME = "memory"
_ALLOCATED: tuple[ValueType, ...] = (("alloc_objects", "count"), ("alloc_space", "bytes"))
_IN_USE: tuple[ValueType, ...] = (("inuse_objects", "count"), ("inuse_space", "bytes"))
_COMPRESSED_START = 32
_STDERR_BYTES = 1 << 20
_MEMRAY_ERROR = "Memray ERROR: "
_NOT_AS_PRINTED = "memray: its reader printed samples of frames or labels that it did not"
_MAX_NUMBER = 2**63 - 1
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


class _Labels(msgspec.Struct, tag="labels", array_like=True):
    tid: int
    thread: str
    allocator: str


class _Samples(msgspec.Struct, tag="samples", array_like=True):
    samples: Annotated[int, msgspec.Meta(ge=0, le=MAX_MEMORY_BYTES >> 6)]
    frames: Annotated[int, msgspec.Meta(ge=0, le=MAX_MEMORY_BYTES >> 2)]


class _Warning(msgspec.Struct, tag="warning", array_like=True):
    text: str


class _Failed(msgspec.Struct, tag="failed", array_like=True):
    reason: str


class _End(msgspec.Struct, tag="end", array_like=True):
    pass


_LINES = msgspec.json.Decoder(_Header | _Frame | _Labels | _Samples | _Warning | _Failed | _End)


@dataclass(frozen=True)
class _Piece:
    """Samples as the process prints them; `values` has a row a sample and four columns."""

    labels: IntArray
    lengths: IntArray
    values: IntArray
    frames: npt.NDArray[np.int32]


_Line = _Header | _Frame | _Labels | _Piece | _Warning


def _profile(number: int, one: Input) -> Iterator[Decoded]:
    """Its pieces, at least one. Raises `CorruptProfile`."""
    if find_spec("memray") is None:
        raise CorruptProfile("a memray capture is read by memray itself: install flameduck[memray]")
    with tempfile.NamedTemporaryFile(prefix="flameduck-", suffix=".bin") as file:
        is_compressed = one.raw.startswith(LZ4_MAGIC)
        # memray itself passes over zeros at the end, up to a tenth of a capture: from the last to the first, with two
        # system calls each, every time that it goes over the file. What is compressed it takes as it is.
        file.write(one.raw if is_compressed else one.raw.rstrip(b"\0"))
        file.flush()
        reading, more = _Reading(name_reader(one)), False
        pace = COMPRESSED_BYTES_PER_CPU_SECOND if is_compressed else BYTES_PER_CPU_SECOND
        with _Process(file.name, MIN_CPU_SECONDS + len(one.raw) // pace) as process:
            for line in process.lines():
                if isinstance(line, _Piece):
                    yield Decoded(reading.batch(line), [Row(number, _NAME)], more, reading.take_warnings())
                    more = True
                else:
                    reading.take(line)
        if not more:
            yield Decoded(reading.batch(_NO_SAMPLES), [Row(number, _NAME)], False, reading.take_warnings())


class _Process:
    """The process that reads a file; leaving the `with` ends it."""

    def __init__(self, path: str, cpu_seconds: int) -> None:
        self._cpu_seconds = cpu_seconds
        limits = map(str, (MAX_MEMORY_BYTES, cpu_seconds, PIECE_SAMPLES, PIECE_FRAMES))
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
        while raw := stream.readline():
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
            yield self._piece(stream, line) if isinstance(line, _Samples) else line
        raise CorruptProfile(f"memray: {self._why()}")

    def _piece(self, stream: IO[bytes], said: _Samples) -> _Piece:
        """The columns behind the line of a piece. Raises `CorruptProfile` when they are cut short."""
        sizes = [8 * said.samples, 8 * said.samples, 32 * said.samples, 4 * said.frames]
        columns = [stream.read(size) for size in sizes]
        if sum(map(len, columns)) < sum(sizes):
            raise CorruptProfile(f"memray: {self._why()}")
        labels, lengths, values = (np.frombuffer(column, np.int64) for column in columns[:3])
        return _Piece(labels, lengths, values.reshape(-1, 4), np.frombuffer(columns[3], np.int32))

    def _why(self) -> str:
        """Why the process ended early."""
        assert self._process.stdout is not None
        # It does not end while what it prints is not taken.
        while self._process.stdout.read(1 << 20):
            pass
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


_NO_SAMPLES = _Piece(
    np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4), np.int64), np.zeros(0, np.int32)
)


class _Reading:
    """What is known of the profile so far."""

    def __init__(self, names: NameReader) -> None:
        self._names = names
        self._known: ProfileBuilder | None = None
        self._types = 0
        self._warnings: list[str] = []
        self._frames: list[int] = []
        self._labels: list[tuple[int, int, int, int]] = []
        self._label_counts: list[int] = []

    @property
    def _builder(self) -> ProfileBuilder:
        if self._known is None:
            raise CorruptProfile("memray: the capture has no header")
        return self._known

    def take_warnings(self) -> tuple[str, ...]:
        """Those since the last time."""
        found = tuple(self._warnings)
        self._warnings.clear()
        return found

    def take(self, line: _Header | _Frame | _Labels | _Warning) -> None:
        """Add a line. Raises `CorruptProfile` when the header is missing."""
        if isinstance(line, _Header):
            self._begin(line)
        elif isinstance(line, _Warning):
            self._warnings.append(line.text)
        elif isinstance(line, _Frame):
            self._frames.append(self._builder.frame(line.name, line.filename, max(line.line, 0)))
        else:
            self._add_labels(line)

    def batch(self, piece: _Piece) -> pa.RecordBatch:
        """Samples as a batch. Raises `CorruptProfile` when the header is missing, or they are not as they should be."""
        builder = self._builder
        _check_numbers(piece.labels, len(self._label_counts))
        _check_numbers(piece.frames, len(self._frames))
        _check_numbers(piece.lengths, len(piece.frames) + 1)
        if piece.lengths.sum() != len(piece.frames):
            raise CorruptProfile(_NOT_AS_PRINTED)
        return builder.batch_of(
            SampleColumns(
                offsets=offsets_of(piece.lengths),
                location=np.array(self._frames, np.int64)[piece.frames],
                values=piece.values[:, -self._types :],
                labels=self._label_columns(piece.labels),
            )
        )

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
        self._known = ProfileBuilder(header, self._names)

    def _add_labels(self, line: _Labels) -> None:
        if line.tid > _MAX_NUMBER:
            raise CorruptProfile(f"memray: tid {line.tid} does not fit 64 bits")
        text = self._builder.text
        labels = [(text("allocator"), text(line.allocator), 0, 0), (text("tid"), 0, line.tid, 0)]
        if line.thread:
            labels.append((text("thread"), text(line.thread), 0, 0))
        self._labels += labels
        self._label_counts.append(len(labels))

    def _label_columns(self, numbers: IntArray) -> LabelColumns:
        table = np.array(self._labels, np.int64).reshape(-1, 4)
        counts = np.array(self._label_counts, np.int64)
        rows = Ragged(np.arange(len(table)), offsets_of(counts)).take(numbers)
        columns = table[rows.values]
        return LabelColumns(
            rows.offsets.astype(np.int64), *(np.ascontiguousarray(columns[:, at]) for at in range(4))
        )


def _check_numbers(numbers: npt.NDArray[np.signedinteger], count: int) -> None:
    """Raises `CorruptProfile` unless all are numbers below `count`: memray may have spoilt its process."""
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < count:
        raise CorruptProfile(_NOT_AS_PRINTED)
