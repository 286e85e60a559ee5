"""One decoded batch to content-keyed tables, all in passes over whole columns.

Profiles that contradict themselves are taken out, with the reason, and the rest is done again without them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from ...schema import identity
from ...schema.profile import NormalisedBatch, Rules
from .assembly import Assembly
from .columns import BadProfiles, Column
from .context import NO_LIMITS, ProfileContext, PushLimits
from .functions import read_functions
from .go_stacks import mend_go_samples
from .header import Headers, read_headers
from .locations import Context, read_locations
from .mappings import read_mappings
from .profile_rows import Said, plan_rows, profile_table
from .rules import RuleSet, rule_set
from .sample_labels import keep_labels, read_labels, split_labels
from .samples import SampleParts, read_samples
from .series import service_of
from .stacks import read_stacks
from .strings import Strings

_FAR_NS = 253_402_300_800 * 10**9
"""The year 10000, which dates cannot show."""


@dataclass(frozen=True)
class Normalised:
    """The good profiles, a batch for each owner; why others were refused, by their number in the input; warnings."""

    parts: Sequence[tuple[int, NormalisedBatch]]
    refused: dict[int, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def batch(self) -> NormalisedBatch:
        """The batch, where all profiles have one owner."""
        if not self.parts:
            return NormalisedBatch()
        ((_, batch),) = self.parts
        return batch


def normalise(
    decoded: pa.RecordBatch,
    contexts: Sequence[ProfileContext],
    rules: Rules,
    limits: PushLimits = NO_LIMITS,
) -> Normalised:
    """Normalise one row of `decoded` (schema `profile.DECODED`, no slice of a batch) for each context.

    `limits` count under the pyroscope rules only.
    """
    numbers = np.arange(decoded.num_rows)
    refused: dict[int, str] = {}
    while len(numbers):
        try:
            parts, warnings = _normalise(decoded, [contexts[n] for n in numbers], rule_set(rules, limits))
            return Normalised(parts, refused, warnings)
        except BadProfiles as bad:
            refused |= {int(numbers[n]): reason for n, reason in bad.reasons.items()}
            keep = np.setdiff1d(np.arange(len(numbers)), list(bad.reasons))
            decoded, numbers = decoded.take(pa.array(keep)), numbers[keep]
    return Normalised((), refused)


def _normalise(
    decoded: pa.RecordBatch, contexts: Sequence[ProfileContext], rules: RuleSet
) -> tuple[Sequence[tuple[int, NormalisedBatch]], tuple[str, ...]]:
    strings = Strings(decoded.column("string_table"))
    warnings = _check_text(strings, contexts, rules)
    samples = Column.of(decoded.column("sample"))
    if rules.limits.max_samples:
        for number in np.flatnonzero(samples.lengths > rules.limits.max_samples):
            count = samples.lengths[number]
            raise BadProfiles({int(number): f"profile has {count} samples; limit {rules.limits.max_samples}"})
    headers = read_headers(decoded, strings, contexts)
    _check_times(headers, rules)
    if rules.pushed:
        decoded = mend_go_samples(decoded, headers.sample_types)
        samples = Column.of(decoded.column("sample"))
    functions, mappings = read_functions(decoded, strings), read_mappings(decoded, strings)
    services = identity.hash_texts(
        pa.array([service_of(context.labels) for context in contexts], pa.string())
    )
    owners = np.array([context.owner for context in contexts], np.int64)
    locations = read_locations(decoded, Context(functions, mappings, strings, services, rules.pushed, owners))
    stacks = read_stacks(samples, locations, rules.limits.max_stack_depth, rules.pushed, owners)
    label_rows = read_labels(samples, strings, rules.limits.max_sample_labels)
    labels = (split_labels if rules.pushed else keep_labels)(samples, label_rows, strings)
    rows, doubts = plan_rows(headers, contexts, labels.groups, rules)
    kept = read_samples(SampleParts(samples, stacks, labels, rows, headers), rules.pushed)
    profiles = profile_table(rows, Said(headers, contexts, mappings, rules), kept.n, kept.total)
    assembly = Assembly(
        rows.series.table(),
        profiles,
        kept.table,
        mappings.table(strings),
        labels.labelsets,
        kept.used,
        stacks,
        functions,
        strings,
    )
    if (owners == owners[0]).all():
        parts = [(int(owners[0]), assembly.batch())]
    else:
        parts = list(assembly.by_owner(owners[rows.profile], owners[samples.owner]))
    if rules.pushed:
        parts = [(owner, _without_empty_rows(batch)) for owner, batch in parts]
    return parts, warnings + doubts


def _check_times(headers: Headers, rules: RuleSet) -> None:
    """Raises `BadProfiles` for times outside of the window in which pushes are taken."""
    now_ns = time.time_ns()
    older, newer = rules.limits.reject_older_than_ns, rules.limits.reject_newer_than_ns
    first = now_ns - older if older else 0
    last = now_ns + newer if newer else np.iinfo(np.int64).max
    outside = np.flatnonzero((headers.ts < first) | (headers.ts > last))
    if len(outside):
        window = f"the ingestion window is {_shown(first)} to {_shown(last)}"
        raise BadProfiles(
            {
                int(
                    number
                ): f"profile of {_shown(int(headers.ts[number]))} is outside of ingestion window: {window}"
                for number in outside
            }
        )


def _shown(ts_ns: int) -> str:
    return (
        datetime.fromtimestamp(ts_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if ts_ns < _FAR_NS
        else "ever"
    )


def _check_text(strings: Strings, contexts: Sequence[ProfileContext], rules: RuleSet) -> tuple[str, ...]:
    """Invalid UTF-8 is replaced with a warning, or refused in a push, where long texts are cut and Go's mended."""
    if not rules.pushed:
        return tuple(
            f"{contexts[profile].origin}: invalid UTF-8 in string_table was replaced"
            for profile in strings.replaced
        )
    if strings.replaced:
        raise BadProfiles(
            {
                profile: f"string_table is not valid UTF-8: {raw[:64].hex()}"
                for profile, raw in strings.replaced.items()
            }
        )
    strings.keep_tails(rules.limits.max_string_bytes)
    strings.drop_go_shapes()
    return ()


def _without_empty_rows(batch: NormalisedBatch) -> NormalisedBatch:
    """Pyroscope does not write the types that have no samples."""
    profiles = batch.profiles.filter(pa.compute.greater(batch.profiles.column("n"), 0))
    used = pa.compute.is_in(
        batch.series.column("series_id"), value_set=profiles.column("series_id").combine_chunks()
    )
    tables = batch.tables() | {"profiles": profiles, "series": batch.series.filter(used)}
    return NormalisedBatch(**tables)
