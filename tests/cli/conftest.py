"""A directory of profiles, a store of them, and a way to run commands in this process."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from flameduck.cli.main import cli
from flameduck.schema.errors import InvalidSql
from flameduck.schema.profile import Upload
from flameduck.schema.proto import profile_pb2
from flameduck.schema.request import (
    DEFAULT_INGEST,
    Answer,
    IngestOptions,
    IngestReport,
    Request,
    Rows,
    SqlRequest,
)

Run = Callable[..., Result]
CPU = (("samples", "count"), ("cpu", "nanoseconds"))
START_NS = 1_750_000_000 * 10**9
HEAP = (("alloc_space", "bytes"), ("inuse_space", "bytes"))
MINUTE_NS = 60 * 10**9


class Recorder:
    """A database of one profile type that remembers what it was asked, and refuses the SQL `bad`."""

    def __init__(self, profile_type: str = "") -> None:
        self.profile_type = profile_type
        self.asked: list[Request] = []
        self.queries: list[str] = []

    def ask(self, request: Request) -> Answer:
        self.asked.append(request)
        return Rows(pa.table({}), self.profile_type)

    def sql(self, request: SqlRequest) -> pa.Table:
        self.queries.append(request.text)
        if request.text == "bad":
            raise InvalidSql("no such column")
        return pa.table({"n": [len(self.queries)]})

    def ingest(self, uploads: Iterable[Upload], options: IngestOptions = DEFAULT_INGEST) -> IngestReport:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to release."""


@pytest.fixture(name="recorder")
def _recorder() -> type[Recorder]:
    return Recorder


def make_pprof(
    stacks: Mapping[str, Sequence[int]], types: Sequence[tuple[str, str]] = CPU, time_ns: int = START_NS
) -> bytes:
    """A gzipped pprof of ten seconds: `{"main;work": (3, 30_000_000)}`, root first, a value for each type.

    Function `f` is in `f.py`, called at line 10. The period type is the last type.
    """
    profile = profile_pb2.Profile(time_nanos=time_ns, duration_nanos=10 * 10**9, period=10_000_000)
    texts = [""]

    def text(value: str) -> int:
        if value not in texts:
            texts.append(value)
        return texts.index(value)

    for kind, unit in types:
        profile.sample_type.add(type=text(kind), unit=text(unit))
    profile.period_type.type, profile.period_type.unit = (text(part) for part in types[-1])
    ids: dict[str, int] = {}
    for stack, values in stacks.items():
        for name in stack.split(";"):
            if name not in ids:
                ids[name] = len(ids) + 1
                profile.function.add(id=ids[name], name=text(name), filename=text(f"{name}.py"), start_line=1)
                profile.location.add(id=ids[name]).line.add(function_id=ids[name], line=10)
        profile.sample.add(location_id=[ids[name] for name in reversed(stack.split(";"))], value=values)
    profile.string_table.extend(value.encode() for value in texts)
    return gzip.compress(profile.SerializeToString())


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line; a code that is not the expected one fails with what was said."""
    monkeypatch.delenv("FLAMEDUCK_STORE", raising=False)
    monkeypatch.delenv("FLAMEDUCK_TENANT", raising=False)

    def run_(*words: str, code: int = 0, stdin: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(cli, words, input=stdin, prog_name="flameduck", catch_exceptions=False)
        assert result.exit_code == code, f"{result.exit_code}: {result.output}"
        return result

    return run_


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`before`, `after` (cpu), `heap1`, `heap2` and `broken`, all `.pb.gz`, in the working directory."""
    contents = {
        "before.pb.gz": make_pprof(
            {"main;work;inner": (30, 300), "main;work": (20, 200), "main;idle": (50, 500)}
        ),
        "after.pb.gz": make_pprof(
            {"main;work;inner": (30, 300), "main;work": (10, 100), "main;fresh": (5, 50)},
            time_ns=START_NS + MINUTE_NS,
        ),
        "heap1.pb.gz": make_pprof({"main;keep": (900, 100)}, HEAP, START_NS),
        "heap2.pb.gz": make_pprof({"main;keep": (950, 300)}, HEAP, START_NS + MINUTE_NS),
        "broken.pb.gz": make_pprof({"main": (1, 1)})[:40],
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(files: Path, run: Run) -> str:
    """A store with the four good files; the cpu ones have versions."""
    where = str(files / "store")
    run("ingest", "before.pb.gz", "--service", "shop", "--label", "version=v1", "--store", where)
    run("ingest", "after.pb.gz", "--service", "shop", "--label", "version=v2", "--store", where)
    run("ingest", "heap1.pb.gz", "heap2.pb.gz", "--service", "shop", "--store", where)
    return where
