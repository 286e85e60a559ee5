"""One event of a trace, and the names that a trace gives to processes and threads."""

from __future__ import annotations

import msgspec

from .json_document import decode_json
from .profile_builder import Label, Labels

Id = int | str
NS_PER_US = 1000


class Event(msgspec.Struct):
    """What is used of an event. Times are microseconds; `ph` is its kind."""

    ph: str = ""
    name: str | None = None
    pid: Id | None = None
    tid: Id | None = None
    ts: int | float | str | None = None
    dur: int | float | None = None
    id: Id | None = None
    args: msgspec.Raw = msgspec.Raw(b"{}")


class _Name(msgspec.Struct):
    name: str = ""


class Threads:
    """Processes and threads by number, with the names that metadata events give them."""

    def __init__(self) -> None:
        self._process: dict[Id, str] = {}
        self._thread: dict[tuple[Id, Id], str] = {}

    def add(self, event: Event) -> None:
        """Learn from a metadata event. Raises `CorruptProfile` for a name that is no text."""
        pid, tid = event.pid or 0, event.tid or 0
        if event.name == "process_name":
            self._process[pid] = decode_json(event.args, _Name, "process_name").name
        elif event.name == "thread_name":
            self._thread[pid, tid] = decode_json(event.args, _Name, "thread_name").name

    def labels(self, pid: Id | None, tid: Id | None) -> Labels:
        """What the samples of a thread are labelled with."""
        found = [_numbered("pid", pid), _numbered("tid", tid)]
        named = {"process": self._process.get(pid or 0), "thread": self._thread.get((pid or 0, tid or 0))}
        found += [Label(key, text) for key, text in named.items() if text]
        return tuple(label for label in found if label is not None)


def _numbered(key: str, number: Id | None) -> Label | None:
    if isinstance(number, str):
        return Label(key, number) if number else None
    if number is None or not -(2**63) <= number < 2**63:
        return None
    return Label(key, number=number)
