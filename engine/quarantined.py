"""The blocks of a store that were set aside as corrupt: which, whether they hold now, and using them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..schema.errors import ObjectMissing
from .inspection import Inspection
from .settings import Settings
from .storage.objects import open_objects
from .storage.quarantine import Quarantine, QuarantinedBlock


@dataclass(frozen=True)
class SetAside:
    """A block that was set aside, and what became of it; problems are of now, the record's reason is of then."""

    record: QuarantinedBlock
    is_live: bool
    is_verified: bool = False
    is_released: bool = False
    problems: Sequence[str] = ()


class Quarantined:
    """The blocks of one tenant that were set aside. Raises `StorageError` where the store cannot be read."""

    def __init__(self, store: str, tenant: str, settings: Settings) -> None:
        self._inspection = Inspection(store, tenant, settings)
        self._quarantine = Quarantine(open_objects(store), tenant)
        self._records = self._quarantine.blocks()

    def find(self, prefix: str) -> str:
        """The block set aside whose ULID starts so. Raises `ObjectMissing` unless there is exactly one."""
        fits = [ulid for ulid in self._records if ulid.startswith(prefix.upper())]
        if len(fits) == 1:
            return fits[0]
        raise ObjectMissing(f"block {prefix!r}: {len(fits)} blocks in quarantine have a ULID that starts so")

    def listed(self, check: bool) -> Iterator[SetAside]:
        """All of them, by ULID; with `check`, verified again."""
        if check:
            yield from self.verified(list(self._records), release=False)
        else:
            live = self._inspection.state.blocks
            yield from (SetAside(record, ulid in live) for ulid, record in self._records.items())

    def verified(self, ulids: Sequence[str], release: bool) -> Iterator[SetAside]:
        """Some of them, read to the last byte. With `release`, those that hold are used again.

        What the catalog no longer names is not read, and set aside no more.
        """
        for ulid in ulids:
            is_live = ulid in self._inspection.state.blocks
            verdicts = list(self._inspection.verify([ulid])) if is_live else []
            problems = [problem for verdict in verdicts for problem in verdict.problems]
            is_released = release and not problems
            if is_released:
                self._quarantine.release(ulid)
            yield SetAside(self._records[ulid], is_live, is_live, is_released, problems)
