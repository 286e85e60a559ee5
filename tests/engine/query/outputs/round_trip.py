"""One profile in and out again: what a store keeps of it, by the pprof that it writes."""

from __future__ import annotations

import gzip
from collections import Counter
from dataclasses import dataclass
from typing import Any

from flameduck.engine.embedded import FilesDatabase, open_files
from flameduck.schema.profile import Upload
from flameduck.schema.proto import profile_pb2
from flameduck.schema.request import Exported, ExportRequest, ProfileTypesRequest, Rows, Selection, TreeQuery

TIME_NS = 1_600_000_000_123_456_789


def stored(data: bytes, **said: Any) -> FilesDatabase:
    """A store of one file."""
    return open_files([Upload(data, {"service_name": "s"}, "a file", time_ns=TIME_NS, **said)])


def export(database: FilesDatabase, name: str, kind: str = "", **tree: Any) -> bytes:
    """What the store gives back."""
    answer = database.ask(ExportRequest(TreeQuery(Selection(profile_type=kind), **tree), name))
    assert isinstance(answer, Exported)
    return answer.data


@dataclass(frozen=True)
class Kept:
    """Values by profile type, by frames (name, file, line, column, first line) root first, and by labels."""

    values: Counter[tuple[Any, ...]]
    time_ns: int
    duration_ns: int


def kept(database: FilesDatabase) -> Kept:
    """What a store keeps of its one profile, mapped files and raw names aside."""
    answer = database.ask(ProfileTypesRequest(Selection()))
    assert isinstance(answer, Rows)
    found: Counter[tuple[Any, ...]] = Counter()
    message = profile_pb2.Profile()
    for kind in answer.table.column("profile_type").to_pylist():
        message = profile_pb2.Profile.FromString(gzip.decompress(export(database, "pprof", kind)))
        texts = [text.decode() for text in message.string_table]
        functions = {one.id: one for one in message.function}
        locations = {one.id: one for one in message.location}
        for sample in message.sample:
            frames = []
            for at in reversed(sample.location_id):
                for line in reversed(locations[at].line):
                    of = functions[line.function_id]
                    frames.append((texts[of.name], texts[of.filename], line.line, line.column, of.start_line))
            labels = tuple((texts[label.key], texts[label.str], label.num) for label in sample.label)
            found[kind, tuple(frames), labels] += sample.value[0]
    return Kept(found, message.time_nanos, message.duration_nanos)
