"""Times as Pyroscope's plain HTTP routes take them: digits of any unit, or `now-1h`.

What is neither means now, never an error: old clients rely on that.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_NS_S = 10**9
_DIGITS_NS = {13: 10**6, 16: 10**3, 19: 1}
_UNITS_S = (
    ("mon", 30 * 86_400),
    ("min", 60),
    ("s", 1),
    ("m", 60),
    ("h", 3600),
    ("d", 86_400),
    ("w", 7 * 86_400),
)
_YEAR_S = 365 * 86_400
_STEP = re.compile(r"(\d+)([A-Za-z]*)")
_MOST_NS = 2**63 - 1


def parse_attime_ns(text: str, now_ns: int) -> int:
    """The time that a text means, in nanoseconds since 1970."""
    plain = re.sub(r"[_,\s]", "", text)
    if plain.isascii() and plain.isdigit():
        return min(_from_digits(plain), _MOST_NS)
    sign = "+" if "+" in plain else "-" if "-" in plain else ""
    if not sign:
        return now_ns
    offset_s = sum(int(count) * _unit_s(unit) for count, unit in _STEP.findall(plain.split(sign, 1)[1]))
    offset_ns = offset_s * _NS_S
    return max(0, min(now_ns + offset_ns if sign == "+" else now_ns - offset_ns, _MOST_NS))


def _from_digits(digits: str) -> int:
    if len(digits) == 8:
        try:
            return int(datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC).timestamp()) * _NS_S
        except ValueError:
            pass
    return int(digits) * _DIGITS_NS.get(len(digits), _NS_S)


def _unit_s(unit: str) -> int:
    if unit.startswith("M"):
        return 30 * 86_400
    if unit.startswith("y"):
        return _YEAR_S
    return next((seconds for prefix, seconds in _UNITS_S if unit.startswith(prefix)), 0)
