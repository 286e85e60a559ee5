"""`trie` and `tree`: the uploads of Pyroscope's agents from before they sent pprof, `/ingest?format=trie` or `tree`.

Nothing in the bytes says what they are, so only `--input-format` or the request can. What the values measure is
said by the name of the application (`app_names`). Source: Pyroscope's `/ingest` API, as its server reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ...schema.errors import InputError, LimitExceeded
from . import Decoded, Failed, Input, Row
from .app_names import meaning_of
from .names import name_reader
from .node_stream import NO_LIMITS, NodeLimits, read_nodes
from .stack_tree import ROOT, StackTree

PUSHED_TREE = NodeLimits(name_bytes=65_535, children=16_000)
"""What a Pyroscope server takes of a pushed tree, by default: its limits on symbols and on samples."""

MAX_NAME_BYTES = 1 << 20
REPEATED_BYTES = 64 << 20
REPEATED_PER_BYTE = 8
"""In a trie the beginning of a frame's name stands once for many; written out, they may take so much in all."""


class Trie:
    """A trie of folded stacks by their bytes: a node continues the text of its parent, `main;re` + `ad`."""

    name = "trie"

    def matches(self, head: bytes, filename: str) -> bool:
        """Never: the bytes do not say."""
        return False

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile."""
        for number, one in enumerate(inputs):
            yield from _decode(number, one, _read_trie)


class Tree:
    """A tree of frames, which begins with a root without name."""

    name = "tree"

    def matches(self, head: bytes, filename: str) -> bool:
        """Never: the bytes do not say."""
        return False

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile."""
        for number, one in enumerate(inputs):
            yield from _decode(number, one, _read_tree)


def _decode(
    number: int, one: Input, read: Callable[[Input], tuple[StackTree, int]]
) -> Iterator[Decoded | Failed]:
    try:
        meaning = meaning_of(one)
        tree, dropped = read(one)
        warnings = (
            (f"the root's own value {dropped} belongs to no stack and was left out",) if dropped else ()
        )
        row = Row(number, meaning.name, meaning.labels)
        for count, piece in enumerate(tree.pieces(meaning, len(one.raw))):
            yield Decoded(piece.to_batch(name_reader(one)), [row], count > 0, () if count else warnings)
    except InputError as error:
        yield Failed(number, str(error))


def _read_tree(one: Input) -> tuple[StackTree, int]:
    """The tree, and the value of its root. A `;` in a name separates frames, as it does on a server."""
    tree = StackTree()
    path = [ROOT]
    dropped = 0
    for depth, name, value in read_nodes(one.raw, PUSHED_TREE if one.rules == "pyroscope" else NO_LIMITS):
        del path[depth + 1 :]
        node = path[-1]
        # The first node is the root, which is no frame unless it has a name.
        if depth or name:
            for frame in name.split(b";"):
                node = tree.child(node, frame)
        path.append(node)
        if value and node == ROOT:
            dropped = value
        elif value:
            tree.add_stack(node, value)
    return tree, dropped


def _read_trie(one: Input) -> tuple[StackTree, int]:
    tree = StackTree()
    # Of each node on the way: the frame that its text has left behind, and the part of a name that it ends in.
    path = [(ROOT, b"")]
    repeated = 0
    limit = REPEATED_BYTES + REPEATED_PER_BYTE * len(one.raw)
    for depth, text, value in read_nodes(one.raw):
        del path[depth + 1 :]
        node, begun = path[-1]
        repeated += len(begun)
        if len(begun) + len(text) > MAX_NAME_BYTES or repeated > limit:
            raise LimitExceeded(
                f"the names of frames are too long: limits are {MAX_NAME_BYTES} bytes for the texts of a node "
                f"and {limit} bytes for what they repeat"
            )
        *ended, begun = (begun + text).split(b";")
        for frame in ended:
            node = tree.child(node, frame)
        path.append((node, begun))
        if value:
            tree.add_stack(tree.child(node, begun), value)
    return tree, 0
