"""Folded stacks: one line a stack, frames root first joined by `;`, a space, a count. And two relatives of old agents.

`lines` has no counts; `groups` is folded stacks as Pyroscope's server reads them, line by line. Only
`--input-format` names these.

Empty lines are passed over, and so are comments (`# …`) before the first stack. A long text is read in pieces,
each of which becomes more of the same profile, so that files of any length fit in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow.compute as pc

from ...schema.errors import InputError
from ..trie import Ragged
from . import HEAD_BYTES, Decoded, Failed, Input, Row
from .app_names import Meaning, meaning_of
from .folded_text import LENIENT, LineRules, Piece, end_of_lines, read_pieces
from .names import name_reader
from .stack_batch import StackProfile
from .text import is_json, is_text

_COUNTED = re.compile(rb".* -?[0-9]{1,19}\s*", re.DOTALL)
_MOSTLY = 0.75


SERVER_LINES = LineRules(comments=False, trailing=b"\r", most_trailing=1, plus=True, longest=(64 << 10) - 1)
"""How Pyroscope's server reads pushed stacks: a line counts as it is, and a very long one ends the text."""


class Folded:
    """`main;work;read 12`."""

    name = "folded"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it is text of which most lines end in a space and an integer."""
        if not is_text(head) or is_json(head):
            return False
        lines = head.split(b"\n")
        whole = lines[:-1] if len(head) == HEAD_BYTES else lines
        telling = [line for line in whole if line.strip() and not line.startswith(b"#")]
        counted = sum(_COUNTED.fullmatch(line) is not None for line in telling)
        return counted > 0 and counted >= _MOSTLY * len(telling)

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile."""
        for number, one in enumerate(inputs):
            yield from _decode(number, one, counted=True)


class Groups:
    """Folded stacks to the letter: no comments, nothing after the count, nothing read from a line of 64 KiB on."""

    name = "groups"

    def matches(self, head: bytes, filename: str) -> bool:
        """Never: what looks so is read as `folded`."""
        return False

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile."""
        for number, one in enumerate(inputs):
            yield from _decode(number, one, counted=True, rules=SERVER_LINES)


class Lines:
    """One line a sample, without a count."""

    name = "lines"

    def matches(self, head: bytes, filename: str) -> bool:
        """Never: any text would do."""
        return False

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile."""
        for number, one in enumerate(inputs):
            yield from _decode(number, one, counted=False)


def _decode(number: int, one: Input, counted: bool, rules: LineRules = LENIENT) -> Iterator[Decoded | Failed]:
    try:
        meaning = meaning_of(one)
        warnings = _long_line(one.raw, rules)
        for count, piece in enumerate(read_pieces(one.raw, counted, rules)):
            if piece.skipped:
                warnings += (f"{piece.skipped} lines without a count were left out",)
            batch = _profile(piece, meaning).to_batch(name_reader(one))
            yield Decoded(batch, [Row(number, meaning.name, meaning.labels)], count > 0, warnings)
            warnings = ()
    except InputError as error:
        yield Failed(number, str(error))


def _long_line(raw: bytes, rules: LineRules) -> tuple[str, ...]:
    end = end_of_lines(raw, rules.longest)
    if end == len(raw):
        return ()
    number = raw.count(b"\n", 0, end) + 1
    return (f"line {number} is longer than {rules.longest} bytes: it and what follows were left out",)


def _profile(piece: Piece, meaning: Meaning) -> StackProfile:
    """The lines of a piece as samples. Raises `CorruptProfile` when a value does not fit."""
    lists = pc.split_pattern(piece.stacks, ";")
    frames = lists.values.dictionary_encode()
    root_first = Ragged(frames.indices.to_numpy().astype(np.int64), lists.offsets.to_numpy().astype(np.int64))
    return StackProfile(
        header=meaning.header,
        names=frames.dictionary,
        frames=root_first.reversed().values,
        offsets=root_first.offsets,
        values=meaning.values(piece.counts),
    )
