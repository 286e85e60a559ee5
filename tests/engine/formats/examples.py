"""One small input of every format, for the conformance suite and the fuzzers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flameduck.schema.proto import otlp_profiles_pb2, profile_pb2

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

EXAMPLES: Mapping[str, Example] = {
    "pprof": Example(_pprof(), _pprof()[:-2], 7, "proto", recordings=("rust-cpu.pb", "go-cpu.pb.gz")),
    "otlp": Example(_otlp(), _otlp()[:-2], 7, "proto", recordings=("export.otlp", "java-cpu.otlp")),
    "otlp-json": Example(_OTLP_JSON, _OTLP_JSON[:-2], 7, "json"),
    "folded": Example(
        b"main;work 3\nmain;work 4\n",
        b"main;work 3\nmain x\n",
        7,
        "text",
        recordings=("python-cpu.folded",),
    ),
    "lines": Example(b"main;work\n\nmain;work\n", b"x" * (17 << 20), 2, "text", detected=False),
}
