"""One small input of every format, for the conformance suite and the fuzzers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flameduck.schema.proto import profile_pb2
from tests.engine.formats import text_examples

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"

Kind = Literal["proto", "text", "json", "binary"]


@dataclass(frozen=True)
class Example:
    """An input that means one stack, and one that cannot be read.

    `value` is that of the first sample type, `stack` is leaf first. `detected` is false for formats that only
    `--input-format` can name. `recordings` are fixtures of the format; `kind` says how the fuzzers spoil it.
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


EXAMPLES: Mapping[str, Example] = {
    "pprof": Example(_pprof(), _pprof()[:-2], 7, "proto", recordings=("rust-cpu.pb", "go-cpu.pb.gz")),
    "firefox": Example(
        text_examples.FIREFOX,
        b'{"meta": {"interval": 1, "version": 3}, "threads": 5}',
        7,
        "json",
        recordings=(
            "samply.json",
            "firefox-gecko.json.gz",
        ),
    ),
    "stackprof": Example(
        text_examples.STACKPROF,
        text_examples.STACKPROF.replace(b"[2, 10", b"[2, 11"),
        7,
        "json",
        recordings=(
            "ruby-cpu.stackprof.json",
            "ruby-wall.stackprof.json",
            "ruby-object.stackprof.json",
            "ruby-flat.stackprof.json",
        ),
    ),
    "sample": Example(text_examples.SAMPLE, b"Analysis of sampling nothing", 7, "text"),
    "jstack": Example(text_examples.JSTACK, b"no dump\n", 1, "text", recordings=("java.jstack.txt",)),
    "pprof-text": Example(
        text_examples.PPROF_TEXT,
        b"goroutine profile: total 7\n7 @ main\n",
        7,
        "text",
        recordings=(
            "go-goroutine-text.txt",
            "go-heap-text.txt",
            "go-mutex-text.txt",
            "go-block-text.txt",
        ),
    ),
    "goroutine-dump": Example(
        text_examples.GOROUTINES,
        b"no goroutine\n",
        1,
        "text",
        stack=("app.work", "main.main"),
        recordings=(
            "go-goroutine-dump.txt",
            "go-panic.txt",
        ),
    ),
    "bpftrace": Example(
        text_examples.BPFTRACE, b"@[\n    work+12\n]: many\n", 7, "text", recordings=("bpftrace.txt",)
    ),
    "dtrace": Example(text_examples.DTRACE, b"   app`main+0x3\n", 7, "text"),
    "folded": Example(
        b"main;work 3\nmain;work 4\n",
        b"main;work 3\nmain x\n",
        7,
        "text",
        recordings=("python-cpu.folded",),
    ),
    "lines": Example(b"main;work\n\nmain;work\n", b"x" * (17 << 20), 2, "text", detected=False),
}
