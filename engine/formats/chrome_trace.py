"""Chrome's trace event JSON: the Performance panel, `chrome://tracing`, and what else writes that format.

Source: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU ("Trace Event Format").

A trace that holds CPU profiles is those profiles (`trace_profiles.py`). Any other is its duration events, nested by
thread (`trace_spans.py`). Either way processes and threads are labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ...schema.errors import CorruptProfile
from . import Decoded, Failed, Input, one_by_one
from .json_document import ABSENT, array_pieces, decode_json, is_given
from .json_head import json_paths
from .names import name_reader
from .trace_events import Event, Threads
from .trace_profiles import PROFILE_EVENTS, ProfileEvents
from .trace_spans import SpanEvents

_SHAPES = (
    {"traceEvents"},
    {"metadata.source", "metadata.startTime"},
    {"[].ph", "[].ts"},
    {"[].ph", "[].pid"},
)


class Document(msgspec.Struct, rename="camel"):
    """The object form; the array form is `trace_events` alone."""

    trace_events: msgspec.Raw = ABSENT


class ChromeTrace:
    """`{"traceEvents": [{"ph": "X", "name": …, "ts": …, "dur": …, "pid": …, "tid": …}]}`, or the array alone."""

    name = "chrome-trace"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it is JSON with trace events."""
        paths = json_paths(head)
        return any(shape <= paths for shape in _SHAPES)

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile."""
        return one_by_one(inputs, _decode)


def _decode(number: int, one: Input) -> Iterator[Decoded]:
    names = name_reader(one)
    threads = Threads()
    has_profiles = any(f'"{name}"'.encode() in one.raw for name in PROFILE_EVENTS)
    reader = ProfileEvents(names) if has_profiles else SpanEvents(names)
    for event in _events(one.raw):
        if event.ph == "M":
            threads.add(event)
        else:
            reader.add(event)
    yield from reader.profile(number, threads)


def _events(raw: bytes) -> Iterator[Event]:
    text = raw.lstrip()
    array: msgspec.Raw | bytes = text
    if not text.startswith(b"["):
        array = decode_json(text, Document).trace_events
        if not is_given(array):
            raise CorruptProfile("traceEvents is missing")
    for piece in array_pieces(array):
        yield from decode_json(_closed(piece), list[Event], "traceEvents")


def _closed(piece: bytes) -> bytes:
    """An array with its end: programs that trace until they are killed leave it out."""
    text = piece.rstrip()
    return piece if text.endswith(b"]") else text.rstrip(b", \t\r\n") + b"]"
