"""The constant pools of a JFR chunk: symbols, classes, methods, stack traces, threads and thread states.

Pools follow each other in checkpoint events without saying how many bytes they take, so each is walked; those of
plain integers, which are most of the bytes, by columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...schema.errors import CorruptProfile
from ..trie import Ragged, offsets_of
from .jfr_columns import Bytes, IntArray, integers_between, is_integers
from .jfr_cursor import STRING, Cursor, StringConstant, Type, Types
from .jfr_names import stable_name

CLASS, METHOD, SYMBOL = "java.lang.Class", "jdk.types.Method", "jdk.types.Symbol"
STACK, STATE, THREAD = "jdk.types.StackTrace", "jdk.types.ThreadState", "java.lang.Thread"

_NO_ROWS = np.zeros(0, np.int64)
_CHECKPOINT_HEAD = ("start time", "duration", "place of the checkpoint before")
_WANTED: Mapping[str, tuple[str, ...]] = {CLASS: ("name",), METHOD: ("type", "name")}


@dataclass(frozen=True)
class Stacks:
    """Stack traces by key: their frames are methods' keys and lines, leaf first."""

    keys: IntArray = field(default_factory=_NO_ROWS.copy)
    offsets: IntArray = field(default_factory=lambda: np.zeros(1, np.int64))
    methods: IntArray = field(default_factory=_NO_ROWS.copy)
    lines: IntArray = field(default_factory=_NO_ROWS.copy)


class Pools:
    """What the checkpoints of a chunk hold of the constants that samples need. A key given twice means its last value.

    `stacks` is complete once `finish` was called.
    """

    def __init__(self, data: Bytes, types: Types) -> None:
        self.stacks = Stacks()
        self._data = data
        self._types = types
        self._texts: dict[str, dict[int, object]] = {STRING: {}, SYMBOL: {}, STATE: {}}
        self._classes: dict[int, object] = {}
        self._methods: dict[int, tuple[object, object]] = {}
        self._threads: dict[int, tuple[object, object]] = {}
        self._stacks: list[Stacks] = []

    def read_checkpoint(self, at: int, end: int) -> None:
        """A checkpoint event, from behind its size and type. Raises `CorruptProfile`."""
        cursor = self._data.cursor(at, end)
        for _ in _CHECKPOINT_HEAD:
            cursor.integer()
        cursor.take(1)
        for _ in range(cursor.integer(4)):
            self._pool(cursor)

    def finish(self) -> None:
        """All checkpoints were read."""
        self.stacks = _joined(self._stacks)

    def text(self, value: object, pool: str = SYMBOL) -> str:
        """A string that is written out, or is a constant of a pool; empty where it is not there."""
        if isinstance(value, int):
            value = self._texts[pool].get(value)
        if isinstance(value, StringConstant):
            value = self._texts[STRING].get(value.key)
        return value if isinstance(value, str) else ""

    def class_name(self, key: int) -> str | None:
        """A class's name as it is shown, or none where there is no such class."""
        return stable_name(self.text(self._classes[key])) if key in self._classes else None

    def frame_name(self, method: int) -> str | None:
        """`class.method`, or none where the method or its class is missing."""
        if method == 0 or method not in self._methods:
            return None
        class_key, name = self._methods[method]
        owner = self.class_name(class_key) if isinstance(class_key, int) else None
        return None if owner is None else f"{owner}.{stable_name(self.text(name))}"

    def thread_name(self, key: int) -> str:
        """A thread's name in Java, or else the system's."""
        java, system = self._threads.get(key, ("", ""))
        return self.text(java, STRING) or self.text(system, STRING)

    def state(self, key: int) -> str:
        """The name of a thread's state, empty where it is not there."""
        return self.text(key, STATE)

    def _pool(self, cursor: Cursor) -> None:
        type_id = cursor.integer()
        count = cursor.count()
        kind = self._types.get(type_id)
        if kind is None:
            raise CorruptProfile(
                f"constants of type {type_id}, which is not in the metadata, at byte {cursor.at}"
            )
        if self._is_text(kind):
            self._texts.setdefault(kind.name, {}).update(cursor.texts(count))
        elif self._data.compressed and is_integers(self._types, kind.fields) and kind.fields:
            self._integers(cursor, kind, count)
        elif not (self._data.compressed and kind.name == STACK and self._stack_columns(cursor, kind, count)):
            self._one_by_one(cursor, type_id, kind, count)

    def _is_text(self, kind: Type) -> bool:
        """Whether a constant is a string, or a struct of one."""
        if kind.name == STRING:
            return True
        (only, *more) = kind.fields or (None,)
        if only is None or more or only.constant or only.array or only.type_id not in self._types:
            return False
        return self._types[only.type_id].name == STRING

    def _integers(self, cursor: Cursor, kind: Type, count: int) -> None:
        """Constants that are a key and integers: a table."""
        width = 1 + len(kind.fields)
        end = min(cursor.end, cursor.at + 9 * width * count)
        table, ends = integers_between(self._data.array, cursor.at, end)
        if len(table) < width * count:
            raise CorruptProfile(f"{count} constants {kind.name} at byte {cursor.at} go beyond their event")
        names = ["", *(one.name for one in kind.fields)]
        cursor.at = int(ends[width * count - 1]) if count else cursor.at
        if not set(_WANTED.get(kind.name, ("none",))) <= set(names):
            return
        rows = table[: width * count].reshape(count, width)
        keys, *wanted = (_unsigned(rows[:, names.index(one)]) for one in ("", *_WANTED.get(kind.name, ())))
        if kind.name == CLASS:
            self._classes.update(zip(keys, *wanted, strict=True))
        if kind.name == METHOD:
            self._methods.update(zip(keys, zip(*wanted, strict=True), strict=True))

    def _stack_columns(self, cursor: Cursor, kind: Type, count: int) -> bool:
        """Stack traces as integers end to end, if that is what they are."""
        frame = self._types.get(kind.fields[-1].type_id) if kind.fields else None
        if frame is None or not is_integers(self._types, (*kind.fields[:-1], *frame.fields)):
            return False
        last, names = kind.fields[-1], [one.name for one in frame.fields]
        if last.constant or not last.array or not {"method", "lineNumber"} <= set(names):
            return False
        table, ends = integers_between(self._data.array, cursor.at, cursor.end)
        head, width = 1 + len(kind.fields), len(frame.fields)
        starts, total = _stack_starts(table, (count, head, width), kind.name)
        heads = table[:total]
        kept = np.ones(total, np.bool_)
        kept[(starts[:, None] + np.arange(head)).reshape(-1)] = False
        frames = heads[kept].reshape(-1, width)
        self._stacks.append(
            Stacks(
                keys=heads[starts],
                offsets=offsets_of(heads[starts + head - 1]),
                methods=frames[:, names.index("method")],
                lines=frames[:, names.index("lineNumber")],
            )
        )
        cursor.at = int(ends[total - 1]) if total else cursor.at
        return True

    def _one_by_one(self, cursor: Cursor, type_id: int, kind: Type, count: int) -> None:
        stacks: dict[int, list[dict[str, Any]]] = {}
        for _ in range(count):
            key = cursor.integer()
            value = cursor.typed(self._types, type_id)
            if kind.name in self._texts:
                self._texts[kind.name][key] = _first(value)
            elif kind.name == CLASS:
                self._classes[key] = value.get("name", "")
            elif kind.name == METHOD:
                self._methods[key] = (value.get("type"), value.get("name", ""))
            elif kind.name == THREAD:
                self._threads[key] = (value.get("javaName", ""), value.get("osName", ""))
            elif kind.name == STACK and isinstance(value.get("frames"), list):
                stacks[key] = [one for one in value["frames"] if isinstance(one, dict)]
        if stacks:
            self._stacks.append(_from_dicts(stacks))


