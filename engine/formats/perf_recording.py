"""What `perf script` says of a whole recording: the lines `# key : value` at its head, and the times of its samples."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from ...schema.times import LAST_NS
from .perf_text import read_head, time_ns

EDGE_BYTES = 64 << 10
"""So much of the beginning and of the end of a text is looked at."""

_HEADER = re.compile(r"# ([\w ]+?) *: (.*?)\s*")
_EVENT = re.compile(r"name = ([^,]+),.*")
_DATE = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([0-9]{4})")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_KEPT = ("hostname", "os release", "arch", "cpudesc", "cmdline")
_EPOCH_NS = 10**18
"""Times from here on count from 1970 (perf record -k CLOCK_REALTIME), smaller ones from the start of the machine."""


@dataclass(frozen=True)
class Recording:
    """When a recording was made and how long it took (0: not known), how it was made, and its event if it has one."""

    time_ns: int = 0
    duration_ns: int = 0
    comments: tuple[str, ...] = ()
    event: str = ""


def read_recording(head: bytes, tail: bytes = b"", dated: bool = True) -> Recording:
    """What the beginning and the end of a text say; without an end, only the head can say how long it took.

    Unless it is `dated`, the head's date is passed over.
    """
    said: dict[str, str] = {}
    events: list[str] = []
    lines = head.split(b"\n")
    for line in lines:
        found = _HEADER.fullmatch(line.decode("utf-8", "replace")) if line.startswith(b"#") else None
        if found:
            said.setdefault(found[1], found[2])
            event = _EVENT.fullmatch(found[2]) if found[1] == "event" else None
            events += [event[1].strip()] if event else []
    first_ns, last_ns = _first_time(lines), _first_time(reversed(tail.split(b"\n")))
    times = [said.get(f"time of {which} sample", "") for which in ("first", "last")]
    if all(re.fullmatch(r"[0-9]{1,20}\.[0-9]{1,9}", one) for one in times):
        first_ns, last_ns = (time_ns(one.encode()) for one in times)
    duration_ns = last_ns - first_ns
    captured_ns = _captured_ns(said.get("captured on", "")) if dated else 0
    return Recording(
        time_ns=first_ns if _EPOCH_NS <= first_ns <= LAST_NS else captured_ns,
        duration_ns=duration_ns if 0 < duration_ns <= LAST_NS else 0,
        comments=tuple(f"{key}: {said[key]}" for key in _KEPT if key in said),
        event=events[0] if len(events) == 1 else "",
    )


def _first_time(lines: Iterable[bytes]) -> int:
    for line in lines:
        found = None if line.startswith((b"\t", b"#")) else read_head(line)
        if found and found.time:
            return time_ns(found.time)
    return 0


def _captured_ns(text: str) -> int:
    """A date as ctime(3) writes it, which does not say its time zone: taken as UTC. 0 if it is none."""
    found = _DATE.fullmatch(text)
    if found is None or found[1] not in _MONTHS:
        return 0
    day, hour, minute, second, year = map(int, found.groups()[1:])
    try:
        moment = datetime(year, _MONTHS.index(found[1]) + 1, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return 0
    return max(int(moment.timestamp()), 0) * 10**9
