"""Profiles of perf's text as tests look at them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flameduck.engine.formats import Decoded, Failed, Input
from flameduck.engine.formats.perf_script import PerfScript

READER = PerfScript()


def decode(text: bytes, **said: Any) -> list[Decoded]:
    found = list(READER.decode([Input(text, **said)]))
    assert not [one for one in found if isinstance(one, Failed)], found
    return [one for one in found if isinstance(one, Decoded)]


def reason(text: bytes) -> str:
    failed = list(READER.decode([Input(text)]))[-1]
    assert isinstance(failed, Failed)
    return failed.reason


@dataclass(frozen=True)
class Seen:
    """A profile as it was decoded. A frame is its lines, innermost first, and the file that is mapped."""

    name: str
    types: list[str]
    samples: list[tuple[list[tuple[str, str]], dict[str, str | int], list[int]]]
    row: dict[str, Any]
    labels: dict[str, str]

    @property
    def totals(self) -> list[int]:
        return [sum(column) for column in zip(*(values for _, _, values in self.samples), strict=True)]


def see(text: bytes, **said: Any) -> list[Seen]:
    """Every profile of a text, its pieces put together."""
    seen: list[Seen] = []
    for one in decode(text, **said):
        (row,) = one.batch.to_pylist()
        texts = [raw.decode("utf-8", "replace") for raw in row["string_table"]]
        samples = list(_samples(row, texts))
        if one.continues:
            seen[-1].samples.extend(samples)
        else:
            types = [f"{texts[kind['type']]}/{texts[kind['unit']]}" for kind in row["sample_type"]]
            seen.append(Seen(one.rows[0].name, types, samples, row, dict(one.rows[0].labels or {})))
    return seen


def _samples(
    row: dict[str, Any], texts: list[str]
) -> Iterator[tuple[list[tuple[str, str]], dict[str, str | int], list[int]]]:
    functions = {one["id"]: one for one in row["function"]}
    mappings = {0: ""} | {one["id"]: texts[one["filename"]] for one in row["mapping"]}
    frames = {}
    for one in row["location"]:
        lines = [
            texts[functions[line["function_id"]]["name"]]
            + (f" {texts[functions[line['function_id']]['filename']]}:{line['line']}" if line["line"] else "")
            for line in one["line"]
        ]
        frames[one["id"]] = (" < ".join(lines) or f"{one['address']:#x}", mappings[one["mapping_id"]])
    for sample in row["sample"]:
        labels = {texts[label["key"]]: texts[label["str"]] or label["num"] for label in sample["label"]}
        yield [frames[number] for number in sample["location_id"]], labels, sample["value"]


def names(stack: list[tuple[str, str]]) -> list[str]:
    return [name for name, _ in stack]
