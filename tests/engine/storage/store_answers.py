"""What a store says to each kind of question, as plain JSON: to be kept beside a store, and compared years later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flameduck
from flameduck.engine.connection import Connection
from flameduck.engine.formats.inflate import inflate
from flameduck.schema.proto import profile_pb2


def stored_answers(store: str | Path, start_ns: int, end_ns: int, span: str, selector: str) -> dict[str, Any]:
    """The answers of all of a store, those of a part of its time, of one span, and of one selector."""
    half_ns = (start_ns + end_ns) // 2
    with flameduck.open(store) as db:
        types = db.profile_types()
        found = {
            "types": types,
            "labels": {name: db.label_values(name) for name in db.label_names()},
            "series labels": sorted(db.series_labels(), key=str),
            "profiles": sorted((_plain(row) for row in db.profiles().to_dicts()), key=str),
            "by type": {kind: _of_type(db, kind, start_ns, end_ns) for kind in types},
            "first half": {kind: _top(db, type=kind, start=start_ns, end=half_ns) for kind in types},
            "of the span": {kind: _top(db, type=kind, span_ids=[span]) for kind in types},
            "of the selector": {kind: _top(db, selector, type=kind) for kind in types},
        }
    answers: dict[str, Any] = json.loads(json.dumps(found))
    return answers


def _of_type(db: Connection, kind: str, start_ns: int, end_ns: int) -> dict[str, Any]:
    flame = db.flamegraph(type=kind, max_nodes=0)
    series = db.series(type=kind, start=start_ns, end=end_ns, step="15m", by=("service_name",))
    return {
        "flame graph": [flame.total, len(flame.levels), sorted(flame.names)],
        "folded": sorted(db.export(type=kind, format="folded").decode().splitlines()),
        "top": _top(db, type=kind),
        "series": sorted((_plain(row) for row in series.to_dicts()), key=str),
        "pprof": _pprof_totals(db.export(type=kind, format="pprof")),
    }


def _top(db: Connection, selector: str = "{}", **query: Any) -> list[Any]:
    return sorted(list(row) for row in db.top(selector, **query).fetchall())


def _pprof_totals(data: bytes) -> dict[str, int]:
    """The sum of each sample type of a pprof file."""
    profile = profile_pb2.Profile.FromString(inflate(data, 1 << 30))
    names = [profile.string_table[one.type].decode() for one in profile.sample_type]
    return {name: sum(sample.value[place] for sample in profile.sample) for place, name in enumerate(names)}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of values that JSON knows."""
    return {name: value if isinstance(value, int | dict) else str(value) for name, value in row.items()}
