"""Folded stacks of profilers of interpreted languages, whose frames name files and lines.

py-spy writes `name (file:line)`, rbspy `name - file:line`, and Python's own sampling profiler (3.15's
`profiling.sampling`, called Tachyon) `file:name:line`. With `--subprocesses` and `--threads` py-spy begins a stack
with frames like `process 12:"python app.py"` and `thread (34): MainThread`; Tachyon with `tid:34`.

Sources: recordings of py-spy 0.4; rbspy's `StackFrame` display; CPython's Lib/profiling/sampling.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ...schema.errors import InputError
from . import Decoded, Failed, Input, Row
from .app_names import meaning_of
from .folded import Folded
from .folded_text import read_pieces
from .frame_text import LINE, Dialect
from .framed_stacks import FramedStacks
from .names import name_reader
from .profile_builder import Label

MAX_ID = 2**63 - 1

_PROCESS = re.compile(r'process ([0-9]{1,10}):"(.*)"', re.DOTALL)
_THREAD = re.compile(r"thread \((0[xX][0-9a-fA-F]{1,16}|[0-9]{1,19})\)(?:: (.*))?", re.DOTALL)
_TASK = re.compile(r"tid:([0-9]{1,19})")


def _spy_labels(frame: str) -> tuple[Label, ...]:
    if found := _PROCESS.fullmatch(frame):
        return Label("pid", number=int(found[1])), Label("process", found[2])
    found = _THREAD.fullmatch(frame)
    if found is None or int(found[1], 0 if "x" in found[1].lower() else 10) > MAX_ID:
        return ()
    number = Label("tid", number=int(found[1], 0 if "x" in found[1].lower() else 10))
    return (number, Label("thread", found[2])) if found[2] else (number,)


def _task_labels(frame: str) -> tuple[Label, ...]:
    found = _TASK.fullmatch(frame)
    if found is None or int(found[1]) > MAX_ID:
        return ()
    return (Label("tid", number=int(found[1])),)


FILE_NAME_LINE = rf"(?P<file>.*):(?P<name>[^:]*):{LINE}"
"""`/app/main.py:serve:12`; a file may hold colons, a name does not."""

PY_SPY = Dialect(
    patterns=(
        # Names of C++ may hold ` (`, and so may files of Windows; a file without parentheses is the likelier.
        rf"(?P<name>.+) \((?P<file>[^()]+):{LINE}\)",
        rf"(?P<name>.+?) \((?P<file>.+):{LINE}\)",
        rf"(?P<name>.+?) - (?P<file>.+):{LINE}",
        r"(?P<name>.+) - \(unknown\)",
        # Native frames without symbols of lines: `sqlite3_step (libsqlite3.so.0)`.
        r"(?P<name>.+) \((?P<file>[^()]+\.(?:py|pyx|pxd|rb|c|cc|cpp|cxx|h|hpp|rs|so(?:\.[0-9.]+)?|dylib|dll|pyd))\)",
    ),
    label_starts=(b"process ", b"thread ("),
    read_labels=_spy_labels,
)
TACHYON = Dialect(patterns=(FILE_NAME_LINE,), label_starts=(b"tid:",), read_labels=_task_labels)

_MOST = 0.5


class PySpy:
    """`<module> (app.py:9);serve (app.py:5) 12`, by py-spy; or `<main> - app.rb:9;serve - app.rb:5 12`, by rbspy."""

    name = "py-spy"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it is folded text of which most frames end in a file and a line."""
        return Folded().matches(head, filename) and PY_SPY.told_by(head, _MOST)

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile. Under the pyroscope rules it is what `folded` makes of it, names as they are."""
        for number, one in enumerate(inputs):
            if one.rules == "pyroscope":
                yield from _as_folded(number, one)
            else:
                yield from _decode(number, one, PY_SPY)


class Tachyon:
    """`tid:12;app.py:<module>:9;app.py:serve:5 12`, by `python -m profiling.sampling run --collapsed`."""

    name = "tachyon"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it is folded text whose stacks begin with a thread."""
        return head.startswith(b"tid:") and Folded().matches(head, filename) and TACHYON.told_by(head, _MOST)

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile."""
        for number, one in enumerate(inputs):
            yield from _decode(number, one, TACHYON)


def _as_folded(number: int, one: Input) -> Iterator[Decoded | Failed]:
    for found in Folded().decode([one]):
        if isinstance(found, Failed):
            yield Failed(number, found.reason)
        else:
            (row,) = found.rows
            yield Decoded(found.batch, [Row(number, row.name, row.labels)], found.continues, found.warnings)


def _decode(number: int, one: Input, dialect: Dialect) -> Iterator[Decoded | Failed]:
    try:
        meaning = meaning_of(one)
        for count, piece in enumerate(read_pieces(one.raw, counted=True)):
            skipped = (f"{piece.skipped} lines without a count were left out",) if piece.skipped else ()
            values = piece.counts.reshape(-1, 1)
            stacks = FramedStacks(meaning.header, piece.stacks, values, dialect)
            batch = stacks.to_batch(name_reader(one))
            yield Decoded(batch, [Row(number, meaning.name, meaning.labels)], count > 0, skipped)
    except InputError as error:
        yield Failed(number, str(error))
