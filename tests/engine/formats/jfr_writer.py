"""Writes small JFR chunks, of the types and in the encodings that a test asks for."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAGIC = b"FLR\0"
TICKS = "TICKS"


@dataclass(frozen=True)
class F:
    """A field: the name of its type, whether it is a constant's key, a list, a duration in some unit."""

    name: str
    type: str
    constant: bool = False
    array: bool = False
    timespan: str = ""


def ref(name: str, type: str) -> F:
    return F(name, type, constant=True)


TYPES: dict[str, list[F]] = {
    **{name: [] for name in ("boolean", "byte", "char", "short", "int", "long", "float", "double")},
    "java.lang.String": [],
    "jdk.jfr.Timespan": [F("value", "java.lang.String")],
    "jdk.types.Symbol": [F("string", "java.lang.String")],
    "jdk.types.ThreadState": [F("name", "java.lang.String")],
    "java.lang.Thread": [F("osName", "java.lang.String"), F("javaName", "java.lang.String")],
    "java.lang.Class": [ref("name", "jdk.types.Symbol"), F("modifiers", "int")],
    "jdk.types.Method": [
        ref("type", "java.lang.Class"),
        ref("name", "jdk.types.Symbol"),
        F("hidden", "boolean"),
    ],
    "jdk.types.StackFrame": [ref("method", "jdk.types.Method"), F("lineNumber", "int")],
    "jdk.types.StackTrace": [F("truncated", "boolean"), F("frames", "jdk.types.StackFrame", array=True)],
    "jdk.ActiveSetting": [
        F("startTime", "long"),
        F("id", "long"),
        F("name", "java.lang.String"),
        F("value", "java.lang.String"),
    ],
    "jdk.ExecutionSample": [
        F("startTime", "long"),
        ref("sampledThread", "java.lang.Thread"),
        ref("stackTrace", "jdk.types.StackTrace"),
        ref("state", "jdk.types.ThreadState"),
        F("contextId", "long"),
        F("spanId", "long"),
        F("spanName", "long"),
        F("traceIdHi", "long"),
        F("traceIdLo", "long"),
    ],
    "profiler.WallClockSample": [
        F("startTime", "long"),
        ref("sampledThread", "java.lang.Thread"),
        ref("stackTrace", "jdk.types.StackTrace"),
        ref("state", "jdk.types.ThreadState"),
        F("samples", "int"),
    ],
    "jdk.CPUTimeSample": [
        F("startTime", "long"),
        ref("stackTrace", "jdk.types.StackTrace"),
        ref("eventThread", "java.lang.Thread"),
        F("failed", "boolean"),
        F("samplingPeriod", "long", timespan=TICKS),
    ],
    "jdk.JavaMonitorEnter": [
        F("startTime", "long"),
        F("duration", "long", timespan=TICKS),
        ref("eventThread", "java.lang.Thread"),
        ref("stackTrace", "jdk.types.StackTrace"),
        ref("monitorClass", "java.lang.Class"),
    ],
    "jdk.ThreadPark": [
        F("startTime", "long"),
        F("duration", "long", timespan=TICKS),
        ref("stackTrace", "jdk.types.StackTrace"),
        ref("parkedClass", "java.lang.Class"),
    ],
    **{
        name: [
            F("startTime", "long"),
            ref("eventThread", "java.lang.Thread"),
            ref("stackTrace", "jdk.types.StackTrace"),
            ref("objectClass", "java.lang.Class"),
            *(F(one, "long") for one in sizes),
        ]
        for name, sizes in {
            "jdk.ObjectAllocationInNewTLAB": ("allocationSize", "tlabSize"),
            "jdk.ObjectAllocationOutsideTLAB": ("allocationSize",),
            "jdk.ObjectAllocationSample": ("weight",),
            "profiler.LiveObject": ("allocationSize",),
        }.items()
    },
    "profiler.Malloc": [ref("stackTrace", "jdk.types.StackTrace"), F("address", "long"), F("size", "long")],
    "profiler.Free": [ref("stackTrace", "jdk.types.StackTrace"), F("address", "long")],
    "test.Odd": [F("a", "float"), F("b", "double"), F("c", "jdk.types.Symbol"), F("d", "char", array=True)],
}

SYMBOLS = {1: "app/Main", 2: "main", 3: "work", 4: "java/util/HashMap", 5: "put"}
POOLS: dict[str, dict[int, list[Any]]] = {
    "jdk.types.StackTrace": {
        1: [0, [[2, 10], [1, 20]]],
        2: [1, [[3, 5], [1, 20]]],
        3: [0, [[9, 1], [1, 0xFFFFFFFF]]],  # a method that is missing, a line that is not known
        4: [0, []],
    },
    "jdk.types.Method": {1: [1, 2, 0], 2: [1, 3, 0], 3: [2, 5, 1]},
    "java.lang.Class": {1: [1, 0], 2: [4, 0]},
    "jdk.types.Symbol": {key: [text] for key, text in SYMBOLS.items()},
    "jdk.types.ThreadState": {1: ["STATE_RUNNABLE"], 2: ["STATE_SLEEPING"], 3: ["STATE_DEFAULT"]},
    "java.lang.Thread": {1: ["os-worker", "worker"], 2: ["GC", ""]},
}


