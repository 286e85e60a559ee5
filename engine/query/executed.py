"""Answers whose heavy part workers of an executor do: each reads some blocks of a plan, the results merge here.

What is to be read, which copies do not count, and how profiles weigh, is found out here; so any answer is what it would
be without workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

from ...schema.errors import Unavailable
from ...schema.partial import FunctionPartial, from_bytes, merge_function_partials, to_bytes
from ...schema.request import TreeQuery
from ..database import DuckDB
from ..execution import Death, Executor
from .opened import OpenBlock
from .overlay import Overlays
from .plan import BlockScan, Plan
from .source import BlockSource, Weights
from .visible import Hidden, VisibleBlock

if TYPE_CHECKING:
    from .snapshot import Snapshot

Value = TypeVar("Value")
Result = TypeVar("Result")

_MERGED_AT_A_TIME = 8


class Place(Protocol):
    """A store that a worker can open. Picklable."""

    def snapshot(self, ulids: Iterable[str], hidden: Mapping[str, Hidden]) -> Snapshot:
        """Some of its blocks, with profiles of some hidden. Raises `StorageError` or `Unavailable`."""
        ...


@dataclass(frozen=True)
class PieceSize:
    """How much of a plan one worker reads at a time, at most; a block is never cut.

    A piece is worth its way: sending one there and a call tree back takes about what adding up a million samples does.
    """

    samples: int = 8_000_000
    blocks: int = 32


@dataclass(frozen=True)
class Piece:
    """Some blocks of a plan, for a worker to read: with `weights` of these blocks alone, and what is `hidden` of them."""

    place: Place
    plan: Plan
    weights: Weights
    hidden: Mapping[str, Hidden]

    def snapshot(self) -> Snapshot:
        """The blocks, open."""
        return self.place.snapshot([scan.ulid for scan in self.plan.scans], self.hidden)


@dataclass(frozen=True)
class Elsewhere:
    """Who reads blocks in place of this process. Safe for several threads: one question has the workers at a time."""

    executor: Executor
    place: Place
    size: PieceSize = field(default_factory=PieceSize)
    lock: Lock = field(default_factory=Lock, compare=False)

    def pieces(self, blocks: Mapping[str, OpenBlock], plan: Plan, weights: Weights) -> Iterator[Piece]:
        """The plan, cut: blocks of one piece are neighbours in time, which have most in common."""
        for scans in self._cut(blocks, plan.scans):
            here = [(scan.ulid, blocks[scan.ulid]) for scan in scans]
            hidden = {
                ulid: Hidden(block.key, block.hidden)
                for ulid, block in here
                if isinstance(block, VisibleBlock)
            }
            yield Piece(self.place, replace(plan, scans=scans), _of_blocks(weights, scans), hidden)

    def _cut(
        self, blocks: Mapping[str, OpenBlock], scans: Sequence[BlockScan]
    ) -> Iterator[tuple[BlockScan, ...]]:
        group: list[BlockScan] = []
        samples = 0
        for scan in scans:
            here = blocks[scan.ulid].meta.samples
            if group and (samples + here > self.size.samples or len(group) >= self.size.blocks):
                yield tuple(group)
                group, samples = [], 0
            group.append(scan)
            samples += here
        if group:
            yield tuple(group)

    def results(self, task: Callable[[Value], Result], items: Iterable[Value]) -> Iterator[Result]:
        """What a task makes of each, in their order. Raises what it raises, and `Unavailable` if workers die of it."""
        died: Callable[[Value, Death], Result] = _died
        with self.lock:
            yield from self.executor.map(task, items, died)


@dataclass(frozen=True)
class TreePiece:
    """A call tree to be made of a piece."""

    piece: Piece
    tree: TreeQuery


class ExecutedSource(BlockSource):
    """Blocks whose samples workers add up."""

    def __init__(
        self,
        blocks: Mapping[str, OpenBlock],
        database: Callable[[], DuckDB],
        overlays: Overlays,
        elsewhere: Elsewhere,
    ) -> None:
        super().__init__(blocks, database, overlays)
        self._elsewhere = elsewhere

    def aggregate(self, plan: Plan, tree: TreeQuery, weights: Weights) -> FunctionPartial:
        """The call tree of the plan's samples, named and filtered as `tree` says."""
        pieces = (TreePiece(piece, tree) for piece in self._elsewhere.pieces(self._blocks, plan, weights))
        merged: list[FunctionPartial] = []
        for data in self._elsewhere.results(tree_of_piece, pieces):
            partial = from_bytes(data)
            assert isinstance(partial, FunctionPartial)
            merged.append(partial)
            if len(merged) == _MERGED_AT_A_TIME:
                merged = [merge_function_partials(merged)]
        return merge_function_partials(merged)


def tree_of_piece(asked: TreePiece) -> bytes:
    """The call tree of a piece, as bytes: what a worker does."""
    piece = asked.piece
    return to_bytes(piece.snapshot().source.aggregate(piece.plan, asked.tree, piece.weights))


def _of_blocks(weights: Weights, scans: Sequence[BlockScan]) -> Weights:
    """What weights say of some blocks."""
    ulids = {scan.ulid for scan in scans}

    def of(known: Mapping[str, Value]) -> dict[str, Value]:
        return {ulid: value for ulid, value in known.items() if ulid in ulids}

    return replace(
        weights,
        weighted=None if weights.weighted is None else of(weights.weighted),
        excluded=of(weights.excluded),
        given=None if weights.given is None else of(weights.given),
    )


def _died(item: object, death: Death) -> NoReturn:
    how = f"were at it for more than {death.limit_s:g} s" if death.limit_s else "died, each time it was tried"
    raise Unavailable(f"a part of this question cannot be answered: the workers {how}")
