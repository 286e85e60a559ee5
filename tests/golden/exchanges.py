"""Recorded exchanges with Pyroscope as questions to our API, and its answers in comparable form."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flameduck.schema.labels import format_selector, parse_selector
from flameduck.schema.profile import Upload
from flameduck.schema.proto import profile_pb2
from flameduck.schema.request import Selection, TreeQuery

MS = 1_000_000
Json = Mapping[str, Any]
Bars = Sequence[Sequence[tuple[int | str, ...]]]
Stacks = Counter[tuple[tuple[tuple[str, str, int], ...], ...]]

LIBRARY_METHODS = {
    "SelectMergeStacktraces",
    "SelectSeries",
    "Series",
    "LabelNames",
    "LabelValues",
    "ProfileTypes",
    "Diff",
    "SelectMergeProfile",
}


@dataclass(frozen=True)
class Exchange:
    """One line of a recording: a push, or a request that the library can answer."""

    name: str
    method: str
    body: Json
    answer: Json
    pushed: Sequence[Json] = ()
    status: int = 200


def read_exchanges(path: Path) -> Iterator[Exchange]:
    """The lines of a recording in order, those aside that only a server can answer."""
    with gzip.open(path, "rt") as lines:
        for line in lines:
            row = json.loads(line)
            status = row["response"]["status"]
            answer = row["response"].get("json", {})
            if "push" in row:
                yield Exchange(row["name"], "Push", {}, answer, row["push"], status)
                continue
            method = row["request"]["path"].split("/")[-1].split("?")[0]
            body = _camel_case(row["request"].get("json", {}))
            if method in LIBRARY_METHODS and status == 200 and _for_library(method, body):
                yield Exchange(row["name"], method, body, answer)


def _for_library(method: str, body: Json) -> bool:
    """Whether a request is about data: no heatmap, no span, no profile id, no wire-only format or default."""
    if method == "ProfileTypes" and "start" not in body:
        return False
    if body.get("format", "PROFILE_FORMAT_FLAMEGRAPH") not in ("PROFILE_FORMAT_FLAMEGRAPH", 1):
        return False
    return not any(name in body for name in ("profileIdSelector", "spanSelector", "traceIdSelector"))


def _camel_case(body: Json) -> Json:
    return {
        name.split("_")[0]
        + "".join(p.title() if p != "typeID" else "TypeID" for p in name.split("_")[1:]): value
        for name, value in body.items()
    }


def uploads(exchange: Exchange, data: Callable[[str], Path], now_ns: int) -> list[Upload]:
    """What a push sends, as our API takes it."""
    return [
        Upload(
            _raw(sample, data),
            dict(series["labels"] if isinstance(series["labels"], list) else series["labels"].items()),
            origin=exchange.name,
            sample_id=sample.get("ID", ""),
            rules="pyroscope",
            time_ns=now_ns,
        )
        for series in exchange.pushed
        for sample in series["samples"]
    ]


def _raw(sample: Json, data: Callable[[str], Path]) -> bytes:
    if "raw" in sample:
        return base64.b64decode(sample["raw"])
    raw = data(f"data/{sample['file']}").read_bytes()
    raw = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    # Field 9 again: the last time wins.
    again: bytes = profile_pb2.Profile(time_nanos=sample["time_ns"]).SerializeToString()
    return raw + again


def selection(body: Json) -> Selection:
    """The selection of a request; the wire's end is inclusive milliseconds."""
    selector = body.get("labelSelector") or combined(body.get("matchers", ()))
    start, end = int(body["start"]) * MS, int(body["end"]) * MS + 1
    return Selection(selector, body.get("profileTypeID", ""), start, end)


def combined(matchers: Sequence[str]) -> str:
    """Several selectors as one that asks for all of them."""
    return format_selector([matcher for text in matchers for matcher in parse_selector(text)])


def tree(body: Json) -> TreeQuery:
    """The call tree of a request."""
    sites = body.get("stackTraceSelector", {}).get("callSite", ())
    return TreeQuery(selection(body), call_site=tuple(site["name"] for site in sites))


def bars(names: Sequence[str], levels: Sequence[Sequence[int]], width: int) -> Bars:
    """Rows of bars with absolute positions and names: (x, total, self)… and the name."""
    rows: list[list[tuple[int | str, ...]]] = []
    for level in levels:
        ends = [0] * (width // 3)
        row: list[tuple[int | str, ...]] = []
        for at in range(0, len(level), width):
            bar = [int(value) for value in level[at : at + width]]
            shown: list[int | str] = []
            for side, first in enumerate(range(0, width - 1, 3)):
                x = ends[side] + bar[first]
                ends[side] = x + bar[first + 1]
                shown += [x, bar[first + 1], bar[first + 2]]
            row.append((*shown, names[bar[-1]]))
        rows.append(row)
    return [row for row in rows if row]


def answered_bars(graph: Json, width: int) -> Bars:
    """The bars of a recorded flame graph."""
    return bars(
        graph["names"], [[int(v) for v in level.get("values", ())] for level in graph["levels"]], width
    )


def recorded_stacks(profile: Json) -> Stacks:
    """The multiset (function, file, line)… to value of a recorded pprof."""
    strings = profile.get("stringTable", [""])
    functions = {int(f["id"]): f for f in profile.get("function", ())}
    locations: dict[int, tuple[tuple[str, str, int], ...]] = {}
    for location in profile.get("location", ()):
        lines = [
            (functions[int(line["functionId"])], int(line.get("line", 0)))
            for line in location.get("line", ())
        ]
        locations[int(location["id"])] = tuple(
            (strings[int(f.get("name", 0))], strings[int(f.get("filename", 0))], number)
            for f, number in lines
        )
    stacks: Stacks = Counter()
    for sample in profile.get("sample", ()):
        stacks[tuple(locations[int(i)] for i in sample.get("locationId", ()))] += int(sample["value"][0])
    return stacks


def exported_stacks(message: profile_pb2.Profile) -> Stacks:
    """The same multiset of a pprof that we wrote."""
    strings = [text.decode() for text in message.string_table]
    functions = {f.id: f for f in message.function}
    locations = {
        location.id: tuple(
            (
                strings[functions[line.function_id].name],
                strings[functions[line.function_id].filename],
                line.line,
            )
            for line in location.line
        )
        for location in message.location
    }
    stacks: Stacks = Counter()
    for sample in message.sample:
        stacks[tuple(locations[i] for i in sample.location_id)] += sample.value[0]
    return stacks
