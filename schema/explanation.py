"""What answering a question read, and why: plain values, collected while it was answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TableRead:
    """What was read of one table of one block, in so many reads.

    `rows` were taken, or passed the filters that DuckDB applies in the file; what an earlier question left in memory is
    not read again. `size_bytes` are the compressed columns of the row groups that were touched: 0 for what was in
    memory.
    """

    table: str
    reads: int
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class BlockRead:
    """One block that a question read, or one segment of a head or the files that were opened (`in_memory`).

    `profiles` are those of the chosen series, in the range or not; `copies` of them were left out, since another block
    has them too. `rollups` says of how many parts which rollup was read, `samples` of how many parts samples were read
    and why no rollup was; the two together may count a part twice, whose range has ends beside whole buckets.
    """

    ulid: str
    level: int
    in_memory: bool
    parts: int
    series: int
    profiles: int
    copies: int = 0
    rollups: Mapping[str, int] = field(default_factory=dict)
    samples: Mapping[str, int] = field(default_factory=dict)
    tables: tuple[TableRead, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """How one question was answered, of one version of the catalog.

    `pruned` counts the blocks that were not read, by reason: `time`, `service`, `series`. `phases_ms` are milliseconds
    on the clock, one after the other.
    """

    catalog_version: int
    blocks: int
    pruned: Mapping[str, int]
    read: tuple[BlockRead, ...]
    phases_ms: Mapping[str, float]
    profile_type: str = ""
    notes: tuple[str, ...] = ()