def _first(value: Any) -> object:
    """A string, or the first field of what holds one."""
    return next(iter(value.values()), "") if isinstance(value, dict) else value


def _unsigned(column: IntArray) -> list[int]:
    found: list[int] = np.ascontiguousarray(column).view(np.uint64).tolist()
    return found


def _stack_starts(table: IntArray, shape: tuple[int, int, int], name: str) -> tuple[IntArray, int]:
    """Where in the integers each stack trace begins, and how many integers they are in all."""
    count, head, width = shape
    starts = np.zeros(count, np.int64)
    numbers, at, size = table.data, 0, len(table)
    for row in range(count):
        starts[row] = at
        frames = numbers[at + head - 1] if at + head <= size else -1
        if not 0 <= frames <= (size - at) // max(width, 1):
            raise CorruptProfile(f"constant {row} of {count} {name} goes beyond its event")
        at += head + frames * width
    if at > size:
        raise CorruptProfile(f"the last of {count} {name} goes beyond its event")
    return starts, at


def _from_dicts(stacks: Mapping[int, list[dict[str, Any]]]) -> Stacks:
    frames = [frame for stack in stacks.values() for frame in stack]
    return Stacks(
        keys=np.array(list(stacks), np.uint64).view(np.int64),
        offsets=offsets_of(np.array([len(stack) for stack in stacks.values()], np.int64)),
        methods=np.array([_number(one.get("method")) for one in frames], np.uint64).view(np.int64),
        lines=np.array([_number(one.get("lineNumber")) for one in frames], np.uint64).view(np.int64),
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _joined(parts: list[Stacks]) -> Stacks:
    """All stack traces by ascending key, the last of those with the same."""
    if not parts:
        return Stacks()
    keys = np.concatenate([one.keys for one in parts])
    offsets = offsets_of(np.concatenate([np.diff(one.offsets) for one in parts]))
    found, last = np.unique(keys[::-1], return_index=True)
    rows = len(keys) - 1 - last
    taken = [
        Ragged(np.concatenate([getattr(one, name) for one in parts]), offsets).take(rows)
        for name in ("methods", "lines")
    ]
    return Stacks(found, taken[0].offsets, taken[0].values, taken[1].values)
