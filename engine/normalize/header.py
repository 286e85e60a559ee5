"""What a profile says once: its types, times, comments and the like, with strings as texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from .columns import BadProfiles, Column, IntArray, refuse
from .context import ProfileContext
from .strings import Strings

ValueType = tuple[str, str]
"""A type and its unit."""

_TEXTS = ("default_sample_type", "drop_frames", "keep_frames", "doc_url")


@dataclass(frozen=True)
class Headers:
    """One entry a profile; `plain` holds what goes into the profiles table as it is."""

    sample_types: Sequence[Sequence[ValueType]]
    period_types: Sequence[ValueType]
    ts: IntArray
    plain: dict[str, pa.Array]

    @property
    def type_counts(self) -> IntArray:
        """Sample types of each profile."""
        return np.fromiter(map(len, self.sample_types), np.int64, len(self.sample_types))


def read_headers(batch: pa.RecordBatch, strings: Strings, contexts: Sequence[ProfileContext]) -> Headers:
    """The headers of a batch. Raises `BadProfiles`."""
    plain = {name: strings.texts(_texts(batch, strings, name)) for name in _TEXTS}
    plain["period"], plain["duration_ns"] = batch.column("period"), batch.column("duration_nanos")
    comments = Column.of(batch.column("comment"))
    spoken = strings.texts(strings.resolve(comments.numbers(), comments.lengths, "comment"))
    plain["comments"] = pa.ListArray.from_arrays(pa.array(comments.offsets, pa.int32()), spoken)
    own_ts = batch.column("time_nanos").to_numpy()
    stamps, least = (
        np.array([getattr(context, name) for context in contexts], np.int64)
        for name in ("time_ns", "least_time_ns")
    )
    ts = np.where(own_ts >= least, own_ts, stamps)
    refuse(ts <= 0, "has no time: time_nanos is not set, and no other time is given")
    return Headers(_sample_types(batch, strings), _period_types(batch, strings), ts, plain)


def _texts(batch: pa.RecordBatch, strings: Strings, name: str) -> IntArray:
    each = np.ones(batch.num_rows, np.int64)
    return strings.resolve(batch.column(name).to_numpy(), each, name)


def _sample_types(batch: pa.RecordBatch, strings: Strings) -> list[list[ValueType]]:
    column = Column.of(batch.column("sample_type"))
    refuse(column.lengths == 0, "sample_type is empty: samples have no values")
    refuse(column.lengths > 0xFFFF, "sample_type has too many entries")
    texts = [
        strings.texts(
            strings.resolve(column.numbers(name), column.lengths, f"sample_type.{name}")
        ).to_pylist()
        for name in ("type", "unit")
    ]
    flat = list(zip(*texts, strict=True))
    bounds = column.offsets.tolist()
    types = [flat[start:stop] for start, stop in pairwise(bounds)]
    twice = {n: _repeated(kinds) for n, kinds in enumerate(types) if len(set(kinds)) < len(kinds)}
    if twice:
        raise BadProfiles({n: f"sample_type {kind[0]}/{kind[1]} is there twice" for n, kind in twice.items()})
    return types


def _repeated(kinds: Sequence[ValueType]) -> ValueType:
    return next(kind for number, kind in enumerate(kinds) if kind in kinds[:number])


def _period_types(batch: pa.RecordBatch, strings: Strings) -> list[ValueType]:
    """Empty texts where a profile has none."""
    column = batch.column("period_type")
    each = np.ones(batch.num_rows, np.int64)
    absent = column.is_null().to_numpy(zero_copy_only=False)
    texts = []
    for name in ("type", "unit"):
        index = np.where(absent, 0, column.field(name).fill_null(0).to_numpy(zero_copy_only=False))
        texts.append(strings.texts(strings.resolve(index, each, f"period_type.{name}")).to_pylist())
    return list(zip(*texts, strict=True))
