"""Small inputs of the formats of Python's profilers, made by hand."""

from __future__ import annotations

import json
import marshal
from collections.abc import Sequence

AUSTIN = (
    b"# austin: 3.7.0\n# interval: 100\n# mode: memory\n\n"
    b"P1;T0:2;a.py:main:1;a.py:work:2 3\nP1;T0:2;a.py:main:1;a.py:work:2 4\n\n# duration: 9\n"
)


def varint(number: int) -> bytes:
    """A number as MOJO writes it."""
    rest = abs(number)
    groups = [rest & 0x3F | (0x40 if number < 0 else 0)]
    rest >>= 6
    while rest:
        groups[-1] |= 0x80
        groups.append(rest & 0x7F)
        rest >>= 7
    return bytes(groups)


def event(kind: int, *fields: int | str) -> bytes:
    """An event of MOJO."""
    written = (varint(one) if isinstance(one, int) else one.encode() + b"\x00" for one in fields)
    return bytes([kind]) + b"".join(written)


def mojo_frame(key: int, name: str, line: int, version: int = 3) -> bytes:
    """The definition of a frame of `a.py`; its strings have the keys 100 and up."""
    more = (line, 5, 9) if version >= 2 else ()
    return event(11, 100, "a.py") + event(11, 100 + key, name) + event(3, key, 100, 100 + key, line, *more)


def mojo(events: Sequence[bytes], mode: str = "memory", version: int = 3) -> bytes:
    """A recording."""
    said = event(1, "austin", "3.7.0") + event(1, "interval", "100") + event(1, "mode", mode)
    return b"MOJ" + varint(version) + said + b"".join(events) + event(1, "duration", "9")


MOJO = mojo(
    [
        event(2, 1, 0, "2") + mojo_frame(1, "main", 1) + mojo_frame(2, "work", 2),
        event(5, 1) + event(5, 2) + event(10, 3),
        event(2, 1, 0, "2") + event(5, 1) + event(5, 2) + event(10, 4),
    ]
)

MAIN, WORK = ("a.py", 1, "main"), ("a.py", 2, "work")
PSTATS = marshal.dumps({WORK: (7, 7, 0.25, 0.25, {MAIN: (7, 7, 0.25, 0.25)})})

PYINSTRUMENT = json.dumps(
    {
        "start_time": 1.5,
        "duration": 2.0,
        "start_call_stack": [],
        "frame_records": [[["main\x00a.py\x001\x01l5", "work\x00a.py\x002\x01l3"], 0.5]] * 7,
    }
).encode()
