"""The metadata of one immutable block: what it covers, what it came from, and the checksum of every file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import CorruptBlock
from .tables import FORMAT_VERSION, ROLLUP_WIDTHS_NS

_RANGES = ("profiles", "samples", "stacks", "stacktraces", "frames", "series")
"""The fields of a part that are row ranges."""


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
class RollupMeta:
    """One rollup of a block: the width of its buckets, its rows, and which of these each part has.

    `parts` lists (part, first row, one after the last) in order. A part that is not in it has no rollup, and is read
    from its samples.
    """

    name: str
    width_ns: int
    rows: int
    parts: tuple[tuple[int, int, int], ...]

    def span(self, part: int) -> tuple[int, int] | None:
        """The rows of a part, half open; None when it has no rollup."""
        return next(((first, last) for number, first, last in self.parts if number == part), None)


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
    rollups: tuple[RollupMeta, ...] = ()
    version: int = FORMAT_VERSION
    size_bytes: int = field(default=0)
    applied: int = 0

    def rows(self, table: str) -> int | None:
        """How many rows a table must have; None where that is not said."""
        of_block = {"index": self.series, "profiles": self.profiles, "samples": self.samples}
        if table in of_block:
            return of_block[table]
        if table not in ("stacks", "stacktraces", "frames"):
            return None
        return max((part.trie_rows(table)[1] for part in self.parts), default=0)

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
        fields["rollups"] = tuple(_rollup(rollup, fields["files"]) for rollup in fields.get("rollups", ()))
        meta = BlockMeta(**fields)
        _check(meta)
        return meta
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptBlock(f"{origin}: not a block's meta.json: {error}") from None


def _check(meta: BlockMeta) -> None:
    """Raises `ValueError` where a value cannot be one of a block's, whatever its files hold."""
    _check_counts(meta, ("level", "block", "profiles", "samples", "series", "size_bytes"))
    _check_counts(meta, ("min_ts", "max_ts"), least=-(2**63))
    for name, file in meta.files.items():
        _check_counts(file, ("size_bytes",))
        if not isinstance(file.checksum, str) or "/" in name:
            raise ValueError(f"file {name!r}: not a name and its checksum")
    for number, part in enumerate(meta.parts):
        if part.part != number:
            raise ValueError(f"part {part.part!r} is in place {number}")
        for name in _RANGES:
            first, last = getattr(part, name)
            if not (isinstance(first, int) and isinstance(last, int) and 0 <= first <= last):
                raise ValueError(f"part {number}: {name}: no range [{first!r}, {last!r})")


def _check_counts(of: object, names: Iterable[str], least: int = 0) -> None:
    for name in names:
        value = getattr(of, name)
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} is {value!r}")


def _part(fields: dict[str, Any]) -> PartMeta:
    values: dict[str, Any] = {}
    for key, value in fields.items():
        values[key] = tuple(value) if isinstance(value, list) else value
    return PartMeta(**values)


def _rollup(fields: dict[str, Any], files: Mapping[str, FileMeta]) -> RollupMeta:
    """Raises `ValueError` for one that no reader could use: nothing would be found where there is much."""
    rollup = RollupMeta(
        **fields | {"parts": tuple((part, first, last) for part, first, last in fields["parts"])}
    )
    if ROLLUP_WIDTHS_NS.get(rollup.name) != rollup.width_ns:
        raise ValueError(f"rollup {rollup.name!r} of {rollup.width_ns} ns is not known")
    if f"{rollup.name}.parquet" not in files:
        raise ValueError(f"rollup {rollup.name!r} has no file")
    return rollup
