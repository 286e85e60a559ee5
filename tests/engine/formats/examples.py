"""One small input of every format, for the conformance suite and the fuzzers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flameduck.schema.proto import otlp_profiles_pb2, profile_pb2
from tests.engine.formats import jfr_writer, python_examples, text_examples

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


_LIVE = jfr_writer.chunk(*[("profiler.LiveObject", {"stackTrace": 1, "objectClass": 2})] * 7)


def _otlp() -> bytes:
    message = otlp_profiles_pb2.ProfilesData()
    tables = message.dictionary
    tables.string_table.extend([b"", b"samples", b"count", b"main", b"work"])
    tables.mapping_table.add()
    for number in range(3):
        tables.function_table.add(name_strindex=number + 2 if number else 0)
        location = tables.location_table.add()
        if number:
            location.lines.add(function_index=number)
    tables.stack_table.add()
    tables.stack_table.add(location_indices=[2, 1])
    one = message.resource_profiles.add().scope_profiles.add().profiles.add()
    one.sample_type.type_strindex, one.sample_type.unit_strindex = 1, 2
    one.period_type.type_strindex = 1
    one.period = 1
    one.samples.add(stack_index=1, values=[7])
    return bytes(message.SerializeToString())


_OTLP_JSON = b"""{"resourceProfiles": [{"scopeProfiles": [{"profiles": [{
    "sampleType": {"typeStrindex": 1, "unitStrindex": 2}, "periodType": {"typeStrindex": 1}, "period": "1",
    "samples": [{"stackIndex": 1, "values": ["7"]}]}]}]}],
  "dictionary": {"stringTable": ["", "samples", "count", "main", "work"], "mappingTable": [{}],
    "functionTable": [{}, {"nameStrindex": 3}, {"nameStrindex": 4}],
    "locationTable": [{}, {"lines": [{"functionIndex": 1}]}, {"lines": [{"functionIndex": 2}]}],
    "stackTable": [{}, {"locationIndices": [2, 1]}]}}"""

PERF_TEXTS = ("cpu", "fields", "flat", "inlined", "switch", "node")
_PERF = b"app 7/8 [000] 1.5: instructions: \n\t1 work+0x1 (/app)\n\t2 main+0x2 (/app)\n\n"

EXAMPLES: Mapping[str, Example] = {
    "pprof": Example(_pprof(), _pprof()[:-2], 7, "proto", recordings=("rust-cpu.pb", "go-cpu.pb.gz")),
    "otlp": Example(_otlp(), _otlp()[:-2], 7, "proto", recordings=("export.otlp", "java-cpu.otlp")),
    "otlp-json": Example(_OTLP_JSON, _OTLP_JSON[:-2], 7, "json"),
    "perf-data": Example(
        b"PERFILE2" + _PERF * 7,
        b"PERFILE2" + _PERF.replace(b"2 main", b"main"),
        7,
        "binary",
    ),
    "perf-script": Example(
        _PERF * 7,
        _PERF.replace(b"2 main", b"main"),
        7,
        "text",
        recordings=tuple(f"perf-{kind}.txt.gz" for kind in PERF_TEXTS),
    ),
    "jfr": Example(
        _LIVE,
        _LIVE[:-5],
        7,
        "binary",
        stack=("app/Main.work", "app/Main.main"),
        recordings=("java-multi.jfr.gz", "java-live.jfr.gz", "java-jdk25.jfr.gz", "java-agent.jfr.gz"),
    ),
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
    "speedscope": Example(
        b'{"$schema": "https://www.speedscope.app/file-format-schema.json",'
        b' "shared": {"frames": [{"name": "main"}, {"name": "work", "file": "w.py", "line": 3}]},'
        b' "profiles": [{"type": "sampled", "name": "", "unit": "none", "startValue": 0, "endValue": 7,'
        b' "samples": [[0, 1], [0, 1]], "weights": [3, 4]}]}',
        b'{"$schema": "https://www.speedscope.app/file-format-schema.json",'
        b' "shared": {"frames": [{"name": "main"}]},'
        b' "profiles": [{"type": "sampled", "name": "", "unit": "none", "startValue": 0, "endValue": 7,'
        b' "samples": [[0, 1]], "weights": [3]}]}',
        7,
        "json",
        recordings=("python-cpu.speedscope.json",),
    ),
    "cpuprofile": Example(
        b'{"nodes": [{"id": 1, "callFrame": {"functionName": "main"}, "hitCount": 0, "children": [2]},'
        b' {"id": 2, "callFrame": {"functionName": "work"}, "hitCount": 7}], "startTime": 0, "endTime": 9}',
        b'{"nodes": [{"id": 1, "callFrame": {"functionName": "main"}, "hitCount": 0, "children": [3]}]}',
        7,
        "json",
        recordings=("node.cpuprofile",),
    ),
    "heapprofile": Example(
        b'{"head": {"callFrame": {"functionName": "(root)"}, "selfSize": 0, "children": ['
        b'{"callFrame": {"functionName": "main"}, "selfSize": 0, "children": ['
        b'{"callFrame": {"functionName": "work"}, "selfSize": 7, "children": []}]}]}}',
        b'{"head": {"callFrame": {"functionName": "main"}, "selfSize": -1}}',
        7,
        "json",
        recordings=("node.heapprofile",),
    ),
    "chrome-trace": Example(
        b'[{"ph": "X", "name": "main", "ts": 1, "dur": 0.007}, {"ph": "X", "name": "work", "ts": 1, "dur": 0.007}]',
        b'[{"ph": "X", "name": "main", "ts": "x"}]',
        7,
        "json",
        recordings=("chrome-trace.json.gz", "python-chrometrace.json.gz"),
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
    "groups": Example(
        b"main;work 3\nmain;work +4\n", b"main;work 3\nmain;work 4 \n", 7, "text", detected=False
    ),
    # A root without text, then one node: its text, its value, its children.
    "trie": Example(
        b"\x00\x00\x01\x09main;work\x07\x00",
        b"\x00\x00\x02\x09main;work\x07\x00",
        7,
        "binary",
        detected=False,
        recordings=("agent-cpu.trie", "agent-inuse_space.trie"),
    ),
    "tree": Example(
        b"\x00\x00\x01\x04main\x00\x01\x04work\x07\x00",
        b"\x00\x00\x01\x04main\x00\x01\x05work\x07\x00",
        7,
        "binary",
        detected=False,
        recordings=("agent-cpu.tree", "agent-inuse_space.tree"),
    ),
}
