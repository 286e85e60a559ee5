"""One small input of every format, for the conformance suite and the fuzzers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flameduck.schema.proto import profile_pb2
from tests.engine.formats import jfr_writer

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"

Kind = Literal["proto", "text", "json", "binary"]


@dataclass(frozen=True)
class Example:
    """An input that means one stack with one value, and one that cannot be read.

    `stack` is leaf first. `detected` is false for formats that only `--input-format` can name. `recordings` are
    fixtures of the format; `kind` says how the fuzzers spoil it.
    """

    good: bytes
    bad: bytes
    value: int
    kind: Kind
    stack: tuple[str, ...] = ("work", "main")
    detected: bool = True
    recordings: tuple[str, ...] = ()

    def corpus(self) -> list[bytes]:
        """Good inputs, as they are in the files."""
        return [self.good, *((FIXTURES / name).read_bytes() for name in self.recordings)]


def _pprof() -> bytes:
    message = profile_pb2.Profile(string_table=[b"", b"samples", b"count", b"main", b"work"])
    message.sample_type.add(type=1, unit=2)
    for number in (1, 2):
        message.function.add(id=number, name=number + 2)
        message.location.add(id=number).line.add(function_id=number)
    message.sample.add(location_id=[2, 1], value=[7])
    return bytes(message.SerializeToString())


_LIVE = jfr_writer.chunk(*[("profiler.LiveObject", {"stackTrace": 1, "objectClass": 2})] * 7)


EXAMPLES: Mapping[str, Example] = {
    "pprof": Example(_pprof(), _pprof()[:-2], 7, "proto", recordings=("rust-cpu.pb", "go-cpu.pb.gz")),
    "jfr": Example(
        _LIVE,
        _LIVE[:-5],
        7,
        "binary",
        stack=("app/Main.work", "app/Main.main"),
        recordings=("java-multi.jfr.gz", "java-live.jfr.gz", "java-jdk25.jfr.gz", "java-agent.jfr.gz"),
    ),
    "folded": Example(
        b"main;work 3\nmain;work 4\n",
        b"main;work 3\nmain x\n",
        7,
        "text",
        recordings=("python-cpu.folded",),
    ),
    "lines": Example(b"main;work\n\nmain;work\n", b"x" * (17 << 20), 2, "text", detected=False),
}
