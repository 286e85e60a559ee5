"""The rows of the profiles table: one for each profile, group of samples and sample type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ...schema import profile
from .columns import BadProfiles, IntArray, U64Array, list_array
from .context import ProfileContext
from .header import Headers
from .mappings import Mappings
from .rules import RuleSet
from .sample_labels import Group, LabelPairs
from .series import SeriesTable, series_of


@dataclass(frozen=True)
class ProfileRows:
    """Rows by type, then by group: first all groups with a first type, then all with a second, and so on.

    `group` maps the groups of `SampleLabels` to those here, which differ in their series.
    """

    series: SeriesTable
    series_id: U64Array
    profile: IntArray
    type_no: IntArray
    group: IntArray
    types_of_group: IntArray

    def rows_of_type(self, type_no: int) -> IntArray:
        """The row of each group for one sample type; meaningless where the group lacks it."""
        before = int(np.minimum(self.types_of_group, type_no).sum())
        rows: IntArray = before + np.cumsum(self.types_of_group > type_no) - 1
        return rows


def plan_rows(
    headers: Headers, contexts: Sequence[ProfileContext], groups: Sequence[Group], rules: RuleSet
) -> tuple[ProfileRows, tuple[str, ...]]:
    """The rows of a batch, before it is known which have samples; and warnings. Raises `BadProfiles`."""
    bases, warnings = _base_labels(headers, contexts, rules)
    faults: dict[int, str] = {}
    merged: dict[tuple[int, LabelPairs], int] = {}
    group = np.empty(len(groups), np.int64)
    for number, found in enumerate(groups):
        labels = {**dict(found.labels), **bases[found.profile]}
        fault = rules.label_fault(tuple(labels.items()))
        if fault:
            faults.setdefault(found.profile, fault)
        stored = rules.stored_labels(bases[found.profile], found.labels)
        group[number] = merged.setdefault((found.profile, stored), len(merged))
    if faults:
        raise BadProfiles(faults)
    return _lay_out(list(merged), group, headers), warnings


def _base_labels(
    headers: Headers, contexts: Sequence[ProfileContext], rules: RuleSet
) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    bases = []
    warnings = []
    faults: dict[int, str] = {}
    for number, (context, kinds) in enumerate(zip(contexts, headers.sample_types, strict=True)):
        labels, warning = rules.base_labels(context, list(kinds))
        bases.append(labels)
        if warning:
            warnings.append(f"{context.origin}: {warning}")
        dashed = [kind for kind, _ in kinds if "-" in kind] if rules.pushed else []
        if dashed:
            faults[number] = f"sample type {dashed[0]!r} contains -"
    if faults:
        raise BadProfiles(faults)
    return bases, tuple(warnings)


def _lay_out(merged: Sequence[tuple[int, LabelPairs]], group: IntArray, headers: Headers) -> ProfileRows:
    series = SeriesTable()
    ids: list[int] = []
    profiles: list[int] = []
    types: list[int] = []
    counts = [len(headers.sample_types[number]) for number, _ in merged]
    for type_no in range(max(counts, default=0)):
        for (number, labels), count in zip(merged, counts, strict=True):
            if count > type_no:
                value_type = headers.sample_types[number][type_no]
                ids.append(series.add(series_of(labels, value_type, headers.period_types[number])))
                profiles.append(number)
                types.append(type_no)
    return ProfileRows(
        series,
        np.array(ids, np.uint64),
        np.array(profiles, np.int64),
        np.array(types, np.int64),
        group,
        np.array(counts, np.int64),
    )


@dataclass(frozen=True)
class Said:
    """What is stored of each profile beside its samples."""

    headers: Headers
    contexts: Sequence[ProfileContext]
    mappings: Mappings
    rules: RuleSet


def profile_table(rows: ProfileRows, said: Said, n: IntArray, total: IntArray) -> pa.Table:
    """The profiles table; `n` and `total` are the samples of each row and their sum."""
    contexts = said.contexts
    per_profile = {
        "ts": pa.array(said.headers.ts),
        "profile_id": pa.array([context.profile_id for context in contexts], pa.binary(16)),
        "upload_id": pa.array([context.upload_id for context in contexts], pa.binary(16)),
        "rules": pa.array(np.full(len(contexts), said.rules.code, np.uint8)),
        "mappings": list_array(said.mappings.column.offsets, pa.array(said.mappings.hash)),
        **said.headers.plain,
    }
    taken = pa.array(rows.profile)
    columns = {name: column.take(taken) for name, column in per_profile.items()}
    columns |= {
        "series_id": pa.array(rows.series_id),
        "n": pa.array(n, pa.uint32()),
        "total": pa.array(total),
        "type_no": pa.array(rows.type_no, pa.uint16()),
    }
    return pa.table(columns).select(profile.PROFILES.names).cast(profile.PROFILES)
