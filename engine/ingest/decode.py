"""From uploads to normalised batches: inflate, detect, decode, normalise. Runs in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ...schema import identity
from ...schema.errors import InputError
from ...schema.labels import without_empty
from ...schema.profile import NormalisedBatch, Rules, Upload
from ...schema.request import Refused
from ..formats import Decoded, Failed, Format, detect_format, format_named
from ..formats.inflate import inflate
from ..normalize.context import DEFAULT_LIMITS, ProfileContext, PushLimits
from ..normalize.normalise import normalise


@dataclass(frozen=True)
class DecodeLimits:
    """Bounds on one upload: its inflated size, and under the pyroscope rules what a push may hold."""

    max_inflated_bytes: int = 1 << 30
    push: PushLimits = DEFAULT_LIMITS


@dataclass
class Outcome:
    """What became of some uploads: batches, each with whether it continues the one before; who was refused."""

    batches: list[tuple[NormalisedBatch, bool]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Inflated:
    """An upload's inflated bytes and the format they are in."""

    upload: Upload
    raw: bytes
    format: Format


def decode_and_normalise(uploads: Sequence[Upload], limits: DecodeLimits) -> Outcome:
    """Decode each upload; a bad one is refused with its reason and costs the others nothing."""
    outcome = Outcome()
    ready: dict[tuple[str, Rules], list[_Inflated]] = {}
    for upload in uploads:
        try:
            inflated = _inflate(upload, limits)
        except InputError as error:
            outcome.refused.append(Refused(upload.origin, str(error)))
            continue
        ready.setdefault((inflated.format.name, upload.rules), []).append(inflated)
    for (_, rules), group in ready.items():
        _decode_group(group, rules, limits, outcome)
    return outcome


def _inflate(upload: Upload, limits: DecodeLimits) -> _Inflated:
    limit_bytes = limits.max_inflated_bytes
    if upload.rules == "pyroscope":
        limit_bytes = min(limit_bytes, limits.push.max_profile_bytes or limit_bytes)
    raw = inflate(upload.data, limit_bytes)
    found = format_named(upload.input_format) if upload.input_format else detect_format(raw, upload.origin)
    return _Inflated(upload, raw, found)


def _decode_group(group: Sequence[_Inflated], rules: Rules, limits: DecodeLimits, outcome: Outcome) -> None:
    """Uploads of one format and one set of rules, together."""
    contexts = [_context(inflated) for inflated in group]
    dropped: set[int] = set()
    for decoded in _decode(group):
        if isinstance(decoded, Failed):
            dropped.add(decoded.input)
            outcome.refused.append(Refused(contexts[decoded.input].origin, decoded.reason))
            continue
        if decoded.continues and decoded.inputs[0] in dropped:
            continue
        chosen = [contexts[number] for number in decoded.inputs]
        result = normalise(decoded.batch, chosen, rules, limits.push)
        outcome.warnings += result.warnings
        for row, reason in result.refused.items():
            dropped.add(decoded.inputs[row])
            outcome.refused.append(Refused(chosen[row].origin, reason))
        if len(result.batch.profiles):
            outcome.batches.append((result.batch, decoded.continues))


def _decode(group: Sequence[_Inflated]) -> Iterator[Decoded | Failed]:
    return group[0].format.decode([inflated.raw for inflated in group])


def _context(inflated: _Inflated) -> ProfileContext:
    upload = inflated.upload
    labels = without_empty(upload.labels)
    name = {"__name__": upload.name} if upload.name else {}
    profile_id = identity.profile_id(upload.sample_id, {**labels, **name}, inflated.raw)
    return ProfileContext(labels, profile_id, profile_id, upload.origin, upload.name, upload.time_ns)
