"""Times and durations as people write them, and as the store keeps them: nanoseconds since 1970, UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from .errors import InvalidTime

FIRST_NS, LAST_NS = -(2**63), 2**63 - 1
"""The first and the last time that the store can keep."""

_UNIT_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
    "d": 86_400 * 1_000_000_000,
    "w": 7 * 86_400 * 1_000_000_000,
}
_UNIX_TICK_NS = {0: 1_000_000_000, 3: 1_000_000, 6: 1_000, 9: 1}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d|w)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_duration_ns(text: str) -> int:
    """Nanoseconds of `15s`, `1h30m`, `250ms`. Raises `InvalidTime`."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidTime(f"duration {text!r}: expected something like 15s, 1h30m or 250ms")
    return sum(int(float(number) * _UNIT_NS[unit]) for number, unit in parts)


def parse_time_ns(text: str, now_ns: int) -> int:
    """Nanoseconds since 1970 of `now`, `-1h`, `now-15m`, RFC 3339, or Unix s, ms, us or ns (told by length).

    Raises `InvalidTime`.
    """
    stripped = text.strip()
    if stripped == "now":
        return now_ns
    relative = stripped.removeprefix("now")
    if relative.startswith(("-", "+")) and not relative[1:].isdigit():
        offset_ns = parse_duration_ns(relative[1:])
        return now_ns - offset_ns if relative[0] == "-" else now_ns + offset_ns
    if stripped.isdigit():
        return int(stripped) * _UNIX_TICK_NS[_unix_digits(stripped)]
    return _parse_rfc3339_ns(stripped)


def _unix_digits(text: str) -> int:
    """Decimal digits after the second in a Unix time of this length."""
    return 0 if len(text) <= 11 else 3 if len(text) <= 14 else 6 if len(text) <= 17 else 9


def _parse_rfc3339_ns(text: str) -> int:
    fraction = re.search(r"\.(\d+)", text)
    whole = text[: fraction.start()] + text[fraction.end() :] if fraction else text
    try:
        moment = datetime.fromisoformat(whole.replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError:
        raise InvalidTime(f"time {text!r}: expected -1h, RFC 3339, or Unix s, ms or ns") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - _EPOCH
    nanos = int((fraction.group(1) + "000000000")[:9]) if fraction else 0
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + nanos


def format_time_ns(time_ns: int) -> str:
    """RFC 3339 in UTC, with as many decimals as there are."""
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanos:09d}".rstrip("0").rstrip(".") + "Z" if nanos else text + "Z"
