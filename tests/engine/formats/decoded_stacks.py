"""What readers hand back, as tests like to see it: frames, labels and values of each sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from flameduck.engine.formats import Decoded, Failed, Input, format_named

Frame = tuple[str, str, int, int]
"""Name, file, line, column."""


def read(name: str, raw: bytes, /, **said: Any) -> list[Decoded]:
    """What a format's reader makes of an input that is good."""
    found = list(format_named(name).decode([Input(raw, **said)]))
    assert not [one for one in found if isinstance(one, Failed)], found
    return [one for one in found if isinstance(one, Decoded)]


def reason(name: str, raw: bytes, /, **said: Any) -> str:
    """Why an input is refused."""
    failed = list(format_named(name).decode([Input(raw, **said)]))[-1]
    assert isinstance(failed, Failed), failed
    return failed.reason


def samples_of(one: Decoded) -> Iterator[tuple[tuple[Frame, ...], dict[str, str | int], list[int]]]:
    """Frames root first, labels and values of every sample of a batch of one profile."""
    (row,) = one.batch.to_pylist()
    texts = [text.decode() for text in row["string_table"]]
    functions = {f["id"]: f for f in row["function"]}
    frames: dict[int, list[Frame]] = {}
    for location in row["location"]:
        frames[location["id"]] = [
            (
                texts[functions[line["function_id"]]["name"]],
                texts[functions[line["function_id"]]["filename"]],
                line["line"],
                line["column"],
            )
            for line in location["line"]
        ]
    for sample in row["sample"]:
        stack = tuple(frame for at in reversed(sample["location_id"]) for frame in reversed(frames[at]))
        labels = {
            texts[label["key"]]: texts[label["str"]] if label["str"] else label["num"]
            for label in sample["label"]
        }
        yield stack, labels, sample["value"]


def types_of(one: Decoded) -> list[tuple[str, str]]:
    """Sample types and their units."""
    (row,) = one.batch.to_pylist()
    texts = [text.decode() for text in row["string_table"]]
    return [(texts[kind["type"]], texts[kind["unit"]]) for kind in row["sample_type"]]


def header(one: Decoded, name: str) -> Any:
    """A field of a profile that stands beside its samples."""
    return one.batch.column(name).to_pylist()[0]


def by_names(decoded: Sequence[Decoded], value: int = 0) -> Counter[str]:
    """Names joined by `;` root first, with the sums of one of the values."""
    found: Counter[str] = Counter()
    for one in decoded:
        for stack, _, values in samples_of(one):
            found[";".join(frame[0] for frame in stack)] += values[value]
    return found


def by_frames(decoded: Sequence[Decoded], value: int = 0) -> Counter[tuple[Frame, ...]]:
    """Whole frames root first, with the sums of one of the values."""
    found: Counter[tuple[Frame, ...]] = Counter()
    for one in decoded:
        for stack, _, values in samples_of(one):
            found[stack] += values[value]
    return found


def by_label(decoded: Sequence[Decoded], key: str, value: int = 0) -> Counter[str | int]:
    """Sums of one of the values by a label."""
    found: Counter[str | int] = Counter()
    for one in decoded:
        for _, labels, values in samples_of(one):
            found[labels.get(key, "")] += values[value]
    return found


def totals(decoded: Sequence[Decoded]) -> dict[tuple[str, str], int]:
    """The sum of each sample type."""
    found: Counter[tuple[str, str]] = Counter()
    for one in decoded:
        types = types_of(one)
        for _, _, values in samples_of(one):
            found.update(dict(zip(types, values, strict=True)))
    return dict(found)
