"""The metadata of one immutable block: what it covers, what it came from, and the checksum of every file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import CorruptBlock
from .tables import FORMAT_VERSION


@dataclass(frozen=True)
class FileMeta:
    """Size and xxh3-128 checksum (hex) of one file of a block."""

    size_bytes: int
    checksum: str


@dataclass(frozen=True)
class PartMeta:
    """Facts of one part that a reader needs before it opens a file.

    Row ranges are half open: `samples` in samples.parquet, and likewise for the others.
    """

    part: int
    service_name: str
    name: str
    profile_types: tuple[str, ...]
    min_ts: int
    max_ts: int
    profiles: tuple[int, int]
    samples: tuple[int, int]
    stacks: tuple[int, int]
    stacktraces: tuple[int, int]
    frames: tuple[int, int]
    series: tuple[int, int]

    def trie_rows(self, table: str) -> tuple[int, int]:
        """The part's rows of `stacks`, `stacktraces` or `frames`."""
        return {"stacks": self.stacks, "stacktraces": self.stacktraces, "frames": self.frames}[table]


@dataclass(frozen=True)
class BlockMeta:
    """`meta.json`. `block` is the low 64 bits of the ULID: the constant of the `block` columns.

    `min_ts` and `max_ts` are the first and the last profile's time, both inclusive, nanoseconds. Tombstones up to the
    catalog version `applied` do not concern it.
    """

    ulid: str
    tenant: str
    level: int
    block: int
    min_ts: int
    max_ts: int
    profiles: int
    samples: int
    series: int
    parts: tuple[PartMeta, ...]
    files: Mapping[str, FileMeta]
    parents: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    sample_extras: tuple[str, ...] = ()
    version: int = FORMAT_VERSION
    size_bytes: int = field(default=0)
    applied: int = 0

    def to_json(self) -> bytes:
        """The bytes of meta.json."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True).encode()


def block_from_json(data: bytes, origin: str) -> BlockMeta:
    """Read meta.json. Raises `CorruptBlock` when it is not one, or newer than this reader."""
    try:
        fields: dict[str, Any] = json.loads(data)
        version = int(fields["version"])
        if version > FORMAT_VERSION:
            raise CorruptBlock(
                f"{origin}: format version {version} is newer than {FORMAT_VERSION}, which is read here"
            )
        fields["parts"] = tuple(_part(part) for part in fields["parts"])
        fields["files"] = {name: FileMeta(**meta) for name, meta in fields["files"].items()}
        for name in ("parents", "sources", "sample_extras"):
            fields[name] = tuple(fields[name])
        return BlockMeta(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptBlock(f"{origin}: not a block's meta.json: {error}") from None


def _part(fields: dict[str, Any]) -> PartMeta:
    values: dict[str, Any] = {}
    for key, value in fields.items():
        values[key] = tuple(value) if isinstance(value, list) else value
    return PartMeta(**values)
