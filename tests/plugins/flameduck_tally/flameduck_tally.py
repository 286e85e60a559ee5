"""Tallies: a line `tally`, then a stack a line, `12 main > work > read`, root first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from flameduck.engine.formats import Decoded, Failed, Input, Row
from flameduck.engine.formats.names import name_reader
from flameduck.engine.formats.profile_builder import ProfileBuilder
from flameduck.engine.formats.profile_columns import ProfileHeader
from flameduck.engine.query.export import Export
from flameduck.schema.errors import CorruptProfile, InputError

HEADER = ProfileHeader(sample_types=[("samples", "count")])


class Tally:
    """The reader."""

    name = "tally"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether bytes that begin so are a tally."""
        return head.startswith(b"tally\n")

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile; a bad one fails alone."""
        for number, one in enumerate(inputs):
            try:
                builder = read(one)
                yield Decoded(builder.to_batch(), [Row(number, name="process_cpu")])
            except InputError as error:
                yield Failed(number, str(error))


def read(one: Input) -> ProfileBuilder:
    """The profile. Raises `CorruptProfile` naming the line."""
    builder = ProfileBuilder(HEADER, name_reader(one))
    lines = one.raw.decode("utf-8", "surrogateescape").splitlines()
    for number, line in enumerate(lines[1:], 2):
        count, _, stack = line.partition(" ")
        if not count.isdecimal():
            raise CorruptProfile(f"line {number}: {count[:20]!r} is no count")
        leaf_first = [builder.frame(name) for name in reversed(stack.split(" > "))]
        builder.add(leaf_first, [int(count)])
    return builder


def write_tally(export: Export) -> bytes:
    """The writer: what the reader reads."""
    tree = export.tree
    names, parents = tree.names.to_pylist(), tree.trie.parent.tolist()
    symbols, own = tree.trie.symbol.tolist(), tree.values["self"]
    lines = ["tally"]
    for node in np.flatnonzero(own).tolist():
        stack, above = [], node
        while above:
            stack.append(names[symbols[above]])
            above = parents[above]
        lines.append(f"{own[node]} {' > '.join(reversed(stack))}")
    return "\n".join([*lines, ""]).encode()
