"""What tests of the write API ask a server afterwards, and small profiles with what they need in them."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

from flameduck.schema.proto import profile_pb2
from tests.running_server import TYPE, RunningServer

QUERIER = "querier.v1.QuerierService"
PUSH = "push.v1.PusherService/Push"
ALWAYS = {"start": 1, "end": 4_000_000_000_000}


def any_range(folder: Path, text: str = "") -> tuple[str, str]:
    """The option for limits under which any range may be asked for; `text` are more tables of the file."""
    path = folder / "limits.toml"
    path.write_text(f'[default]\nmax_query_length = "0s"\n{text}')
    return "--limits-file", str(path)


def names(
    server: RunningServer, selector: str, profile_type: str = TYPE, **headers: str
) -> Mapping[str, int]:
    """The functions of a flame graph over all time, and their total values."""
    body = {"profileTypeID": profile_type, "labelSelector": selector, "maxNodes": 1_000_000, **ALWAYS}
    graph = server.answer(f"{QUERIER}/SelectMergeStacktraces", body, **headers)["flamegraph"]
    totals: dict[str, int] = {}
    for level in graph["levels"]:
        values = list(map(int, level["values"]))
        for at in range(0, len(values), 4):
            name = graph["names"][values[at + 3]]
            totals[name] = totals.get(name, 0) + values[at + 1]
    return totals


def types(server: RunningServer, selector: str, **headers: str) -> set[str]:
    """The profile types of the series that match."""
    body = {"matchers": [selector], "labelNames": ["__profile_type__"], **ALWAYS}
    found = server.answer(f"{QUERIER}/Series", body, **headers)
    return {one["labels"][0]["value"] for one in found.get("labelsSet", ())}


def labels(server: RunningServer, selector: str, **headers: str) -> list[dict[str, str]]:
    """The label sets of the series that match."""
    headers = {"accept": "*/*;allow-utf8-labelnames=true", **headers}
    found = server.answer(f"{QUERIER}/Series", {"matchers": [selector], **ALWAYS}, **headers)
    return [{one["name"]: one["value"] for one in each["labels"]} for each in found.get("labelsSet", ())]


def small_pprof(
    frames: Sequence[tuple[str, str]] = (("work", "app.py"), ("main", "app.py")),
    time_ns: int = 0,
    kind: tuple[str, str] = ("cpu", "nanoseconds"),
    value: int = 7,
) -> profile_pb2.Profile:
    """One stack of (function, file), leaf first."""
    profile = profile_pb2.Profile(time_nanos=time_ns, period=1)
    texts = ["", *kind, "cpu", "nanoseconds"]
    profile.sample_type.add(type=1, unit=2)
    profile.period_type.type, profile.period_type.unit = 3, 4
    for number, (name, file) in enumerate(frames, 1):
        texts += [name, file]
        profile.function.add(id=number, name=len(texts) - 2, filename=len(texts) - 1)
        profile.location.add(id=number).line.add(function_id=number, line=number)
    profile.sample.add(location_id=range(1, len(frames) + 1), value=[value])
    profile.string_table.extend(text.encode() for text in texts)
    return profile


def raw(profile: profile_pb2.Profile, zipped: bool = False) -> bytes:
    """Its bytes."""
    data: bytes = profile.SerializeToString()
    return gzip.compress(data) if zipped else data


def metric(server: RunningServer, name: str, **wanted: str) -> float:
    """The value of a metric; 0 where it is not there yet."""
    for line in server.http.get("/metrics").text.splitlines():
        head, _, value = line.rpartition(" ")
        if head.partition("{")[0] == name and all(f'{key}="{text}"' in head for key, text in wanted.items()):
            return float(value)
    return 0.0
