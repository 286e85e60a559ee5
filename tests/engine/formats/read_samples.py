"""What readers decoded, in words: for tests of formats that tell files, lines and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flameduck.engine.formats import Decoded, Failed, Format, Input

Labels = tuple[tuple[str, str | int], ...]


@dataclass(frozen=True)
class Read:
    """A profile: its header, and for (stack, labels) the values. A frame is `name file:line`, the root first."""

    name: str
    part: bytes
    types: tuple[str, ...]
    header: dict[str, Any]
    samples: dict[tuple[tuple[str, ...], Labels], tuple[int, ...]]

    @property
    def totals(self) -> dict[str, int]:
        """The sum of each type."""
        columns = zip(*self.samples.values(), strict=True) if self.samples else [[0]] * len(self.types)
        return dict(zip(self.types, map(sum, columns), strict=True))

    def stacks(self, column: int = 0) -> Counter[tuple[str, ...]]:
        """The values of one type by stack, whatever the labels; no zeros."""
        found: Counter[tuple[str, ...]] = Counter()
        for (stack, _), values in self.samples.items():
            found[stack] += values[column]
        return Counter({stack: value for stack, value in found.items() if value})


def decode(reader: Format, raw: bytes, **said: Any) -> list[Decoded]:
    """The pieces of one input, which must be good."""
    found = list(reader.decode([Input(raw, **said)]))
    assert not [one for one in found if isinstance(one, Failed)], found
    return [one for one in found if isinstance(one, Decoded)]


def reason(reader: Format, raw: bytes, **said: Any) -> str:
    """Why an input is refused."""
    failed = list(reader.decode([Input(raw, **said)]))[-1]
    assert isinstance(failed, Failed)
    return failed.reason


def read(reader: Format, raw: bytes, **said: Any) -> list[Read]:
    """The profiles of one input, their pieces put together."""
    profiles: list[Read] = []
    for piece in decode(reader, raw, **said):
        one = _read_piece(piece)
        if piece.continues:
            for key, values in one.samples.items():
                known = profiles[-1].samples.get(key, (0,) * len(values))
                profiles[-1].samples[key] = tuple(map(sum, zip(known, values, strict=True)))
        else:
            profiles.append(one)
    return profiles


def _read_piece(piece: Decoded) -> Read:
    (row,) = piece.batch.to_pylist()
    texts: Sequence[str] = [text.decode("utf-8", "replace") for text in row["string_table"]]
    functions = {one["id"]: one for one in row["function"]}
    frames = {}
    for location in row["location"]:
        line = location["line"][0]
        function = functions[line["function_id"]]
        column = f":{line['column']}" if line["column"] else ""
        start = f"@{function['start_line']}" if function["start_line"] else ""
        place = f"{texts[function['filename']]}:{line['line']}{column}{start}"
        frames[location["id"]] = f"{texts[function['name']]} {place}"
    samples: dict[tuple[tuple[str, ...], Labels], tuple[int, ...]] = {}
    for one in row["sample"]:
        stack = tuple(frames[reference] for reference in reversed(one["location_id"]))
        labels = tuple((texts[label["key"]], texts[label["str"]] or label["num"]) for label in one["label"])
        known = samples.get((stack, labels), (0,) * len(one["value"]))
        samples[stack, labels] = tuple(map(sum, zip(known, one["value"], strict=True)))
    header = {key: row[key] for key in ("time_nanos", "duration_nanos", "period")}
    header["comments"] = [texts[comment] for comment in row["comment"]]
    header["default"] = texts[row["default_sample_type"]]
    types = tuple(f"{texts[kind['type']]}/{texts[kind['unit']]}" for kind in row["sample_type"])
    return Read(piece.rows[0].name, piece.rows[0].part, types, header, samples)
