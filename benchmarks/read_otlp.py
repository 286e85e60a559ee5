"""OTLP profiles on one core: protobuf against parsing the message, JSON against `json.loads`.

python -m benchmarks.read_otlp [MEGABYTES]
"""

from __future__ import annotations

import sys
from random import Random

from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from flameduck.schema.proto import otlp_profiles_pb2 as otlp

from .reading import Reading, load_json, measure_reading

MEGABYTES = 20
STACKS, FUNCTIONS, THREADS = 6000, 3000, 200
SAMPLES = 250
PERIOD_NS = 50_000_000


def dictionary(chance: Random) -> otlp.ProfilesDictionary:
    """Tables like those of a host's profiler: native frames, some without symbols, threads as attributes."""
    tables = otlp.ProfilesDictionary(
        string_table=[b"", b"samples", b"count", b"cpu", b"nanoseconds", b"thread.name"]
    )
    for table in (tables.mapping_table, tables.location_table, tables.function_table, tables.link_table):
        table.add()
    tables.attribute_table.add()
    tables.stack_table.add()
    for number in range(20):
        tables.string_table.append(b"/usr/lib/lib%d.so" % number)
        tables.mapping_table.add(filename_strindex=len(tables.string_table) - 1, memory_limit=1 << 30)
    for number in range(FUNCTIONS):
        tables.string_table.append(b"module_%d::function_%d" % (number % 50, number))
        tables.function_table.add(name_strindex=len(tables.string_table) - 1)
        location = tables.location_table.add(mapping_index=chance.randint(1, 20), address=4096 * number + 17)
        if number % 10:
            location.lines.add(function_index=number + 1, line=chance.randint(1, 2000))
    for number in range(THREADS):
        value = otlp.AnyValue(string_value=b"worker-%d" % number)
        tables.attribute_table.add(key_strindex=5, value=value)
    for _ in range(STACKS):
        first, depth = chance.randint(1, FUNCTIONS - 50), chance.randint(5, 50)
        tables.stack_table.add(location_indices=range(first + depth, first, -1))
    return tables


def request(megabytes: int, chance: Random) -> tuple[bytes, int]:
    """A request of processes with a CPU profile each, and how many samples it holds."""
    message = otlp.ProfilesData(dictionary=dictionary(chance))
    size_bytes = total = 0
    while size_bytes < megabytes * 1_000_000:
        resource = message.resource_profiles.add()
        value = otlp.AnyValue(int_value=len(message.resource_profiles))
        resource.resource.attributes.add(key=b"process.pid", value=value)
        profile = resource.scope_profiles.add().profiles.add(time_unix_nano=10**18, period=PERIOD_NS)
        profile.sample_type.type_strindex, profile.sample_type.unit_strindex = 1, 2
        profile.period_type.type_strindex, profile.period_type.unit_strindex = 3, 4
        for _ in range(SAMPLES):
            attribute = chance.randint(1, THREADS)
            sample = profile.samples.add(stack_index=chance.randint(1, STACKS), attribute_indices=[attribute])
            times = chance.randint(1, 3)
            sample.timestamps_unix_nano.extend(10**18 + chance.randrange(10**9) for _ in range(times))
            total += times
        size_bytes += resource.ByteSize()
    return message.SerializeToString(), total


def main(megabytes: int) -> None:
    """Measure both encodings of one request."""
    raw, total = request(megabytes, Random(1))
    totals = {"process_cpu:samples:count:cpu:nanoseconds": total}
    measure_reading(Reading("otlp", raw, totals, ExportProfilesServiceRequest.FromString))
    document = MessageToJson(ExportProfilesServiceRequest.FromString(raw), indent=None).encode()
    measure_reading(Reading("otlp-json", document, totals, load_json))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MEGABYTES)
