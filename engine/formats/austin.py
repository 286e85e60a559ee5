"""Austin's text: comments `# key: value`, then a line a sample, `P<pid>;T<interpreter>:<thread>;file:name:line… 10060`.

A sample ends in one metric, or in the mode `full` in three: microseconds, idle or not, bytes. A mode that measures
several things becomes several profiles.

Source: recordings of austin 3.7, and its README.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.errors import CorruptProfile
from . import HEAD_BYTES, Decoded, Failed, Input, Row, one_by_one
from .austin_metrics import MAX_DIGITS, Metrics, header_of, measures_of
from .folded_text import IntArray, SplitLines, split_pieces
from .frame_text import LINE, Dialect
from .framed_stacks import FramedStacks
from .names import name_reader
from .profile_builder import Label
from .text import is_text

_SAID = re.compile(rb"^# ([a-z_]{1,40}): ([^\r\n]{0,200})\r?$", re.MULTILINE)
_SAMPLE = re.compile(rb"^P[0-9]{1,10};T(?:[0-9]{1,10}:)?[0-9a-fA-F]{1,16}[; ]", re.MULTILINE)
_PROCESS = re.compile(r"P([0-9]{1,10})")
_THREAD = re.compile(r"T(?:([0-9]{1,10}):)?([0-9]{1,18})")
_TAIL_BYTES = 4096
_METRIC = rf"-?[0-9]{{1,{MAX_DIGITS}}}"


def thread_labels(pid: int, interpreter: int, tid: int) -> tuple[Label, ...]:
    """The labels of a sample; the main interpreter goes without saying."""
    more = (Label("interpreter", number=interpreter),) if interpreter else ()
    return Label("pid", number=pid), Label("tid", number=tid), *more


def _labels(frame: str) -> tuple[Label, ...]:
    if found := _PROCESS.fullmatch(frame):
        return (Label("pid", number=int(found[1])),)
    found = _THREAD.fullmatch(frame)
    if found is None:
        return ()
    return thread_labels(0, int(found[1] or 0), int(found[2]))[1:]


AUSTIN = Dialect(
    patterns=(
        rf"(?P<file>.*):(?P<name>[^:]*):{LINE}",
        # Kernel frames of austinp have no line; `:INVALID:` and `:GC:` stand for themselves.
        r"kernel:(?P<name>[^:]+):0?",
    ),
    label_starts=(b"P", b"T"),
    read_labels=_labels,
)


class Austin:
    """Text of austin, in any of its modes."""

    name = "austin"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it is text that begins with austin's comments, or with a process and a thread."""
        if not is_text(head):
            return False
        found = _SAMPLE.search(head)
        if found is None:
            return head.startswith(b"# austin: ")
        before = head[: found.start()]
        return all(line.startswith(b"#") for line in before.split(b"\n") if line.strip())

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile, or in the mode `full` three."""
        return one_by_one(inputs, lambda number, one: _Recording(number, one).profiles())


@dataclass(frozen=True)
class _Recording:
    """One input, by its number."""

    number: int
    input: Input

    def profiles(self) -> Iterator[Decoded]:
        """Every profile of it, each in pieces. Raises `InputError`."""
        raw = self.input.raw
        said = {
            key.decode(): value.decode("utf-8", "replace")
            for key, value in _SAID.findall(raw[:HEAD_BYTES]) + _SAID.findall(raw[-_TAIL_BYTES:])
        }
        mode = said.get("mode", "") or ("full" if self._has_three_metrics() else "wall")
        measures = measures_of(mode)
        for measure in measures:
            header = header_of(measure, said)
            part = measure.name.encode() if len(measures) > 1 else b""
            for count, lines in enumerate(split_pieces(raw)):
                stacks, metrics = _read(lines, 3 if mode == "full" else 1, mode == "memory")
                stacks, values = _summed(stacks, metrics.values(measure))
                batch = FramedStacks(header, stacks, values, AUSTIN).to_batch(name_reader(self.input))
                skipped = (f"{lines.skipped} lines without a metric were left out",) if lines.skipped else ()
                yield Decoded(batch, [Row(self.number, measure.name, part=part)], count > 0, skipped)

    def _has_three_metrics(self) -> bool:
        found = _SAMPLE.search(self.input.raw, 0, HEAD_BYTES)
        line = self.input.raw[found.start() :].split(b"\n", 1)[0] if found else b""
        return line.rpartition(b" ")[2].count(b",") == 2


def _read(lines: SplitLines, count: int, is_memory: bool) -> tuple[pa.Array, Metrics]:
    """Stacks and what was measured in each; comments among the lines are left out. Raises `CorruptProfile`."""
    sample = pc.invert(pc.starts_with(lines.stacks, "#"))
    stacks, texts = lines.stacks.filter(sample), lines.values.filter(sample)
    pattern = "^" + ",".join([_METRIC] * count) + "$"
    good = pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)
    if not good.all():
        first = int(np.flatnonzero(~good)[0])
        number = lines.numbers[sample.to_numpy(zero_copy_only=False)][first]
        shown = texts[first].as_py()[:40].decode("utf-8", "replace")
        expected = "one number" if count == 1 else f"{count} numbers"
        raise CorruptProfile(
            f"line {number}: metrics {shown!r} are not {expected} of up to {MAX_DIGITS} digits"
        )
    numbers = pc.split_pattern(texts, ",").values.cast(pa.string()).cast(pa.int64()).to_numpy()
    columns = numbers.reshape(-1, count).T
    none = np.zeros(len(stacks), np.int64)
    if count == 1:
        return stacks, Metrics(none, none, columns[0]) if is_memory else Metrics(columns[0], none, none)
    return stacks, Metrics(columns[0], np.minimum(np.abs(columns[1]), 1), columns[2])


def _summed(stacks: pa.Array, values: IntArray) -> tuple[pa.Array, IntArray]:
    """Equal stacks as one."""
    encoded = stacks.dictionary_encode()
    sums = np.zeros((len(encoded.dictionary), values.shape[1]), np.int64)
    np.add.at(sums, encoded.indices.to_numpy(), values)
    return encoded.dictionary, sums
