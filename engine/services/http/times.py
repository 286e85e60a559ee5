"""The wire's times: inclusive milliseconds, against our half-open nanoseconds."""

from __future__ import annotations

from ....schema.errors import RequestError

MS = 1_000_000


def range_ns(start_ms: int, end_ms: int) -> tuple[int, int]:
    """`[start, end)` in nanoseconds. Raises `RequestError` for a range that is missing or upside down."""
    if not start_ms or not end_ms:
        raise RequestError("missing time range in the query")
    if start_ms > end_ms:
        raise RequestError("query start time is after end time")
    return start_ms * MS, end_ms * MS + 1
