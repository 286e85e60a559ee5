"""What the routes ask the querier, each tenant within its limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

from ....schema.request import Request
from ..limits import Overrides, TenantLimits
from ..querier import Querier
from .query_limits import checked_range_ns, dot_nodes, max_nodes
from .tenancy import tenant_of

Found = TypeVar("Found")
Made = TypeVar("Made")


@dataclass(frozen=True)
class TenantQuestions:
    """What one tenant may ask, and asks."""

    tenant: str
    limits: TenantLimits
    querier: Querier

    def range_ns(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        """`[start, end)` in nanoseconds of what it may ask of a range. Raises `RequestError`."""
        return checked_range_ns(start_ms, end_ms, self.limits, time.time_ns())

    def max_nodes(self, asked: int) -> int:
        """So many nodes of a flame graph at most. Raises `RequestError`."""
        return max_nodes(asked, self.limits)

    def profile_nodes(self, asked: int) -> int:
        """So many nodes of a merged profile at most, 0: all; limited where the tenant's limits say so.

        Raises `RequestError`.
        """
        return self.max_nodes(asked) if self.limits.max_flamegraph_nodes_on_select_merge_profile else asked

    def dot_nodes(self, asked: int) -> tuple[int, int]:
        """Nodes of a graph's source, and of the graph. Raises `RequestError`."""
        return dot_nodes(asked, self.limits)

    async def ask(self, kind: Callable[..., Found], request: Request, make: Callable[[Found], Made]) -> Made:
        """What `make` makes of the answer of a request, which is of a kind, outside of the event loop.

        Raises `RequestError`, `StorageError`, and `Overloaded` when too many questions wait.
        """
        later = self.querier.submit(self.tenant, request, lambda answer: make(cast(Found, answer)))
        return await asyncio.wrap_future(later)


class Questions:
    """The way from a request's headers to its tenant's questions."""

    def __init__(self, querier: Querier, limits: Overrides, multitenancy: bool) -> None:
        self._querier = querier
        self._limits = limits
        self._multitenancy = multitenancy

    def of(self, headers: Mapping[str, str]) -> TenantQuestions:
        """Those of the tenant that the headers name. Raises `Unauthenticated`."""
        tenant = tenant_of(headers, self._multitenancy)
        return TenantQuestions(tenant, self._limits.of(tenant), self._querier)
