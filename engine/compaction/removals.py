"""What was taken out of which blocks for a tombstone: the evidence, written before the commit that does it.

`<tenant>/deletions/<tombstone>/<commit>.json`. A record counts once the catalog's log has its commit: a process that is
killed between the two leaves one that does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from ...schema.block import BlockMeta
from ...schema.errors import CommitConflict, CorruptBlock, ObjectMissing
from ..storage.objects import Objects
from .inputs import MergeInput


@dataclass(frozen=True)
class Removal:
    """One commit: the blocks that went and the one that came, as JSON has them; and what each tombstone took out."""

    commit_id: str
    old: Sequence[Mapping[str, Any]]
    new: Mapping[str, Any] | None
    removed: Mapping[str, Mapping[str, int]]


def removal_of(commit_id: str, inputs: Sequence[MergeInput], made: BlockMeta | None) -> Removal:
    """What a merge of these does."""
    removed: dict[str, dict[str, int]] = {}
    for one in inputs:
        for tombstone, rows in one.hidden.items():
            counts = removed.setdefault(tombstone, {"profiles": 0, "samples": 0})
            counts["profiles"] += len(rows)
            counts["samples"] += int(one.block.profile_ranges(rows)[1].sum())
    old = [_described(one.block.meta) for one in inputs]
    return Removal(commit_id, old, None if made is None else _described(made), removed)


def _described(meta: BlockMeta) -> Mapping[str, Any]:
    """A block and its files with their checksums (xxh3-128)."""
    return {
        "ulid": meta.ulid,
        "profiles": meta.profiles,
        "samples": meta.samples,
        "size_bytes": meta.size_bytes,
        "files": {name: asdict(file) for name, file in sorted(meta.files.items())},
    }


@contextmanager
def recorded(objects: Objects, tenant: str, removal: Removal) -> Iterator[None]:
    """Keep a record of a commit that is made in here; none where it comes to nothing."""
    paths = []
    for tombstone, counts in removal.removed.items():
        fields = {"commit": removal.commit_id, "old": removal.old, "new": removal.new, "removed": counts}
        paths.append(f"{records_path(tenant, tombstone)}/{removal.commit_id}.json")
        objects.write(paths[-1], json.dumps(fields, indent=1).encode())
    try:
        yield
    except CommitConflict:
        for path in paths:
            objects.delete(path)
        raise


def records_path(tenant: str, tombstone: str) -> str:
    """Where the records of a tombstone are."""
    return f"{tenant}/deletions/{tombstone}"


def read_records(objects: Objects, tenant: str, tombstone: str) -> list[dict[str, Any]]:
    """All records of a tombstone, also of commits that were never made. Raises `CorruptBlock`."""
    records = []
    for info in objects.list(records_path(tenant, tombstone)):
        try:
            fields = json.loads(objects.read(info.path))
            records.append({name: fields[name] for name in ("commit", "old", "new", "removed")})
        except ObjectMissing:
            # Its commit came to nothing meanwhile.
            continue
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptBlock(f"{info.path}: not a record of a removal: {error}") from None
    return records
