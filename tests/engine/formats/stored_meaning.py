"""What the store would hold of some inputs, apart from identities of uploads: for comparing one input with another."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.schema.profile import Rules, Upload

TIME_NS = 1_700_000_000_000_000_000


def stored_meaning(data: bytes, rules: Rules = "verbatim", **said: Any) -> dict[str, Any]:
    """Profiles by the labels of their series, samples by profile and content, symbols by content."""
    outcome = decode_and_normalise([Upload(data, {}, "test", TIME_NS, rules=rules, **said)], DecodeLimits())
    assert not outcome.refused, outcome.refused
    profiles: dict[Any, Any] = {}
    samples: Counter[Any] = Counter()
    symbols: dict[str, Any] = {
        "functions": {},
        "mappings": {},
        "locations": {},
        "stacks": {},
        "labelsets": {},
    }
    for batch, _ in outcome.batches:
        tables = {name: table.to_pylist() for name, table in batch.tables().items()}
        series = {row["series_id"]: tuple(row["labels"]) for row in tables["series"]}
        rows = iter(tables["samples"])
        for profile in tables["profiles"]:
            key = (series[profile["series_id"]], profile["ts"])
            kept = (
                "period",
                "duration_ns",
                "default_sample_type",
                "comments",
                "drop_frames",
                "keep_frames",
                "doc_url",
            )
            profiles.setdefault(key, {name: profile[name] for name in kept})
            for _ in range(profile["n"]):
                row = next(rows)
                ids = row["stack_id"], row["labelset_id"], row["span_id"], row["trace_id"]
                samples[(key, *ids)] += row["value"]
        for name, known in symbols.items():
            for row in tables[name]:
                known.setdefault(row.pop(next(iter(row))), row)
    for location in symbols["locations"].values():
        location["mapping"] = symbols["mappings"].get(location.pop("mapping_id"))
        if location["lines"]:
            # An attribute of the first that was seen: what has lines is known by them.
            location["address"] = location["mapping"] = None
    # Samples of no value leave their label sets and mappings behind.
    used = {key[2] for key in samples}
    symbols["labelsets"] = {key: row for key, row in symbols["labelsets"].items() if key in used}
    del symbols["mappings"]
    return {"profiles": profiles, "samples": samples, **symbols}
