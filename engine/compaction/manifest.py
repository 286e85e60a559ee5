"""The manifest of a deletion: who asked for what and when, and what it did to which blocks, with their checksums.

`<tenant>/deletions/<tombstone>.json`: written when the tombstone came into force, and again when it has done what it is
for. A tombstone that comes into force again, since a head had older profiles, adds to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ...schema.errors import CorruptBlock, ObjectExists, ObjectMissing
from ...schema.times import format_time_ns
from ...schema.tombstone import Tombstone, tombstone_from_fields
from ..storage.objects import Objects

IN_FORCE = "in force"
DONE = "done"

Manifest = Mapping[str, Any]


def manifest_path(tenant: str, tombstone: str) -> str:
    """Where the manifest of a tombstone is."""
    return f"{tenant}/deletions/{tombstone}.json"


def new_manifest(
    tombstone: Tombstone, state: str, changes: Sequence[Mapping[str, Any]], now_ns: int
) -> Manifest:
    """What is known of a deletion by now; `changes` are records of commits that were made."""
    gone = [block for change in changes for block in change["old"]]
    made = [change["new"] for change in changes if change["new"] is not None]
    return {
        "id": tombstone.id,
        "state": state,
        "asked": format_time_ns(tombstone.time_ns),
        "author": tombstone.author,
        "done": format_time_ns(now_ns) if state == DONE else None,
        "selector": tombstone.selector,
        "profile_type": tombstone.profile_type,
        "from": None if tombstone.start_ns is None else format_time_ns(tombstone.start_ns),
        "to": None if tombstone.end_ns is None else format_time_ns(tombstone.end_ns),
        "before": _sums(gone),
        "after": _sums(made),
        "removed": {
            name: sum(change["removed"][name] for change in changes) for name in ("profiles", "samples")
        },
        "changes": list(changes),
        "tombstone": tombstone.to_fields(),
    }


def _sums(blocks: Sequence[Mapping[str, Any]]) -> Mapping[str, int]:
    names = ("profiles", "samples", "size_bytes")
    return {"blocks": len(blocks)} | {name: sum(block[name] for block in blocks) for name in names}


def create_manifest(objects: Objects, tenant: str, tombstone: Tombstone) -> None:
    """Write down that a tombstone is in force, unless another process knows more already."""
    manifest = new_manifest(tombstone, IN_FORCE, (), 0)
    with suppress(ObjectExists):
        objects.create(manifest_path(tenant, tombstone.id), _encoded(manifest))


def write_manifest(objects: Objects, tenant: str, manifest: Manifest) -> None:
    """Write it down in place of what was known before."""
    objects.write(manifest_path(tenant, manifest["id"]), _encoded(manifest))


def _encoded(manifest: Manifest) -> bytes:
    return json.dumps(manifest, indent=1).encode()


def read_manifest(objects: Objects, tenant: str, tombstone: str) -> Manifest | None:
    """The manifest of a tombstone; None where there is none. Raises `CorruptBlock`."""
    path = manifest_path(tenant, tombstone)
    try:
        manifest: Manifest = json.loads(objects.read(path))
        if manifest["id"] != tombstone or not isinstance(manifest["changes"], list):
            raise ValueError("it is that of another")
        tombstone_from_fields(manifest["tombstone"])
    except ObjectMissing:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptBlock(f"{path}: not the manifest of a deletion: {error}") from None
    return manifest


def known_tombstones(objects: Objects, tenant: str) -> list[Tombstone]:
    """Those of all manifests that can be read: for who lost the catalog's log."""
    found = []
    for info in objects.list(f"{tenant}/deletions"):
        name = info.path.removeprefix(f"{tenant}/deletions/")
        if "/" not in name and name.endswith(".json"):
            manifest = read_manifest(objects, tenant, name.removesuffix(".json"))
            if manifest is not None:
                found.append(tombstone_from_fields(manifest["tombstone"]))
    return found


def gathered_changes(
    manifest: Manifest | None,
    records: Iterable[Mapping[str, Any]],
    commits: Iterable[str],
    live: Iterable[str],
) -> list[Mapping[str, Any]]:
    """What was done for a tombstone: what its manifest has, and the records of commits that were made since.

    `commits` are those that the log has, `live` the blocks that are there.
    """
    changes = {change["commit"]: change for change in (manifest["changes"] if manifest else [])}
    made, alive = set(commits), set(live)
    for record in records:
        if record["commit"] in made or (record["new"] is not None and record["new"]["ulid"] in alive):
            changes[record["commit"]] = record
    return list(changes.values())
