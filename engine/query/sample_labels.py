"""Labels of stored samples: their label sets, and labels that stand for span and trace ids which came without."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema import identity, profile
from .opened import OpenBlock

IntArray = npt.NDArray[np.int64]


def label_columns(block: OpenBlock) -> list[str]:
    """The columns of a block's samples that `labels_of` reads."""
    return list(block.meta.sample_extras)


def labels_of(block: OpenBlock, samples: pa.Table) -> tuple[IntArray, pa.Table]:
    """The label set of each sample as a row of a table of schema `profile.LABELSETS`; -1: none.

    Profiles stored under the pyroscope rules keep ids and no label sets; they get labels `trace_id` and `span_id`.
    """
    code = np.full(len(samples), -1)
    sets = profile.LABELSETS.empty_table()
    if "labelset" in samples.column_names:
        code = pc.fill_null(samples.column("labelset").cast(pa.int64()), -1).to_numpy().copy()
        sets = block.block.table("labelsets", ["labelset_id", "labels"]).cast(profile.LABELSETS)
    bare = np.flatnonzero(code < 0)
    if len(bare) and {"span_id", "trace_id"} & set(samples.column_names):
        made, made_code = _of_ids(samples.take(pa.array(bare)))
        code[bare] = np.where(made_code < 0, -1, made_code + len(sets))
        sets = pa.concat_tables([sets, made])
    return code, sets


def _of_ids(samples: pa.Table) -> tuple[pa.Table, IntArray]:
    """Label sets of the ids of some samples, and which is whose; -1 where there is no id."""
    none = [None] * len(samples)
    spans, traces = (
        samples.column(name).to_pylist() if name in samples.column_names else none
        for name in ("span_id", "trace_id")
    )
    known: dict[tuple[int | None, bytes | None], int] = {(None, None): -1, (0, None): -1}
    codes = [known.setdefault(ids, len(known) - 2) for ids in zip(spans, traces, strict=True)]
    sets = [_labels(span, trace) for span, trace in list(known)[2:]]
    ids = [_labelset_id(labels) for labels in sets]
    rows = [[{"key": key, "str": text, "num": 0, "unit": ""} for key, text in labels] for labels in sets]
    return pa.table([pa.array(ids, pa.uint64()), rows], schema=profile.LABELSETS), np.array(codes, np.int64)


def _labels(span: int | None, trace: bytes | None) -> list[tuple[str, str]]:
    labels = [("span_id", span.to_bytes(8, "little").hex())] if span else []
    return labels + ([("trace_id", trace.hex())] if trace is not None else [])


def _labelset_id(labels: list[tuple[str, str]]) -> int:
    """The id that normalising gives the same labels."""
    keys, texts, units = (
        identity.hash_texts(pa.array(column, pa.string()))
        for column in ([key for key, _ in labels], [text for _, text in labels], [""] * len(labels))
    )
    each = identity.combine(keys, texts, np.zeros(len(labels), np.uint64), units)
    count = np.array([len(labels)], np.uint64)
    return int(identity.combine(each.sum(dtype=np.uint64, keepdims=True), count)[0])
