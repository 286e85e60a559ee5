"""What the frames of folded stacks say where they are more than names: function, file, line; process, thread.

A profiler's way to write them is a `Dialect`. What fits none of its patterns is a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .profile_builder import Label

IntArray = npt.NDArray[np.int64]

LINE = r"(?P<line>[0-9]{1,9})"
_TELLING_FRAMES = 4096


@dataclass(frozen=True)
class Dialect:
    """How a profiler writes frames.

    `patterns` have the groups `name`, `file`, `line`, some of them perhaps missing; the first that fits a whole
    frame is taken. A frame that begins with one of `label_starts` is given to `read_labels`, which says what labels
    it stands for; nothing means that it is a frame all the same.
    """

    patterns: Sequence[str]
    label_starts: Sequence[bytes]
    read_labels: Callable[[str], tuple[Label, ...]]

    def told_by(self, head: bytes, share: float) -> bool:
        """Whether at least such a share of the frames in a text of folded stacks is written so, labels included."""
        compiled = [re.compile(pattern.encode(), re.DOTALL) for pattern in self.patterns if LINE in pattern]
        stacks = [line.rpartition(b" ")[0] for line in head.split(b"\n")[:-1] or [head] if line[:1] != b"#"]
        frames = [frame for stack in stacks if stack for frame in stack.split(b";")][:_TELLING_FRAMES]
        good = sum(any(one.fullmatch(frame) for one in compiled) or self._is_label(frame) for frame in frames)
        return good > 0 and good >= share * len(frames)

    def _is_label(self, frame: bytes) -> bool:
        return frame.startswith(tuple(self.label_starts)) and bool(self.read_labels(frame.decode("latin-1")))


@dataclass(frozen=True)
class Frames:
    """Frames by number: name and file as bytes, line; `labels` of those that are none."""

    name: pa.Array
    filename: pa.Array
    line: IntArray
    labels: dict[int, tuple[Label, ...]]


def read_frames(frames: pa.Array, dialect: Dialect) -> Frames:
    """Distinct frames (bytes), all in one pass for each pattern."""
    name, filename = frames, pa.array([b""], pa.binary()).take(pa.array(np.zeros(len(frames), np.int64)))
    line = np.zeros(len(frames), np.int64)
    open_frames = np.ones(len(frames), np.bool_)
    for pattern in dialect.patterns:
        found = pc.extract_regex(frames, f"^(?s:{pattern})$")
        fits = open_frames & found.is_valid().to_numpy(zero_copy_only=False)
        open_frames &= ~fits
        groups = [found.type.field(number).name for number in range(found.type.num_fields)]
        mask = pa.array(fits)
        name = pc.if_else(mask, found.field("name"), name)
        if "file" in groups:
            filename = pc.if_else(mask, found.field("file"), filename)
        if "line" in groups:
            digits = pc.if_else(mask, found.field("line"), b"0").cast(pa.string())
            line = np.where(fits, digits.cast(pa.int64()).to_numpy(), line)
    return Frames(name, filename, line, _labels(frames, dialect))


def _labels(frames: pa.Array, dialect: Dialect) -> dict[int, tuple[Label, ...]]:
    found: dict[int, tuple[Label, ...]] = {}
    for start in dialect.label_starts:
        marks = pc.starts_with(frames, start).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(marks).tolist():
            labels = dialect.read_labels(frames[row].as_py().decode("utf-8", "surrogateescape"))
            if labels:
                found[row] = labels
    return found
