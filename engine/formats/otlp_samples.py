"""The samples of OTLP profiles: whose they are, what they are worth and how they are labelled, under both rule sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.errors import CorruptProfile
from ...schema.labels import SERVICE_NAME
from ..trie import Ragged, offsets_of
from . import Input
from .otlp_meaning import SERVICE, Meaning, meaning_of, service_of
from .otlp_strings import Budget
from .otlp_tables import (
    BoolArray,
    Dictionary,
    IntArray,
    Piece,
    SampleTable,
    as_pyroscope_text,
    as_text,
    check_indices,
)
from .otlp_texts import Texts
from .profile_columns import LabelColumns

_SAFE_SUM = 2.0**62
TRACE, SPAN = "trace_id", "span_id"


@dataclass(frozen=True)
class Rows:
    """Decoded profiles: what each means and is called, and their samples, in order, with a value each."""

    meanings: Sequence[Meaning]
    parts: Sequence[bytes]
    samples: SampleTable
    values: IntArray


def rows_of(piece: Piece, dictionary: Dictionary, one: Input, budget: Budget) -> Rows:
    """The profiles of a piece. Raises `CorruptProfile`, and `LimitExceeded` when they say too much."""
    meanings = []
    for head in piece.heads:
        meaning = meaning_of(head, dictionary, one)
        budget.spend(meaning.characters)
        meanings.append(meaning)
    if one.rules == "pyroscope":
        return _split(piece, meanings, dictionary)
    parts = [b"%d" % (piece.first + number) for number in range(len(meanings))]
    samples = piece.samples
    check_indices(samples.attributes.values, len(dictionary.attributes.key), *_ATTRIBUTE_INDEX)
    return Rows(meanings, parts, samples, _values(samples, meanings))


_ATTRIBUTE_INDEX = ("sample.attribute_indices", "attribute_table")


def _split(piece: Piece, meanings: Sequence[Meaning], dictionary: Dictionary) -> Rows:
    """A profile for each service that the samples name. One with an attribute that is not there vanishes."""
    samples = piece.samples
    table = dictionary.attributes
    strings = len(dictionary.strings)
    index = samples.attributes.values
    bad = index.view(np.uint64) >= np.uint64(len(table.key))
    key = table.key[np.where(bad, 0, index)] if len(table.key) else np.zeros(len(index), np.int64)
    bad |= key.view(np.uint64) >= np.uint64(strings)
    owner = np.repeat(np.arange(len(samples)), samples.attributes.lengths)
    lost = np.zeros(len(meanings), np.bool_)
    lost[samples.profile[owner[bad]]] = True
    is_service = ~bad & np.isin(key, _places_of(SERVICE, dictionary))
    services, known = [""], {"": 0}
    service = np.zeros(len(samples), np.int64)
    for row, attribute in zip(
        owner[is_service][::-1].tolist(), index[is_service][::-1].tolist(), strict=True
    ):
        text = as_pyroscope_text(table.values.plain(attribute))
        if text not in known:
            known[text] = len(services)
            services.append(text)
        service[row] = known[text]
    kept = np.flatnonzero(~lost[samples.profile])
    group = samples.profile[kept] * len(services) + service[kept]
    groups, row = np.unique(group, return_inverse=True)
    order = np.argsort(row, kind="stable")
    chosen = samples.take(kept[order], row[order])
    found, parts = [], []
    for number in groups.tolist():
        profile, which = divmod(number, len(services))
        meaning = meanings[profile]
        labels = meaning.labels
        name = labels.get(SERVICE_NAME) or services[which] or service_of(piece.heads[profile].resource)
        found.append(replace(meaning, labels={**labels, SERVICE_NAME: name}))
        parts.append(b"%d %s" % (piece.first + profile, services[which].encode()))
    return Rows(found, parts, chosen, _values(chosen, found))


def _places_of(text: str, dictionary: Dictionary) -> IntArray:
    """Where a text stands in the string table."""
    hit: BoolArray = pc.equal(dictionary.strings, text.encode()).to_numpy(zero_copy_only=False)
    return np.flatnonzero(hit)


def _values(samples: SampleTable, meanings: Sequence[Meaning]) -> IntArray:
    """One value a sample: the sum of its values, or the number of its times. Raises `CorruptProfile`."""
    counts = samples.values.lengths
    one_only = np.array([not meaning.several for meaning in meanings], np.bool_)
    pushed = bool(one_only.any()) or any("__otel__" in meaning.labels for meaning in meanings)
    if pushed:
        _check_counts(samples, counts, meanings, one_only)
    running = np.zeros(len(samples.values.values) + 1, np.int64)
    np.cumsum(samples.values.values, out=running[1:])
    offsets = samples.values.offsets
    sums = np.where(counts > 0, running[offsets[1:]] - running[offsets[:-1]], samples.times)
    _refuse_overflow(samples.values)
    factors = np.array([meaning.factor for meaning in meanings], np.int64)
    if (factors == 1).all():
        return sums
    return _times(sums, factors[samples.profile])


def _check_counts(
    samples: SampleTable, counts: IntArray, meanings: Sequence[Meaning], one_only: BoolArray
) -> None:
    if ((counts == 0) & (samples.times == 0)).any():
        raise CorruptProfile("sample value is required")
    several = np.flatnonzero((counts > 1) & one_only[samples.profile])
    if len(several):
        number = int(counts[several[0]])
        has_period = meanings[int(samples.profile[several[0]])].header.period
        raise CorruptProfile(
            f"sample values length mismatch {number} 1" if has_period else "sample value length mismatch"
        )


def _refuse_overflow(values: Ragged) -> None:
    sizes = np.abs(values.values.astype(np.float64))
    if sizes.sum() < _SAFE_SUM:
        return
    bounds = values.offsets.tolist()
    for row in np.flatnonzero(values.lengths > 1).tolist():
        total = sum(values.values[bounds[row] : bounds[row + 1]].tolist())
        if not -(2**63) <= total < 2**63:
            raise CorruptProfile(f"sample.values add up to {total}, which does not fit 64 bits")


def _times(values: IntArray, factors: IntArray) -> IntArray:
    size = np.abs(values.astype(np.float64)) * np.abs(factors.astype(np.float64))
    if (size >= 2.0**63).any():
        worst = int(np.argmax(size))
        raise CorruptProfile(
            f"sample.values {values[worst]} times period {factors[worst]} does not fit 64 bits"
        )
    return values * factors


class LabelSource:
    """What each attribute and each link of a dictionary says as a label of a sample."""

    def __init__(self, dictionary: Dictionary, texts: Texts, pushed: bool) -> None:
        table = dictionary.attributes
        self._pushed = pushed
        self._attributes = len(table.key)
        self._service = _places_of(SERVICE, dictionary)
        self._key, self._unit = table.key, np.zeros_like(table.unit) if pushed else table.unit
        self._number = np.zeros_like(table.key) if pushed else table.values.number
        said = table.values.text
        if pushed:
            numbers = pa.array(table.values.number).cast(pa.string()).cast(pa.binary())
            said = pc.if_else(pa.array(table.values.is_number), pc.coalesce(said, numbers), said)
        as_said = as_pyroscope_text if pushed else as_text
        others = {row: as_said(value).encode() for row, value in table.values.others.items()}
        self._text = texts.add(_filled(said, others))
        self._empty = np.array(pc.equal(pc.binary_length(pc.fill_null(_filled(said, others), b"")), 0))
        is_none = ~table.values.is_number & pc.is_null(table.values.text).to_numpy(zero_copy_only=False)
        is_none[list(table.values.others)] = False
        self._none = self._empty if pushed else is_none
        self._trace, self._span = self._links(dictionary, texts)
        self._keys = (texts.number(TRACE), texts.number(SPAN))
        self._texts = texts

    def _links(self, dictionary: Dictionary, texts: Texts) -> tuple[IntArray, IntArray]:
        """The texts of the ids of each link, 0 for none; Pyroscope takes no trace id but those of 16 bytes."""
        columns = []
        for position in range(2):
            ids = [link[position] for link in dictionary.links]
            shown = [
                one.hex() if any(one) and (not self._pushed or position or len(one) == 16) else ""
                for one in ids
            ]
            columns.append(np.array([texts.number(text) for text in shown], np.int64))
        return columns[0], columns[1]

    def labels(self, samples: SampleTable) -> LabelColumns:
        """The labels of some samples. Raises `CorruptProfile`."""
        index = samples.attributes.values
        check_indices(index, self._attributes, *_ATTRIBUTE_INDEX)
        check_indices(samples.link, max(len(self._trace), 1), "sample.link_index", "link_table")
        owner = np.repeat(np.arange(len(samples)), samples.attributes.lengths)
        used = ~self._none[index]
        if self._pushed:
            used &= ~np.isin(self._key[index], self._service)
        owner, index = owner[used], index[used]
        key = self._texts.of_strings(self._key[index], "attribute.key_strindex")
        unit = self._texts.of_strings(self._unit[index], "attribute.unit_strindex")
        columns = [(owner, key, self._text[index], self._number[index], unit)]
        for name, ids in zip(self._keys, (self._trace, self._span), strict=True):
            linked = np.flatnonzero(samples.link)
            linked = linked[ids[samples.link[linked]] != 0]
            zeros = np.zeros(len(linked), np.int64)
            columns.append((linked, np.full(len(linked), name), ids[samples.link[linked]], zeros, zeros))
        joined = [np.concatenate(column) for column in zip(*columns, strict=True)]
        order = np.argsort(joined[0], kind="stable")
        offsets = offsets_of(np.bincount(joined[0], minlength=len(samples)))
        return LabelColumns(offsets, *(column[order] for column in joined[1:]))


def _filled(texts: pa.Array, others: dict[int, bytes]) -> pa.Array:
    """Texts, with some rows replaced."""
    if not others:
        return texts
    listed = texts.to_pylist()
    for row, text in others.items():
        listed[row] = text
    return pa.array(listed, pa.binary())
