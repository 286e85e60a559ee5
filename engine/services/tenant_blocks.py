"""The blocks of every tenant of a store, the same for all roles, and not for tenants that are only asked about."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from weakref import WeakValueDictionary

from ..block_set import BlockSet

MOST_TENANTS = 1000
"""Tenants whose blocks stay open while nobody asks."""


class TenantBlocks:
    """Block sets by tenant. Safe for several threads.

    There is one set of a tenant while anybody holds it. Those of the tenants that have something stored, as far as is
    known, are kept for the next question as well: names that clients make up cost nothing once they are answered.
    """

    def __init__(self, make: Callable[[str], BlockSet], most: int = MOST_TENANTS) -> None:
        self._make = make
        self._most = most
        self._lock = Lock()
        self._held: WeakValueDictionary[str, BlockSet] = WeakValueDictionary()
        self._kept: OrderedDict[str, BlockSet] = OrderedDict()

    def of(self, tenant: str) -> BlockSet:
        """One tenant's blocks. Raises `RequestError` for a name that is none."""
        with self._lock:
            found = self._held.get(tenant)
            if found is None:
                found = self._held[tenant] = self._make(tenant)
            if found.catalog.known_version:
                self._kept[tenant] = found
                self._kept.move_to_end(tenant)
                if len(self._kept) > self._most:
                    self._kept.popitem(last=False)
            return found

    def __len__(self) -> int:
        """Tenants whose blocks are held by anybody."""
        return len(self._held)
