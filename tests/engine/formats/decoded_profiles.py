"""Decoded batches as plain values: what tests of readers compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import flameduck
from flameduck.engine.formats import Decoded, Failed, Input, format_named

Frame = tuple[str, str, int]
"""Function, file, line."""

LabelValue = str | tuple[int, str]
"""A text, or a number and its unit."""


@dataclass
class Sample:
    """A sample; frames leaf first, those of one location innermost first."""

    frames: tuple[Frame, ...]
    addresses: tuple[int, ...]
    mappings: tuple[str, ...]
    values: tuple[int, ...]
    labels: dict[str, LabelValue]

    @property
    def names(self) -> tuple[str, ...]:
        """The functions, leaf first."""
        return tuple(frame[0] for frame in self.frames)


@dataclass
class Profile:
    """A profile with the samples of all its pieces."""

    name: str
    types: list[tuple[str, str]]
    header: dict[str, Any]
    samples: list[Sample] = field(default_factory=list)
    build_ids: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def totals(self) -> dict[str, int]:
        """The sum of the values of each type."""
        return {
            "/".join(kind): sum(sample.values[number] for sample in self.samples)
            for number, kind in enumerate(self.types)
        }

    def stacks(self, number: int = 0) -> Counter[str]:
        """The values of a type by functions, root first."""
        found: Counter[str] = Counter()
        for sample in self.samples:
            found[";".join(reversed(sample.names))] += sample.values[number]
        return found


def read(name: str, raw: bytes, **said: Any) -> list[Profile]:
    """The profiles of an input that can be read."""
    profiles: list[Profile] = []
    for one in format_named(name).decode([Input(raw, **said)]):
        assert isinstance(one, Decoded), one
        (row,) = one.batch.to_pylist()
        profile = _profile(row, one.rows[0].name)
        if one.continues:
            profiles[-1].samples += profile.samples
        else:
            profiles.append(profile)
        profiles[-1].warnings += one.warnings
    return profiles


def reason(name: str, raw: bytes, **said: Any) -> str:
    """Why an input is refused."""
    failed = list(format_named(name).decode([Input(raw, **said)]))[-1]
    assert isinstance(failed, Failed), failed
    return failed.reason


def _profile(row: dict[str, Any], name: str) -> Profile:
    texts = [text.decode() for text in row["string_table"]]
    types = [(texts[kind["type"]], texts[kind["unit"]]) for kind in row["sample_type"]]
    header = {key: row[key] for key in ("time_nanos", "duration_nanos", "period")}
    header["comments"] = [texts[comment] for comment in row["comment"]]
    header["default"] = texts[row["default_sample_type"]]
    kind = row["period_type"] or {"type": 0, "unit": 0}
    header["period_type"] = (texts[kind["type"]], texts[kind["unit"]])
    functions = {one["id"]: one for one in row["function"]}
    locations = {one["id"]: one for one in row["location"]}
    mappings = {one["id"]: texts[one["filename"]] for one in row["mapping"]} | {0: ""}
    profile = Profile(name, types, header)
    profile.build_ids = {texts[one["filename"]]: texts[one["build_id"]] for one in row["mapping"]}
    for sample in row["sample"]:
        stack = [locations[id_] for id_ in sample["location_id"]]
        frames = [
            (texts[function["name"]], texts[function["filename"]], line["line"])
            for location in stack
            for line in location["line"]
            for function in (functions[line["function_id"]],)
        ]
        labels = {texts[label["key"]]: _label(label, texts) for label in sample["label"]}
        profile.samples.append(
            Sample(
                tuple(frames),
                tuple(location["address"] for location in stack),
                tuple(mappings[location["mapping_id"]] for location in stack),
                tuple(sample["value"]),
                labels,
            )
        )
    return profile


def _label(label: dict[str, int], texts: Sequence[str]) -> LabelValue:
    return texts[label["str"]] if label["str"] else (label["num"], texts[label["num_unit"]])


def stored_totals(path: Path) -> dict[str, int]:
    """The total of each profile type that a store has of a file, which was ingested with no flag."""
    with flameduck.open(f"memory://{uuid4()}") as database:
        report = database.ingest([path])
        assert report.new >= 1, report
        assert not report.refused, report
        rows = database.sql("SELECT profile_type, sum(total) FROM profiles GROUP BY ALL").fetchall()
    return {profile_type: int(total) for profile_type, total in rows}
