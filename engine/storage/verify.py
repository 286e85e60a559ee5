"""Whether a stored block is what its metadata says, to the last byte."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import xxhash

from ...schema.block import BlockMeta, FileMeta
from .blocks import StoredBlock, block_path
from .invariants import broken_invariants
from .objects_protocol import Objects
from .spill import work_directory

_PIECE_BYTES = 8 << 20


def broken_promises(objects: Objects, meta: BlockMeta, directory: str) -> Iterator[str]:
    """What does not hold of a block: checksums, and where these hold, everything that follows from its metadata.

    Every byte is read from the store itself, whatever caches hold. Files of remote stores are copied into a directory
    of their own below `directory` meanwhile. Raises `StorageError` for a file that cannot be read.
    """
    with work_directory(directory) as copies:
        wrong = False
        for file_name, expected in meta.files.items():
            path = block_path(meta.tenant, meta.ulid, file_name)
            reason = _difference(objects, path, expected, copies / file_name)
            if reason and objects.local_path(path) is None:
                # What came may have been the answer to another question.
                reason = _difference(objects, path, expected, copies / file_name)
            if reason:
                wrong = True
                yield f"{file_name}: {reason}"
        if not wrong:
            yield from broken_invariants(
                StoredBlock(meta, lambda path, _=None: _located(objects, path, copies))
            )


def _located(objects: Objects, path: str, copies: Path) -> str:
    return objects.local_path(path) or str(copies / path.rpartition("/")[2])


def _difference(objects: Objects, path: str, expected: FileMeta, copy: Path) -> str:
    """How a file differs from what is expected of it; it is copied unless it is on this machine."""
    size_bytes = objects.size(path)
    if size_bytes != expected.size_bytes:
        return f"{size_bytes} bytes instead of {expected.size_bytes}"
    digest = xxhash.xxh3_128()
    with ExitStack() as stack:
        sink = None if objects.local_path(path) else stack.enter_context(copy.open("wb"))
        for start in range(0, size_bytes, _PIECE_BYTES):
            piece = objects.read(path, start, start + _PIECE_BYTES)
            digest.update(piece)
            if sink is not None:
                sink.write(piece)
    return "" if digest.hexdigest() == expected.checksum else "checksum differs"