@dataclass
class ChunkWriter:
    """One chunk: events in order, constants by type; `encoding` is that of strings (3, 4 or 5)."""

    events: Sequence[tuple[str, Mapping[str, Any]]] = ()
    pools: Mapping[str, Mapping[int, list[Any]]] = field(default_factory=lambda: POOLS)
    types: Mapping[str, list[F]] = field(default_factory=lambda: TYPES)
    compressed: bool = True
    version: tuple[int, int] = (2, 0)
    encoding: int = 3
    ticks_per_s: int = 10**9
    start_ns: int = 1_700_000_000_000_000_000
    duration_ns: int = 2_000_000_000
    checkpoints: int = 1

    def integer(self, number: int, width: int = 8) -> bytes:
        number &= 0xFFFFFFFFFFFFFFFF
        if not self.compressed:
            return number.to_bytes(width, "big")
        out = bytearray()
        while number >= 0x80 and len(out) < 8:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)
        return bytes(out)

    def string(self, text: str | int | None) -> bytes:
        """Null, empty, the key of a constant, or text in the chunk's encoding."""
        if text is None:
            return b"\0"
        if isinstance(text, int):
            return b"\2" + self.integer(text)
        if text == "":
            return b"\1"
        if self.encoding == 4:
            return b"\4" + self.integer(len(text), 4) + b"".join(self.integer(ord(one), 2) for one in text)
        data = text.encode("latin-1" if self.encoding == 5 else "utf-8")
        return bytes([self.encoding]) + self.integer(len(data), 4) + data

    def value(self, type: str, value: Any) -> bytes:
        width = {"char": 2, "short": 2, "int": 4, "long": 8}.get(type)
        if width:
            return self.integer(value, width)
        if type in ("boolean", "byte"):
            return bytes([value])
        if type in ("float", "double"):
            return struct.pack(">f" if type == "float" else ">d", value)
        if type == "java.lang.String":
            return self.string(value)
        return b"".join(self.field(one, part) for one, part in zip(self.types[type], value, strict=True))

    def field(self, one: F, value: Any) -> bytes:
        def single(value: Any) -> bytes:
            return self.integer(value) if one.constant else self.value(one.type, value)

        return self.integer(len(value), 4) + b"".join(map(single, value)) if one.array else single(value)

    def number(self, type: str) -> int:
        """The number of a type."""
        return 100 + list(self.types).index(type)

    def event(self, type_id: int, body: bytes) -> bytes:
        """An event: its size, which counts itself, its type and its body."""
        rest = self.integer(type_id) + body
        for width in (4,) if not self.compressed else range(1, 6):
            size = self.integer(width + len(rest), 4)
            if len(size) == width:
                return size + rest
        raise AssertionError

    def to_bytes(self) -> bytes:
        """The whole chunk, the metadata first and the constants last."""
        metadata = self._metadata()
        body = b"".join(self._event(name, values) for name, values in self.events)
        points = self._checkpoints()
        constants_at = 68 + len(metadata) + len(body) + sum(map(len, points[:-1]))
        size = 68 + len(metadata) + len(body) + sum(map(len, points))
        numbers = (size, constants_at, 68, self.start_ns, self.duration_ns, 0, self.ticks_per_s)
        header = struct.pack(">4sHHqqqqqqqI", MAGIC, *self.version, *numbers, int(self.compressed))
        return header + metadata + body + b"".join(points)

    def _event(self, name: str, values: Mapping[str, Any]) -> bytes:
        fields = self.types[name]
        empty = {"java.lang.String": None, "jdk.types.Symbol": ["x"], "float": 1.5, "double": -2.5}
        body = [
            self.field(one, values.get(one.name, [7] if one.array else empty.get(one.type, 0)))
            for one in fields
        ]
        return self.event(self.number(name), b"".join(body))

    def _checkpoints(self) -> list[bytes]:
        """The constants, dealt out to checkpoints one by one."""
        found = []
        for turn in range(self.checkpoints):
            body = self.integer(0) * 3 + b"\0" + self.integer(len(self.pools), 4)
            for type, constants in self.pools.items():
                mine = [
                    one for number, one in enumerate(constants.items()) if number % self.checkpoints == turn
                ]
                body += self.integer(self.number(type)) + self.integer(len(mine), 4)
                body += b"".join(
                    self.integer(key) + self.value(type, value[0] if type == "java.lang.String" else value)
                    for key, value in mine
                )
            found.append(self.event(1, body))
        return found

    def _metadata(self) -> bytes:
        table: dict[str, int] = {}

        def text(word: str) -> bytes:
            return self.integer(table.setdefault(word, len(table)), 4)

        def element(name: str, attributes: Mapping[str, str], children: Sequence[bytes]) -> bytes:
            pairs = b"".join(text(key) + text(value) for key, value in attributes.items())
            counts = self.integer(len(attributes), 4), self.integer(len(children), 4)
            return text(name) + counts[0] + pairs + counts[1] + b"".join(children)

        classes = []
        for name, fields in self.types.items():
            children = []
            for one in fields:
                attributes = {"name": one.name, "class": str(self.number(one.type))}
                attributes |= {"constantPool": "true"} if one.constant else {}
                attributes |= {"dimension": "1"} if one.array else {}
                spans = {"class": str(self.number("jdk.jfr.Timespan")), "value": one.timespan}
                notes = [element("annotation", spans, [])] if one.timespan else []
                children.append(element("field", attributes, notes))
            classes.append(element("class", {"name": name, "id": str(self.number(name))}, children))
        region = element("region", {"locale": "en", "gmtOffset": "0"}, [])
        root = element("root", {}, [element("metadata", {}, classes), region])
        strings = self.integer(len(table), 4) + b"".join(map(self.string, table))
        return self.event(0, self.integer(0) * 3 + strings + root)


def chunk(*events: tuple[str, Mapping[str, Any]], **said: Any) -> bytes:
    """A chunk of some events."""
    return ChunkWriter(events, **said).to_bytes()


def setting(
    name: str, value: str | int | None, event: str = "jdk.ActiveSetting"
) -> tuple[str, Mapping[str, Any]]:
    """A setting of the recorder."""
    return "jdk.ActiveSetting", {"id": 100 + list(TYPES).index(event), "name": name, "value": value}
