"""The directories of blocks, and those that no catalog entry names any more, or ever did."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ulid import ULID

from .catalog import Catalog
from .objects_protocol import ObjectInfo, Objects

META = "meta.json"


@dataclass(frozen=True)
class BlockDirectory:
    """A block's directory: its files, of which a writer that was killed may have left none but temporary ones."""

    ulid: str
    files: Sequence[ObjectInfo]

    @property
    def size_bytes(self) -> int:
        """Of its files."""
        return sum(file.size_bytes for file in self.files)


def find_leftovers(
    objects: Objects, catalog: Catalog, tenant: str, before_ns: int
) -> Sequence[BlockDirectory]:
    """Blocks that are not live, were begun before a time, and have not ceased to be live since.

    What was begun later may yet be committed, and what ceased to be live may still be read. What has no name of a block
    is not looked at. Raises `StorageError`.
    """
    # Blocks are listed first: one that is made and committed meanwhile is live when the catalog is read.
    found = find_blocks(objects, tenant)
    live = catalog.load().blocks
    removed = catalog.removed_since(before_ns)
    return [
        block
        for block in found
        if block.ulid not in live and block.ulid not in removed and begun_ns(block.ulid) < before_ns
    ]


def remove_leftover(objects: Objects, tenant: str, leftover: BlockDirectory) -> None:
    """Delete the files of a block, `meta.json` before all others, so that no reader takes it for whole."""
    for file in sorted(leftover.files, key=lambda file: not file.path.endswith(f"/{META}")):
        objects.delete(file.path)
    place = objects.local_path(_directory(tenant, leftover.ulid))
    if place is not None:
        # The directory itself, and temporary files, which are no objects.
        shutil.rmtree(place, ignore_errors=True)


def find_blocks(objects: Objects, tenant: str) -> Sequence[BlockDirectory]:
    """Every directory of a tenant with the name of a block, by name. Raises `StorageError`."""
    files: dict[str, list[ObjectInfo]] = {ulid: [] for ulid in _local_names(objects, tenant)}
    for info in objects.list(f"{tenant}/blocks"):
        ulid, _, rest = info.path.removeprefix(f"{tenant}/blocks/").partition("/")
        if rest:
            files.setdefault(ulid, []).append(info)
    return [BlockDirectory(ulid, infos) for ulid, infos in sorted(files.items()) if is_ulid(ulid)]


def _local_names(objects: Objects, tenant: str) -> Sequence[str]:
    """Directories of this machine, which may hold no object."""
    place = objects.local_path(f"{tenant}/blocks")
    return os.listdir(place) if place is not None and Path(place).is_dir() else ()


def is_ulid(name: str) -> bool:
    """Whether a name is a block's."""
    try:
        return str(ULID.from_str(name)) == name
    except ValueError:
        return False


def begun_ns(ulid: str) -> int:
    """When a block was begun, as its name says."""
    return ULID.from_str(ulid).milliseconds * 1_000_000


def _directory(tenant: str, ulid: str) -> str:
    return f"{tenant}/blocks/{ulid}"
