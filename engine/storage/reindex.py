"""A catalog from the blocks themselves, where its log was lost or broken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ...schema.block import BlockMeta
from ...schema.errors import CorruptBlock, ObjectMissing
from .block_directories import BlockDirectory, find_blocks
from .blocks import block_path, read_meta
from .objects_protocol import Objects

_AT_A_TIME = 16


@dataclass(frozen=True)
class FoundBlocks:
    """The blocks that are whole as far as names and sizes tell, and why others are not."""

    metas: Sequence[BlockMeta]
    left_out: Mapping[str, str]


def read_metas(objects: Objects, tenant: str, named: Iterable[str] = ()) -> FoundBlocks:
    """The metadata of every block of a tenant, also of those that are `named` by what is left of a catalog.

    Those are looked for by name: a store may list late. Raises `StorageError` when the store cannot be read.
    """
    listed = find_blocks(objects, tenant)
    unlisted = sorted(set(named) - {block.ulid for block in listed})
    found = [*listed, *(BlockDirectory(ulid, ()) for ulid in unlisted)]
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        results = list(threads.map(lambda block: _read(objects, tenant, block), found))
    metas = [result for result in results if isinstance(result, BlockMeta)]
    left_out = {
        block.ulid: result for block, result in zip(found, results, strict=True) if isinstance(result, str)
    }
    return FoundBlocks(metas, left_out)


def _read(objects: Objects, tenant: str, block: BlockDirectory) -> BlockMeta | str:
    """The metadata, or what is wrong with the block."""
    try:
        meta = read_meta(objects, tenant, block.ulid)
    except ObjectMissing:
        return "it has no meta.json: it was not written to its end"
    except CorruptBlock as error:
        return str(error).removeprefix(f"block {block.ulid}: ")
    sizes = {file.path: file.size_bytes for file in block.files}
    for name, expected in meta.files.items():
        path = block_path(tenant, block.ulid, name)
        try:
            size_bytes = sizes[path] if path in sizes else objects.size(path)
        except ObjectMissing:
            return f"{name} is not there"
        if size_bytes != expected.size_bytes:
            return f"{name} has {size_bytes} bytes instead of {expected.size_bytes}"
    return meta
