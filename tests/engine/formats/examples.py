"""One small input of every format, for the conformance suite and the fuzzers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flameduck.schema.proto import profile_pb2
from tests.engine.formats import python_examples

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"

Kind = Literal["proto", "text", "json", "binary"]


@dataclass(frozen=True)
class Example:
    """An input that means one stack, and one that cannot be read.

    `value` is that of the first sample type, `stack` is leaf first. `detected` is false for formats that only
    `--input-format` can name. `recordings` are fixtures of the format; `kind` says how the fuzzers spoil it, and
    `mutants_share` how many mutants they make where each takes long. `needs` is a module that the reader imports.
    """

    good: bytes
    bad: bytes
    value: int
    kind: Kind
    stack: tuple[str, ...] = ("work", "main")
    detected: bool = True
    recordings: tuple[str, ...] = ()
    mutants_share: float = 1.0
    needs: str = "flameduck"

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
    "memray": Example(
        (FIXTURES / "python-memray-tiny.bin").read_bytes(),
        b"memray\x00\x00\x00\x00\x00",
        7,
        "binary",
        recordings=("python-memray-all.bin", "python-memray-aggregated.bin"),
        mutants_share=0.2,
        needs="memray",
    ),
    "pyinstrument": Example(
        python_examples.PYINSTRUMENT,
        python_examples.PYINSTRUMENT.replace(b"[[[", b"[[[["),
        7,
        "json",
        recordings=("python-pyinstrument.pyisession.gz", "python-pyinstrument.json.gz"),
    ),
    "mojo": Example(
        python_examples.MOJO,
        python_examples.MOJO[:-3],
        7,
        "binary",
        recordings=tuple(f"austin-{mode}.mojo.gz" for mode in ("wall", "cpu", "memory", "full")),
    ),
    "pstats": Example(
        python_examples.PSTATS,
        python_examples.PSTATS[:-3],
        7,
        "binary",
        recordings=("python-cprofile.pstats",),
    ),
    "austin": Example(
        python_examples.AUSTIN,
        python_examples.AUSTIN.replace(b" 4\n", b" x\n"),
        7,
        "text",
        recordings=tuple(f"austin-{mode}.txt.gz" for mode in ("wall", "cpu", "memory", "full")),
    ),
    "tachyon": Example(b"tid:1;a.py:main:1;a.py:work:2 7\n", b"tid:1;a.py:main:1 x\n", 7, "text"),
    "py-spy": Example(
        b"main (a.py:1);work (a.py:2) 3\nmain (a.py:1);work (a.py:2) 4\n",
        b"main (a.py:1);work (a.py:2) 3\nmain (a.py:1) x\n",
        7,
        "text",
        recordings=("python-cpu.folded", "python-threads.folded.gz"),
    ),
    "folded": Example(b"main;work 3\nmain;work 4\n", b"main;work 3\nmain x\n", 7, "text"),
    "lines": Example(b"main;work\n\nmain;work\n", b"x" * (17 << 20), 2, "text", detected=False),
}
