"""JFR recordings on one core, against a bare look at the size of every event.

python -m benchmarks.read_jfr
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.schema.profile import Upload

from .reading import START_NS, Reading, measure_reading, totals_of

FIXTURES = Path(__file__).resolve().parents[1] / "tests" / "fixtures"
SIZE_BYTES = 15_000_000
HEADER_BYTES = 68
_OFFSETS = struct.Struct(">qqq")


def main() -> None:
    """Measure many chunks as the JDK and as async-profiler write them, and one chunk of very many events."""
    for name in ("java-jdk25", "java-multi"):
        chunk = gzip.decompress((FIXTURES / f"{name}.jfr.gz").read_bytes())
        count = SIZE_BYTES // len(chunk)
        _measure(f"jfr: many chunks of {name}", chunk * count, _totals(chunk), count)
    count = SIZE_BYTES // (len(chunk) // 4)
    _measure(f"jfr: one long chunk of {name}", _lengthened(chunk, count), _totals(chunk), count)


def _lengthened(chunk: bytes, count: int) -> bytes:
    """A chunk with its events over and over; its metadata comes first and its constants last."""
    _, constants_at, metadata_at = _OFFSETS.unpack_from(chunk, 8)
    events_at = metadata_at + _number(chunk, metadata_at)[0]
    assert metadata_at == HEADER_BYTES
    events = chunk[events_at:constants_at] * count
    more = len(events) - (constants_at - events_at)
    offsets = _OFFSETS.pack(len(chunk) + more, constants_at + more, metadata_at)
    return chunk[:8] + offsets + chunk[32:events_at] + events + chunk[constants_at:]


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """A compressed integer, and where it ends."""
    value = shift = 0
    while raw[at] >= 0x80:
        value |= (raw[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
    return value | raw[at] << shift, at + 1


def _sizes(raw: bytes) -> int:
    """The bare way: from event to event, chunk to chunk."""
    at = events = 0
    while at < len(raw):
        end = at + _OFFSETS.unpack_from(raw, at + 8)[0]
        at += HEADER_BYTES
        while at < end:
            at += _number(raw, at)[0]
            events += 1
    return events


def _totals(raw: bytes) -> dict[str, int]:
    return totals_of(decode_and_normalise([Upload(raw, {}, "bench", START_NS)], DecodeLimits()))


def _measure(name: str, raw: bytes, totals: dict[str, int], count: int) -> None:
    expected = {kind: total * count for kind, total in totals.items()}
    measure_reading(Reading(name, raw, expected, _sizes))


if __name__ == "__main__":
    main()
