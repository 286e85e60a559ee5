"""Files that no ingest may fall for, each with words of the reason for which it is refused."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterator, Mapping

import zstandard

from flameduck.schema.proto import profile_pb2
from tests.engine.ingest.made_profiles import made_profile
from tests.fuzz.mutations import varint

BOMB_BYTES = 100 << 20
LIMIT_BYTES = 32 << 20
"""The limit under which the bombs are bombs; above what any other file here holds."""

Change = Callable[[profile_pb2.Profile], None]


def changed(change: Change) -> bytes:
    """A good profile but for one thing."""
    profile = profile_pb2.Profile.FromString(made_profile(3))
    change(profile)
    data: bytes = profile.SerializeToString()
    return data


def _dangling_location(profile: profile_pb2.Profile) -> None:
    profile.sample[0].location_id[0] = 99


def _zero_location(profile: profile_pb2.Profile) -> None:
    profile.sample[0].location_id[0] = 0


def _dangling_function(profile: profile_pb2.Profile) -> None:
    profile.location[2].line[0].function_id = 1 << 63


def _dangling_mapping(profile: profile_pb2.Profile) -> None:
    profile.location[2].mapping_id = 7


def _string_beyond(profile: profile_pb2.Profile) -> None:
    profile.function[1].name = 1 << 40


def _string_before(profile: profile_pb2.Profile) -> None:
    profile.function[1].filename = -1


def _label_string_beyond(profile: profile_pb2.Profile) -> None:
    profile.sample[0].label.add(key=1 << 62, str=1)


def _type_string_beyond(profile: profile_pb2.Profile) -> None:
    profile.sample_type[1].unit = 500


def _too_many_values(profile: profile_pb2.Profile) -> None:
    profile.sample[1].value.append(1)


def _too_few_values(profile: profile_pb2.Profile) -> None:
    del profile.sample[1].value[1:]


def _no_values(profile: profile_pb2.Profile) -> None:
    del profile.sample[1].value[:]


def _same_location_twice(profile: profile_pb2.Profile) -> None:
    profile.location[2].id = profile.location[1].id


def _same_function_twice(profile: profile_pb2.Profile) -> None:
    profile.function[2].id = profile.function[1].id


def _same_mapping_twice(profile: profile_pb2.Profile) -> None:
    profile.mapping.add(id=1, memory_start=1, memory_limit=2)
    profile.mapping.add(id=1, memory_start=3, memory_limit=4)


def _no_types(profile: profile_pb2.Profile) -> None:
    del profile.sample_type[:]


def _sum_beyond_64_bits(profile: profile_pb2.Profile) -> None:
    for sample in profile.sample:
        sample.value[1] = (1 << 63) - 1


def _first_string_not_empty(profile: profile_pb2.Profile) -> None:
    profile.string_table[0] = b"x"


CONTRADICTIONS: Mapping[str, tuple[Change, str]] = {
    "dangling-location": (_dangling_location, "sample.location_id"),
    "zero-location": (_zero_location, "sample.location_id"),
    "dangling-function": (_dangling_function, "location.line.function_id"),
    "dangling-mapping": (_dangling_mapping, "location.mapping_id"),
    "string-beyond": (_string_beyond, "function.name"),
    "string-before": (_string_before, "function.filename"),
    "label-string-beyond": (_label_string_beyond, "sample.label.key"),
    "type-string-beyond": (_type_string_beyond, "sample_type.unit"),
    "too-many-values": (_too_many_values, "number of values"),
    "too-few-values": (_too_few_values, "number of values"),
    "no-values": (_no_values, "number of values"),
    "same-location-twice": (_same_location_twice, "two locations"),
    "same-function-twice": (_same_function_twice, "two functions"),
    "same-mapping-twice": (_same_mapping_twice, "two mappings"),
    "no-types": (_no_types, "sample_type"),
    "sum-beyond-64-bits": (_sum_beyond_64_bits, "sample.value"),
    "first-string-not-empty": (_first_string_not_empty, "string_table[0]"),
}


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def _packed_varints(count: int) -> bytes:
    """A sample whose list of locations says that it is longer than it is."""
    return b"\x12" + varint(4) + b"\x0a" + varint(count) + b"\x01\x01"


def hostile() -> Iterator[tuple[str, bytes, str]]:
    """Name, bytes, and a part of the reason."""
    raw = made_profile(3)
    packed = gzip.compress(raw)
    yield "empty.pb", b"", "empty"
    yield "one-byte.pb", b"\x0a", ""
    yield "text.pb", b"This is not a profile.\nNot at all.\n", "not a profile"
    yield "picture.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, ""
    yield "zeros.pb", bytes(100_000), "not a profile"
    yield "truncated.pb", raw[: len(raw) * 2 // 3], "pprof"
    yield "truncated.pb.gz", packed[:-20], "gzip"
    yield "no-trailer.pb.gz", packed[:-8], "gzip"
    yield "corrupt.pb.gz", _flipped(packed, len(packed) // 2), "gzip"
    yield "wrong-checksum.pb.gz", _flipped(packed, len(packed) - 6), "gzip"
    yield "trailing.pb.gz", packed + b"something else", "gzip"
    yield "truncated.pb.zst", zstandard.compress(raw)[:-9], "zstd"
    yield "corrupt.pb.zst", _flipped(zstandard.ZstdCompressor(write_checksum=True).compress(raw), -1), "zstd"
    yield "bomb.pb.gz", gzip.compress(bytes(BOMB_BYTES), 1), "limit"
    yield "bomb.pb.zst", zstandard.compress(bytes(BOMB_BYTES)), "limit"
    yield "late-bomb.pb.gz", packed + gzip.compress(bytes(BOMB_BYTES), 1), "limit"
    yield "gzip-in-gzip.pb.gz", gzip.compress(packed), "not a profile"
    yield "length-2-63.pb", raw + b"\x12" + varint(1 << 63), "pprof"
    yield "length-2-63-first.pb", b"\x12" + varint(1 << 63) + raw, ""
    yield "length-2-31.pb", raw + b"\x32" + varint(1 << 31), "pprof"
    yield "length-beyond-64-bits.pb", raw + b"\x12" + b"\xff" * 11, "pprof"
    yield "long-list.pb", raw + _packed_varints(1 << 40), "pprof"
    yield "deep-groups.pb", b"\x13" * 1_000_000, ""
    yield "deep-groups-late.pb", raw + b"\x13" * 1_000_000, "pprof"
    yield "deep-messages.pb", raw + _nested(2000), "pprof"
    yield "end-of-no-group.pb", raw + b"\x14", "pprof"
    yield "field-0.pb", raw + b"\x02\x00", "pprof"
    yield "wire-type-7.pb", raw + b"\x17", "pprof"
    yield "no-count.folded", b"main;work 3\n" * 9 + b"main;work 4x\n", "line 10: count"
    yield "count-beyond-64-bits.folded", b"main;work 9223372036854775808\n", "64"
    yield "sum-beyond-64-bits.folded", b"main;a 9223372036854775807\nmain;a 9223372036854775807\n", "64"
    yield "floats.pb", b"\x0d" + struct.pack("<f", 1.0) * 10, ""
    for name, (change, reason) in CONTRADICTIONS.items():
        yield f"{name}.pb", changed(change), reason


def _nested(depth: int) -> bytes:
    """Groups that are opened and closed again, inside a sample."""
    return b"\x12" + varint(2 * depth) + b"\x0b" * depth + b"\x0c" * depth
