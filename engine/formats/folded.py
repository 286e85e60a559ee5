"""Folded stacks: one line a stack, frames root first joined by `;`, a space, a count. And `lines`: no counts.

Empty lines are passed over, and so are comments (`# …`) before the first stack. A long text is read in pieces,
each of which becomes more of the same profile, so that files of any length fit in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow.compute as pc

from ...schema.errors import CorruptProfile, InputError
from ..trie import Ragged
from . import HEAD_BYTES, Decoded, Failed, Input, Row
from .app_names import Meaning, meaning_of
from .folded_text import Piece, read_pieces
from .names import name_reader
from .stack_batch import StackProfile
from .text import is_json, is_text

_COUNTED = re.compile(rb".* -?[0-9]{1,19}\s*", re.DOTALL)
_MOSTLY = 0.75
_MAX_VALUE = 2.0**63


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


def _decode(number: int, one: Input, counted: bool) -> Iterator[Decoded | Failed]:
    try:
        meaning = meaning_of(one)
        for count, piece in enumerate(read_pieces(one.raw, counted)):
            skipped = (f"{piece.skipped} lines without a count were left out",) if piece.skipped else ()
            batch = _profile(piece, meaning).to_batch(name_reader(one))
            yield Decoded(batch, [Row(number, meaning.name, meaning.labels)], count > 0, skipped)
    except InputError as error:
        yield Failed(number, str(error))


def _profile(piece: Piece, meaning: Meaning) -> StackProfile:
    """The lines of a piece as samples. Raises `CorruptProfile` when a value does not fit."""
    lists = pc.split_pattern(piece.stacks, ";")
    frames = lists.values.dictionary_encode()
    root_first = Ragged(frames.indices.to_numpy().astype(np.int64), lists.offsets.to_numpy().astype(np.int64))
    if meaning.scale > 1 and np.abs(piece.counts.astype(np.float64)).sum() * meaning.scale >= _MAX_VALUE:
        raise CorruptProfile(f"the counts, times {meaning.scale}, do not fit 64 bits")
    return StackProfile(
        header=meaning.header,
        names=frames.dictionary,
        frames=root_first.reversed().values,
        offsets=root_first.offsets,
        values=piece.counts * meaning.scale,
    )
