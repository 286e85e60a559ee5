"""The lines of a recording as HTTP requests, and what the answers mean."""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from flameduck.schema.proto import profile_pb2

from .exchanges import Bars, Json

SHARED = Path(__file__).resolve().parents[3] / "shared"
PUSH_PATH = "/push.v1.PusherService/Push"
LAST = ("ingest jfr", "ingest too old pprof")
"""What others were recorded without; sent after everything else."""
TOO_NEW_S = 30 * 3600
Path_ = tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """One line of a recording; `kind` is a method or a path."""

    name: str
    kind: str
    sent: Json
    recorded: Json

    @property
    def body(self) -> Json:
        """What is asked, where it is JSON."""
        body: Json = self.sent.get("json", {})
        return body


def read_lines(recording: str) -> list[Line]:
    """The lines in the order in which they are sent."""
    with gzip.open(SHARED / recording, "rt") as stored:
        rows = [json.loads(line) for line in stored]
    first = [row for row in rows if row["name"] not in LAST]
    return [_line(row) for row in (*first, *(row for row in rows if row["name"] in LAST))]


def _line(row: Json) -> Line:
    if "push" in row:
        sent: Json = {"method": "POST", "path": PUSH_PATH, "push": row["push"]}
        return Line(row["name"], "Push", sent, row["response"])
    path = row["request"]["path"].split("?")[0]
    kind = path.rsplit("/", 1)[-1] if path.startswith("/querier.") else path
    return Line(row["name"], kind, row["request"], row["response"])


def send(http: httpx.Client, line: Line) -> httpx.Response:
    """The answer to a line."""
    headers = dict(line.sent.get("headers") or {})
    body: bytes = b""
    if "push" in line.sent:
        headers["content-type"] = "application/json"
        body = json.dumps({"series": [_series(line, series) for series in line.sent["push"]]}).encode()
    elif "json" in line.sent:
        headers.setdefault("content-type", "application/json")
        body = json.dumps(line.sent["json"]).encode()
    elif "text" in line.sent:
        body = line.sent["text"].encode()
    elif "b64" in line.sent:
        body = base64.b64decode(line.sent["b64"])
    elif "file" in line.sent:
        body = (SHARED / "data" / line.sent["file"]).read_bytes()
    return http.request(line.sent["method"], line.sent["path"], content=body, headers=headers)


def _series(line: Line, series: Json) -> Json:
    labels = series["labels"]
    pairs = labels.items() if isinstance(labels, dict) else labels
    samples = [
        {
            "rawProfile": base64.b64encode(_raw(line, one)).decode(),
            **({"ID": one["ID"]} if "ID" in one else {}),
        }
        for one in series["samples"]
    ]
    return {"labels": [{"name": name, "value": value} for name, value in pairs], "samples": samples}


def _raw(line: Line, sample: Json) -> bytes:
    if "raw" in sample:
        return base64.b64decode(sample["raw"])
    raw = (SHARED / "data" / sample["file"]).read_bytes()
    raw = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    shift_ns = time.time_ns() + TOO_NEW_S * 10**9 if line.name == "push too new" else 0
    # Field 9 again: the last time wins.
    again: bytes = profile_pb2.Profile(time_nanos=shift_ns or sample["time_ns"]).SerializeToString()
    return raw + again


def paths(rows: Bars) -> Mapping[Path_, tuple[Any, ...]]:
    """Bars by the names from the root down to them, with their totals and own values, positions left out."""
    found: dict[Path_, tuple[Any, ...]] = {}
    above: list[tuple[Path_, Sequence[int | str]]] = []
    for row in rows:
        here: list[tuple[Path_, Sequence[int | str]]] = []
        at = 0
        for bar in row:
            while above and not _holds(above[at][1], bar):
                at += 1
            path = (*(above[at][0] if above else ()), str(bar[-1]))
            values = tuple(bar[n] for n in range(len(bar) - 1) if n % 3)
            found[path] = values
            here.append((path, bar))
        above = here
    return found


def _holds(parent: Sequence[Any], bar: Sequence[Any]) -> bool:
    """Whether a bar lies under another, on each side of a diff."""
    return all(
        parent[x] <= bar[x] and bar[x] + bar[x + 1] <= parent[x] + parent[x + 1]
        for x in range(0, len(bar) - 1, 3)
    )


def tree_paths(raw: bytes) -> Mapping[Path_, int]:
    """Own values by path, of Pyroscope's tree bytes."""
    found: dict[Path_, int] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = raw[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    # Each node waits with its path's parent; the last child's subtree comes first.
    waiting: list[Path_] = [()] if raw else []
    while waiting:
        parent = waiting.pop()
        size = number()
        name = raw[at : at + size].decode()
        at += size
        path = (*parent, name)
        found[path] = number()
        waiting += [path] * number()
    assert at == len(raw)
    return found


def dot_graph(text: str) -> tuple[Counter[str], Counter[tuple[str, ...]]]:
    """The nodes of a graph (label and tooltip), and its edges (label, and the nodes' and their own tooltip)."""
    nodes: dict[str, str] = {}
    edges: Counter[tuple[str, ...]] = Counter()
    for line in text.splitlines():
        if match := re.match(r'(N\d+) -> (N\d+) \[label="(.*?)" .*labeltooltip="(.*?)"', line):
            edges[match[3], match[4], nodes[match[1]], nodes[match[2]]] += 1
        elif match := re.match(r'(N\d+) \[label="(.*?)" id=.*tooltip="(.*?)" color', line):
            nodes[match[1]] = f"{match[2]} | {match[3]}"
    return Counter(nodes.values()), edges


def answered_series(document: Json) -> list[tuple[Any, Any]]:
    """Series in their order: labels and points."""
    return [
        (
            tuple((label["name"], label["value"]) for label in series.get("labels", ())),
            [(int(point["timestamp"]), float(point.get("value", 0))) for point in series.get("points", ())],
        )
        for series in document.get("series", ())
    ]
