"""From uploads to normalised batches: inflate, detect, decode, normalise. Runs in worker processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from ...schema import identity, profile
from ...schema.batch_messages import message_table, table_message
from ...schema.errors import InputError
from ...schema.labels import METRIC_NAME, SPY, without_empty
from ...schema.profile import NormalisedBatch, Rules, Upload
from ...schema.request import Refused
from ..formats import Decoded, Failed, Format, Input, Row, detect_format, format_named
from ..formats.agent_pprof import mend_agent_pprof
from ..formats.inflate import inflate
from ..normalize.context import NO_LIMITS, ProfileContext, PushLimits
from ..normalize.normalise import normalise
from .pieces import Pieces

GROUP_UPLOADS = 64
GROUP_BYTES = 4 << 20
"""What one call decodes at most: so many uploads, and so many bytes of them."""

_OF_MANY = ("otlp", "otlp-json")
"""Requests that hold any number of profiles: the limit on a profile's size says nothing of theirs."""

_YEAR_NS = 365 * 86_400 * 10**9
"""Old agents sent times of 1970 when they knew none."""

MAX_REASON = 400
"""Characters of a reason or a warning."""


@dataclass(frozen=True)
class DecodeLimits:
    """Bounds on one upload: its inflated size, and under the pyroscope rules what a push may hold."""

    max_inflated_bytes: int = 1 << 30
    push: PushLimits = NO_LIMITS


