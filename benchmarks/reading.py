"""What benchmarks of readers have in common: megabytes a second of one core, beside a bare way to read the bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow.compute as pc

from flameduck.engine.ingest.decode import DecodeLimits, Outcome, decode_and_normalise
from flameduck.schema.profile import Upload

from .measure import interleaved, report

START_NS = 1_700_000_000_000_000_000


def load_json(raw: bytes) -> object:
    """The bare way to read JSON."""
    return json.loads(raw)


def read_bytes(raw: bytes) -> object:
    """The bare way to read text: every line once."""
    return raw.count(b"\n"), raw.split(b"\n")


@dataclass(frozen=True)
class Reading:
    """One input of a format: its inflated bytes, and what the values of each profile type must add up to.

    `detected` is false for formats that only `--input-format` can name.
    """

    format: str
    raw: bytes
    totals: dict[str, int]
    bare: Callable[[bytes], object] = load_json
    rounds: int = 3
    detected: bool = True


def measure_reading(one: Reading) -> None:
    """Detect, decode and normalise in this process, check the totals, print one line."""
    outcome = _read(one)
    assert not outcome.refused, outcome.refused
    found = totals_of(outcome)
    assert found == one.totals, (found, one.totals)
    costs = interleaved(one.rounds, {"bare": lambda: one.bare(one.raw), "read": lambda: _read(one)})
    megabytes = len(one.raw) / 1e6
    report(
        f"read {one.format}",
        {
            "mb": megabytes,
            "mb_per_s_core": megabytes / costs["read"].cpu_s,
            "bare_mb_per_s_core": megabytes / costs["bare"].cpu_s,
            "to_bare": costs["read"].cpu_s / costs["bare"].cpu_s,
        },
    )


def totals_of(outcome: Outcome) -> dict[str, int]:
    """The sum of the values of each profile type."""
    totals: dict[str, int] = {}
    for batch, _ in outcome.batches:
        types = dict(
            zip(
                *(batch.series.column(name).to_pylist() for name in ("series_id", "profile_type")),
                strict=True,
            )
        )
        at = 0
        values = batch.samples.column("value")
        counts = zip(*(batch.profiles.column(name).to_pylist() for name in ("series_id", "n")), strict=True)
        for series_id, n in counts:
            total = pc.sum(values.slice(at, n)).as_py() or 0
            totals[types[series_id]] = totals.get(types[series_id], 0) + total
            at += n
    return totals


def _read(one: Reading) -> Outcome:
    named = "" if one.detected else one.format
    return decode_and_normalise([Upload(one.raw, {}, "bench", START_NS, input_format=named)], DecodeLimits())
