"""An ingester and a querier in this process, over any objects: what a restart finds, and what a question sees."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from flameduck.engine.block_set import BlockSet
from flameduck.engine.database import DuckDB, connect
from flameduck.engine.head.head import Head, HeadBatch
from flameduck.engine.head.log import LogFile
from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.engine.services.decoding import GroupBounds
from flameduck.engine.services.deleter import moment_of
from flameduck.engine.services.ingester import FlushBounds, Ingester, IngesterBounds
from flameduck.engine.services.metrics import Metrics
from flameduck.engine.services.querier import TenantDatabase
from flameduck.engine.settings import Settings
from flameduck.engine.storage.cache import block_locator
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.objects import open_objects
from flameduck.engine.storage.objects_protocol import Objects
from flameduck.schema.request import Flamegraph, FlamegraphRequest, Selection, TreeQuery
from tests.engine.ingest.made_profiles import made_upload

TENANT = "acme"
DEFAULT_FLUSH = FlushBounds()
QUEUE_BYTES = 20_000


@cache
def _database() -> DuckDB:
    """One for all rigs: to open one takes as long as what it is asked here."""
    return connect()


class Rig:
    """The roles of one process over a directory; another over the same one is what a restart is."""

    def __init__(
        self,
        directory: Path,
        objects: Objects | None = None,
        flush: FlushBounds = DEFAULT_FLUSH,
        opened: type[LogFile] = LogFile,
    ) -> None:
        self.directory = directory
        self.objects = objects or open_objects(str(directory / "store"))
        self._locate = block_locator(self.objects, directory / "cache", 1 << 30)
        self._sets: dict[str, BlockSet] = {}
        self.head = Head(directory / "head", opened, lambda tenant: moment_of(self.blocks_of(tenant)))
        self.stored: list[str] = []
        groups = GroupBounds(window_s=0.01, queue_bytes=QUEUE_BYTES)
        self.metrics = Metrics()
        bounds = IngesterBounds(groups, flush, lambda _: DecodeLimits(), self.stored.append)
        self.ingester = Ingester(self.head, self.blocks_of, bounds, self.metrics)

    def blocks_of(self, tenant: str) -> BlockSet:
        """A tenant's blocks."""
        if tenant not in self._sets:
            catalog = Catalog(self.objects, tenant)
            self._sets[tenant] = BlockSet(self.objects, catalog, tenant, self._locate, Settings())
        return self._sets[tenant]

    def commit(self, *numbers: int, tenant: str = TENANT) -> None:
        """Make profiles durable, each in a batch of its own."""
        batches = [
            HeadBatch(tenant, [batch])
            for number in numbers
            for batch, _ in decode_and_normalise([made_upload(number)], DecodeLimits()).batches
        ]
        assert self.head.commit(batches) == [None] * len(numbers)

    def total(self, tenant: str = TENANT) -> int:
        """What a flame graph of everything sums up to."""
        found = TenantDatabase(self.head, self.blocks_of(tenant), Settings(), _database)
        graph = found.ask(FlamegraphRequest(TreeQuery(Selection(profile_type="cpu"))))
        assert isinstance(graph, Flamegraph)
        return graph.total

    def live(self, tenant: str = TENANT) -> set[str]:
        """The blocks in the catalog."""
        return set(self.blocks_of(tenant).state().blocks)

    def profiles_stored(self, tenant: str = TENANT) -> int:
        """Profile rows in live blocks."""
        return sum(block.meta.profiles for block in self.blocks_of(tenant).live_blocks())