@dataclass
class Outcome:
    """What became of some uploads: batches, each with whether it continues the one before; who was refused.

    `owners` says whose each batch is.
    """

    batches: list[tuple[NormalisedBatch, bool]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "batches": [(_packed(batch), more) for batch, more in self.batches]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.batches = [(_unpacked(packed), more) for packed, more in state["batches"]]


_Packed = tuple[list[str], list[bytes]]
"""A batch between processes: which columns its samples have, and a message for each table."""


_SCHEMAS = {name: table.schema for name, table in NormalisedBatch().tables().items()}


def _packed(batch: NormalisedBatch) -> _Packed:
    """Columns of samples that hold nothing are left out: they are most of the bytes."""
    samples = batch.samples
    filled = [name for name in ("labelset_id", "span_id") if samples.column(name).to_numpy().any()]
    if samples.column("trace_id").null_count < len(samples):
        filled.append("trace_id")
    names = ["stack_id", "value", *filled]
    tables = batch.tables() | {"samples": samples.select(names)}
    return names, [table_message(table) for table in tables.values()]


def _unpacked(packed: _Packed) -> NormalisedBatch:
    """The inverse of `_packed`."""
    names, messages = packed
    schemas = _SCHEMAS | {"samples": pa.schema([profile.SAMPLES.field(name) for name in names])}
    tables = {
        name: message_table(message, schema)
        for (name, schema), message in zip(schemas.items(), messages, strict=True)
    }
    return NormalisedBatch(**(tables | {"samples": _whole(tables["samples"])}))


def _whole(samples: pa.Table) -> pa.Table:
    """Samples with the columns that were left out."""
    for name in ("labelset_id", "span_id"):
        if name not in samples.column_names:
            samples = samples.append_column(name, pa.array(np.zeros(len(samples), np.uint64)))
    if "trace_id" not in samples.column_names:
        samples = samples.append_column("trace_id", profile.no_trace_ids(len(samples)))
    return samples.select(profile.SAMPLES.names)


@dataclass(frozen=True)
class _Inflated:
    """An upload's inflated bytes, the format they are in, and its identity."""

    upload: Upload
    raw: bytes
    format: Format
    upload_id: bytes
    attachments: Mapping[str, bytes]
    owner: int

    @property
    def input(self) -> Input:
        """The same, as the format takes it."""
        upload = self.upload
        return Input(
            raw=self.raw,
            labels=without_empty(upload.labels),
            name=upload.name,
            rules=upload.rules,
            sample_rate_hz=upload.sample_rate_hz,
            duration_ns=upload.duration_ns,
            raw_names=upload.raw_names,
            attachments=self.attachments,
            app_name=upload.app_name,
        )


def group_uploads(uploads: Iterable[Upload]) -> Iterator[list[Upload]]:
    """Uploads in groups worth one call of a worker, bounded in number and in bytes."""
    group: list[Upload] = []
    size_bytes = 0
    for upload in uploads:
        if group and (len(group) >= GROUP_UPLOADS or size_bytes + len(upload.data) > GROUP_BYTES):
            yield group
            group, size_bytes = [], 0
        group.append(upload)
        size_bytes += len(upload.data)
    if group:
        yield group


def decode_and_normalise(
    uploads: Sequence[Upload], limits: DecodeLimits, owners: Sequence[int] = ()
) -> Outcome:
    """Decode each upload; a bad one is refused with its reason and costs the others nothing.

    `owners` says whose each upload is, by default all of one: no batch holds anything of two owners.
    """
    outcome = Outcome()
    ready: dict[tuple[str, Rules, int], list[_Inflated]] = {}
    times_seen: Counter[tuple[int, bytes]] = Counter()
    for number, upload in enumerate(uploads):
        try:
            inflated = _inflate(upload, limits, owners[number] if owners else 0)
        except InputError as error:
            outcome.refused.append(Refused(upload.origin, str(error)))
            continue
        # A copy goes into another batch: within one, rows of one profile are pieces of it, which add up.
        known = inflated.owner, inflated.upload_id
        copy = times_seen[known]
        times_seen[known] += 1
        ready.setdefault((inflated.format.name, upload.rules, copy), []).append(inflated)
    for group in ready.values():
        _Group(group, limits.push, outcome).run()
    outcome.refused = [replace(one, reason=_shown(one.reason)) for one in outcome.refused]
    outcome.warnings = list(map(_shown, outcome.warnings))
    return outcome


def _shown(text: str) -> str:
    """One line of no great length that a terminal may be given: a profile's own strings are quoted in it."""
    if len(text) > MAX_REASON:
        text = text[: MAX_REASON - 1] + "…"
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()


def _inflate(upload: Upload, limits: DecodeLimits, owner: int) -> _Inflated:
    limit_bytes = limits.max_inflated_bytes
    one_profile = upload.rules == "pyroscope" and upload.input_format not in _OF_MANY
    if one_profile and limits.push.max_profile_bytes:
        limit_bytes = min(limit_bytes, limits.push.max_profile_bytes)
    raw = inflate(upload.data, limit_bytes)
    found = format_named(upload.input_format) if upload.input_format else detect_format(raw, upload.origin)
    attachments = {name: inflate(data, limit_bytes) for name, data in upload.attachments.items()}
    upload_id = _upload_id(upload, raw, attachments)
    if upload.app_name and found.name == "pprof":
        raw = mend_agent_pprof(raw, upload.labels.get(SPY, ""), upload.display_names)
    return _Inflated(upload, raw, found, upload_id, attachments, owner)


@dataclass(frozen=True)
class _Batch:
    """A batch on its way into the outcome; `alone` is the number of its input, -1 where there are several."""

    batch: NormalisedBatch
    continues: bool
    alone: int
    owner: int


class _Group:
    """Uploads of one format and one set of rules, decoded together."""

    def __init__(self, group: Sequence[_Inflated], limits: PushLimits, outcome: Outcome) -> None:
        self._group = group
        self._limits = limits
        self._outcome = outcome
        self._batches: list[_Batch] = []
        self._refused: set[int] = set()
        self._pieces: Pieces | None = None

    def run(self) -> None:
        """Decode, and add what comes of it to the outcome."""
        for decoded in self._group[0].format.decode([one.input for one in self._group]):
            if isinstance(decoded, Failed):
                self._refuse(decoded.input, decoded.reason)
            elif not (decoded.continues and decoded.rows[0].input in self._refused):
                self._normalise(decoded)
        started: set[int] = set()
        for one in self._batches:
            if one.alone not in self._refused:
                self._outcome.batches.append((one.batch, one.continues and one.alone in started))
                self._outcome.owners.append(one.owner)
                started.add(one.alone)

    def _normalise(self, decoded: Decoded) -> None:
        contexts = [self._context(row) for row in decoded.rows]
        result = normalise(decoded.batch, contexts, self._group[0].upload.rules, self._limits)
        self._outcome.warnings += [f"{contexts[0].origin}: {text}" for text in decoded.warnings]
        self._outcome.warnings += result.warnings
        for row, reason in result.refused.items():
            self._refuse(decoded.rows[row].input, reason)
        # Only an input that comes alone in its batch can come in pieces, and fall with all of them.
        alone = decoded.rows[0].input if len(decoded.rows) == 1 else -1
        for owner, batch in result.parts:
            if not len(batch.profiles):
                continue
            if not decoded.continues:
                self._pieces = None
            lean = self._without_known(batch, alone) if decoded.continues else batch
            self._batches.append(_Batch(lean, decoded.continues, alone, owner))

    def _without_known(self, batch: NormalisedBatch, number: int) -> NormalisedBatch:
        """A further piece of an input, without the symbols of the pieces before it."""
        if self._pieces is None:
            self._pieces = Pieces()
            if self._batches and self._batches[-1].alone == number:
                self._pieces.add(self._batches[-1].batch)
        return self._pieces.add(batch)

    def _refuse(self, number: int, reason: str) -> None:
        if number not in self._refused:
            self._refused.add(number)
            self._outcome.refused.append(Refused(self._group[number].upload.origin, reason))

    def _context(self, row: Row) -> ProfileContext:
        upload, upload_id = self._group[row.input].upload, self._group[row.input].upload_id
        labels = without_empty(upload.labels) if row.labels is None else row.labels
        own_id = identity.profile_id("", {}, upload_id + row.part) if row.part else upload_id
        return ProfileContext(
            labels,
            own_id,
            upload_id,
            upload.origin,
            upload.name or row.name,
            upload.time_ns,
            upload.display_names,
            least_time_ns=_YEAR_NS if upload.app_name else 1,
            owner=self._group[row.input].owner,
        )


def _upload_id(upload: Upload, raw: bytes, attachments: Mapping[str, bytes]) -> bytes:
    said = dict(without_empty(upload.labels))
    if upload.name:
        said[METRIC_NAME] = upload.name
    for name, data in attachments.items():
        said[f"attachment {name}"] = identity.profile_id("", {}, data).hex()
    return identity.profile_id(upload.sample_id, said, upload.identity.encode() or raw)
