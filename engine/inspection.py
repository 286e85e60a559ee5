"""Looks at the blocks of a store themselves: their metadata, and whether what must hold in them does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..schema.block import BlockMeta
from ..schema.catalog import CatalogState
from ..schema.errors import ObjectMissing, StorageError
from .settings import Settings
from .storage.blocks import read_meta
from .storage.catalog import Catalog
from .storage.objects import Objects, open_objects
from .storage.verify import broken_promises


@dataclass(frozen=True)
class Verdict:
    """One block and what is wrong with it; no problems: it holds."""

    ulid: str
    files: int
    size_bytes: int
    problems: tuple[str, ...] = ()


class Inspection:
    """The blocks of one tenant of a store at one catalog version."""

    def __init__(self, store: str, tenant: str, settings: Settings) -> None:
        self._objects: Objects = open_objects(store)
        self._tenant = tenant
        self._spill_directory = settings.spill_directory
        self.state: CatalogState = Catalog(self._objects, tenant).load()

    def find(self, prefix: str) -> str:
        """The live block whose ULID starts so. Raises `ObjectMissing` unless there is exactly one."""
        fits = [ulid for ulid in self.state.blocks if ulid.startswith(prefix.upper())]
        if len(fits) == 1:
            return fits[0]
        raise ObjectMissing(f"block {prefix!r}: {len(fits)} blocks of this store have a ULID that starts so")

    def meta(self, ulid: str) -> BlockMeta:
        """The metadata of a block. Raises `ObjectMissing` or `CorruptBlock`."""
        return read_meta(self._objects, self._tenant, ulid)

    def verify(self, ulids: Sequence[str]) -> Iterator[Verdict]:
        """Read every byte of some blocks, and check all that must hold in them; a verdict each."""
        for ulid in ulids:
            yield self._verify(ulid)

    def _verify(self, ulid: str) -> Verdict:
        problems: list[str] = []
        try:
            meta = self.meta(ulid)
            problems += _contradictions(self.state, meta)
            problems += broken_promises(self._objects, meta, self._spill_directory)
        except StorageError as error:
            return Verdict(ulid, 0, 0, (*problems, str(error)))
        return Verdict(ulid, len(meta.files), meta.size_bytes, tuple(problems))


def _contradictions(state: CatalogState, meta: BlockMeta) -> Iterator[str]:
    """Where the catalog and a block's own metadata disagree."""
    entry = state.blocks[meta.ulid]
    for name in ("level", "min_ts", "max_ts", "profiles", "samples", "size_bytes", "applied"):
        listed, found = getattr(entry, name), getattr(meta, name)
        if listed != found:
            yield f"catalog: {name} is {listed}, meta.json says {found}"
