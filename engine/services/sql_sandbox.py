"""What runs in the process of one SQL statement: a DuckDB instance closed to everything but one snapshot's files.

The process is made ready before it is known for whom, and answers one statement. It yields to the other processes of
this machine, and a limit of the operating system stops what DuckDB's own limit of memory does not count, such as one
text of a gigabyte.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from dataclasses import dataclass

from ...schema.errors import InvalidSql, Unavailable
from ...schema.request import SqlRequest
from ..database import AnswerLimits, DatabaseLimits, DuckDB, Query, connect
from ..database_face import FaceContents, prepare_face
from .table_formats import table_bytes

_NICENESS = 10
_FURTHER_BYTES = 768 << 20
"""What a statement needs beside DuckDB's memory, such as the answer as Arrow and as text."""

_READY_BYTES = 1 << 30
"""What a process holds when it is ready, where the system does not say."""

_FURTHER_CPU_S = 20

_opened: DuckDB | None = None


@dataclass(frozen=True)
class SqlBounds:
    """What one statement may take."""

    memory_bytes: int = 512 << 20
    threads: int = 2
    seconds: float = 30.0
    rows: int = 1_000_000
    answer_bytes: int = 128 << 20
    temp_bytes: int = 4 << 30


@dataclass(frozen=True)
class SqlJob:
    """One statement, what it may see, and the format of its answer."""

    request: SqlRequest
    contents: FaceContents
    format: str

    @property
    def paths(self) -> tuple[str, ...]:
        """The files it may read: some of the snapshot's blocks."""
        return tuple(sorted({path for paths in self.contents.files.values() for path in paths}))


@dataclass(frozen=True)
class Place:
    """Bounds, and the directory where a statement may spill, which is the caller's to remove."""

    bounds: SqlBounds
    directory: str


def make_ready(place: Place) -> None:
    """Bound this process, and open a DuckDB with the public views."""
    global _opened  # noqa: PLW0603 # the process serves one statement: there is nobody to share it with
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Should the server be killed, nobody is left to stop what runs here.
    cpu_s = int(place.bounds.seconds * place.bounds.threads) + _FURTHER_CPU_S
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    _opened = open_database(place)
    # Libraries, stacks and what the allocator keeps for each thread: the more cores, the more of it.
    limit = _held_bytes() + place.bounds.memory_bytes + _FURTHER_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _held_bytes() -> int:
    """What the system counts against the limit by now."""
    with suppress(OSError), open("/proc/self/status") as status:
        for line in status:
            name, _, value = line.partition(":")
            if name == "VmData":
                return int(value.split()[0]) << 10
    return _READY_BYTES


def open_database(place: Place) -> DuckDB:
    """A DuckDB with the public views over nothing, not closed yet."""
    bounds = place.bounds
    opened = connect(
        DatabaseLimits(
            bounds.threads, bounds.memory_bytes, place.directory, bounds.temp_bytes, home=place.directory
        )
    )
    with opened.session() as session:
        prepare_face(session, FaceContents())
    return opened


def answer(work: tuple[Place, SqlJob]) -> bytes:
    """Serve one statement in this process. Raises `InvalidSql`."""
    place, job = work
    if _opened is None:
        make_ready(place)
    assert _opened is not None
    # From here on it yields: to be ready is urgent, a stranger's statement is not.
    os.nice(_NICENESS)
    return answer_with(_opened, place.bounds, job)


def answer_with(opened: DuckDB, bounds: SqlBounds, job: SqlJob) -> bytes:
    """The answer of a statement in its format. Raises `InvalidSql`, also when it takes too much memory."""
    limits = AnswerLimits(bounds.rows, bounds.answer_bytes)
    try:
        opened.confine(job.paths)
        with opened.session() as session:
            prepare_face(session, job.contents)
            table = session.answer(Query("sql", job.request.text), job.request.parameters, limits)
        return table_bytes(table, job.format)
    except (Unavailable, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else "out of memory"
        raise InvalidSql(f"{reason}; limit {bounds.memory_bytes} bytes of memory") from None
