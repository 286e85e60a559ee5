"""The samples of one kind in one JFR chunk as a decoded batch: equal ones summed, labels made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ...schema.profile import Rules
from ..trie import Ragged, offsets_of
from .jfr_columns import IntArray
from .jfr_events import ABOUT, CONTEXT, STATE, THREAD, Events, groups_of, sums_of
from .jfr_frames import Frames
from .jfr_labels import ContextLabels, Pairs
from .jfr_pools import Pools
from .profile_columns import (
    FunctionColumns,
    LabelColumns,
    LocationColumns,
    ProfileColumns,
    ProfileHeader,
    SampleColumns,
)


@dataclass(frozen=True)
class Labelling:
    """What labels are made of. Without a snapshot Pyroscope makes none; the thread and such are labels of ours."""

    pools: Pools
    rules: Rules
    snapshot: ContextLabels | None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of events that matter."""
        if self.rules == "verbatim":
            return (*CONTEXT, THREAD, ABOUT, STATE)
        return () if self.snapshot is None else CONTEXT

    def pairs(self, row: dict[str, int]) -> Pairs:
        """Names and values of the labels of samples with such columns (unsigned)."""
        return tuple((name, value) for name, value in self._pairs(row) if name and value)

    def _pairs(self, row: dict[str, int]) -> Iterator[tuple[str, str]]:
        if self.snapshot is not None:
            yield from self.snapshot.pairs(_signed(row.get("contextId", 0)))
        if row.get("spanId"):
            yield "profile_id", f"{row['spanId']:016x}"
        if row.get("spanName") and self.snapshot is not None:
            yield "span_name", self.snapshot.text(_signed(row["spanName"]))
        high, low = row.get("traceIdHi", 0), row.get("traceIdLo", 0)
        if high or low:
            yield "trace_id", f"{high:016x}{low:016x}"
        if THREAD in row:
            yield "thread", self.pools.thread_name(row[THREAD])
        if row.get(ABOUT):
            yield "class", self.pools.class_name(row[ABOUT]) or ""
        if STATE in row:
            yield "state", self.pools.state(row[STATE])


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def to_batch(
    header: ProfileHeader, events: Events, rows: IntArray, frames: Frames, labelling: Labelling
) -> pa.RecordBatch:
    """One profile; `rows` says which stack of `frames` each event has. Raises `CorruptProfile`."""
    names = [name for name in labelling.columns if name in events.about]
    labelled, firsts = groups_of([events.about[name] for name in names], len(rows))
    numbers = [events.about[name][firsts].view(np.uint64).tolist() for name in names]
    pairs = [labelling.pairs(dict(zip(names, one, strict=True))) for one in zip(*numbers, strict=True)]
    sample, firsts = groups_of([rows, labelled], len(rows))
    texts: dict[str, int] = {"": 0}
    stacks = frames.stacks.take(rows[firsts])
    used, location = np.unique(stacks.values, return_inverse=True)
    functions, line_function = np.unique(frames.function[used], return_inverse=True)
    shown = np.array([_number(texts, frames.names[one]) for one in functions.tolist()], np.int64)
    labels = _labels(pairs, labelled[firsts], texts) if any(pairs) else None
    zeros, none = np.zeros(len(used), np.int64), np.zeros(len(functions), np.int64)
    return ProfileColumns(
        header=header,
        texts=pa.array([_encoded(text) for text in texts], pa.binary()),
        samples=SampleColumns(
            stacks.offsets, location + 1, sums_of(events.values, sample, len(firsts)), labels
        ),
        locations=LocationColumns(
            zeros, zeros, np.arange(len(used) + 1), line_function + 1, frames.line[used], zeros
        ),
        functions=FunctionColumns(shown, shown, none, none),
    ).to_batch()


def _number(texts: dict[str, int], text: str) -> int:
    return texts.setdefault(text, len(texts))


def _encoded(text: str) -> bytes:
    """UTF-8; bytes that were none as they were, and half a surrogate pair for the normaliser to replace."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _labels(pairs: Sequence[Pairs], rows: IntArray, texts: dict[str, int]) -> LabelColumns:
    """Labels of samples; `rows` says which of `pairs` each has."""
    offsets = offsets_of(np.array([len(one) for one in pairs], np.int64))
    keys = np.array([_number(texts, name) for one in pairs for name, _ in one], np.int64)
    values = np.array([_number(texts, value) for one in pairs for _, value in one], np.int64)
    key, text = (Ragged(column, offsets).take(rows) for column in (keys, values))
    zeros = np.zeros(len(key.values), np.int64)
    return LabelColumns(key.offsets, key.values, text.values, zeros, zeros)
