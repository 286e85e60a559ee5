"""The head of one ingester: what it acknowledged and has not stored as blocks yet, durable and open to questions.

All tenants share one log, so that a group of pushes costs one sync whatever the number of tenants. Rows belong to
generations, one log file each: a flush closes a generation, stores its blocks, and only then drops it. Readers read
the head before the catalog; a block that is in both has one name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from ulid import ULID

from ...schema.errors import CorruptBlock, FlameduckError, LimitExceeded, StorageError, Unavailable
from ..query.opened import OpenBlock
from .admission import Admission
from .frames import UnknownVersion, decode_frame
from .generation import UNKNOWN, Pieces, TenantRows
from .log import Log, LogFile, LogReader, sync_directory

SUFFIX = ".log"
DAMAGED_SUFFIX = ".damaged"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeadBatch:
    """A batch to commit, in one piece or several of the same profiles. All of it becomes durable, or nothing."""

    tenant: str
    pieces: Pieces


class Generation:
    """What was committed between two flushes; `recovered`, by an earlier process. A log `is_damaged` if more is in
    it than could be read: it is set aside where others are removed.
    """

    def __init__(self, name: str, path: Path, recovered: bool = False) -> None:
        self.name = name
        self.path = path
        self.recovered = recovered
        self.is_damaged = False
        self._tenants: dict[str, TenantRows] = {}
        self._lock = Lock()

    @property
    def source(self) -> str:
        """How blocks name it."""
        return f"head/{self.name}"

    def rows(self, tenant: str, version: int = UNKNOWN) -> TenantRows:
        """One tenant's rows, made on first use; the tenant's catalog is at a version, as far as is known."""
        with self._lock:
            rows = self._tenants.get(tenant)
            if rows is None:
                rows = self._tenants[tenant] = TenantRows(tenant, version)
            rows.settle(version)
            return rows

    def is_before(self, tenant: str, tombstone: int) -> bool:
        """Whether a tombstone of that version concerns the tenant's rows, and so must not be joined by others."""
        rows = self.known_rows(tenant)
        return rows is not None and UNKNOWN < rows.applied < tombstone

    def known_rows(self, tenant: str) -> TenantRows | None:
        """One tenant's rows, if it has any that are not dropped."""
        with self._lock:
            return self._tenants.get(tenant)

    def tenants(self) -> Mapping[str, TenantRows]:
        """The tenants whose rows are not dropped."""
        with self._lock:
            return dict(self._tenants)

    def drop(self, tenant: str) -> None:
        """Forget one tenant's rows: they are stored."""
        with self._lock:
            self._tenants.pop(tenant, None)

    @property
    def samples(self) -> int:
        """Samples of all tenants."""
        return sum(rows.samples for rows in self.tenants().values())

    @property
    def size_bytes(self) -> int:
        """About what is held in memory."""
        return sum(rows.size_bytes for rows in self.tenants().values())


@dataclass(frozen=True)
class Moment:
    """What is known of a tenant's catalog: its version, `UNKNOWN` if it was not looked at, and its newest tombstone's."""

    version: int = 0
    last_tombstone: int = 0


class Head:
    """Durable recent profiles below a local directory. Safe for several threads.

    `moment_of` tells a tenant's moment, at once. What comes after a tombstone is not of the generation that it concerns.
    """

    def __init__(
        self,
        directory: Path,
        opened: type[LogFile] = LogFile,
        moment_of: Callable[[str], Moment] = lambda tenant: Moment(),
    ) -> None:
        """Read what an earlier process left behind. Raises `StorageError`."""
        self._directory = directory
        self._opened = opened
        self._moment_of = moment_of
        # Of tenants that ever had any: what is known of catalogs may be forgotten between two questions.
        self._last_tombstones: dict[str, int] = {}
        # Held by who writes the log; taken before all other locks.
        self._commit_lock = Lock()
        # Guards which generations there are; held for no time, so that questions never wait for the disk.
        self._list_lock = Lock()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            sync_directory(directory.parent)
        except OSError as error:
            raise StorageError(f"{directory}: {error.strerror or error}") from None
        self._closed = [self._recover(path) for path in sorted(directory.glob(f"*{SUFFIX}"))]
        self._log: Log | None = None
        self._current = self._new_generation()

    def _new_generation(self) -> Generation:
        name = str(ULID())
        return Generation(name, self._directory / f"{name}{SUFFIX}")

    def _recover(self, path: Path) -> Generation:
        generation = Generation(path.stem, path, recovered=True)
        reader = LogReader(path)
        for payload in reader.payloads():
            try:
                frame = decode_frame(payload)
                rows = generation.rows(frame.tenant, frame.applied)
                rows.add(rows.lean(frame.pieces))
            except UnknownVersion as error:
                raise UnknownVersion(f"{path}: {error}") from None
            except CorruptBlock as error:
                generation.is_damaged = True
                log.error("%s: a frame cannot be taken: %s", path, error)
        if reader.lost_bytes:
            generation.is_damaged = True
            log.warning("%s: the last %d bytes are no whole frame", path, reader.lost_bytes)
        return generation

    def commit(self, batches: Sequence[HeadBatch]) -> list[FlameduckError | None]:
        """Make batches durable; what is wrong with some, `None` for the others, which are there on return.

        Raises `Unavailable` when none could be written: then nothing of them is there.
        """
        outcomes: list[FlameduckError | None] = [None] * len(batches)
        with self._commit_lock:
            # The log first: where the last one broke, it begins another generation.
            moments = {name: self._moment_of(name) for name in sorted({one.tenant for one in batches})}
            written = self._open_log()
            if any(
                self._current.is_before(name, self._last_tombstone(name, one))
                for name, one in moments.items()
            ):
                self._close_generation()
                written = self._open_log()
            rows = {name: self._current.rows(name, one.version) for name, one in moments.items()}
            admissions = {name: Admission(one.lean, one.applied) for name, one in rows.items()}
            frames: list[tuple[int, Pieces, bytes]] = []
            for number, one in enumerate(batches):
                try:
                    lean, payload = admissions[one.tenant].admit(one.tenant, one.pieces)
                except (CorruptBlock, LimitExceeded) as error:
                    outcomes[number] = error
                else:
                    frames.append((number, lean, payload))
            if frames:
                written.append([payload for _, _, payload in frames])
            for number, lean, _ in frames:
                try:
                    rows[batches[number].tenant].add(lean)
                except CorruptBlock as error:
                    outcomes[number] = error
        return outcomes

    def note_tombstone(self, tenant: str, version: int) -> None:
        """A tenant has a tombstone of that version: what comes from now on is not what it concerns."""
        if version > self._last_tombstones.get(tenant, 0):
            self._last_tombstones[tenant] = version

    def _last_tombstone(self, tenant: str, moment: Moment) -> int:
        return max(moment.last_tombstone, self._last_tombstones.get(tenant, 0))

    def _open_log(self) -> Log:
        """The current generation's log, made with its first commit; another one where it broke."""
        if self._log is not None and self._log.broken:
            self._close_generation()
        if self._log is None:
            try:
                self._log = Log(self._current.path, self._opened)
            except Unavailable:
                # Whatever is left under that name is not in the way of the next try.
                with self._list_lock:
                    self._current = self._new_generation()
                raise
        return self._log

    def _close_generation(self) -> None:
        if self._log is not None:
            self._log.close()
            with self._list_lock:
                self._closed.append(self._current)
                self._log, self._current = None, self._new_generation()

    def rotate(self) -> Sequence[Generation]:
        """Close the current generation; returns all that are closed and not dropped, oldest first."""
        with self._commit_lock:
            self._close_generation()
        return self.closed()

    def closed(self) -> Sequence[Generation]:
        """The generations that are closed and not dropped, oldest first."""
        with self._list_lock:
            return list(self._closed)

    def drop(self, generation: Generation) -> None:
        """Remove a generation whose rows are all stored. Raises `Unavailable`."""
        try:
            if generation.is_damaged:
                generation.path.rename(generation.path.with_suffix(DAMAGED_SUFFIX))
            else:
                generation.path.unlink(missing_ok=True)
            sync_directory(self._directory)
        except OSError as error:
            raise Unavailable(f"{generation.path}: {error.strerror or error}") from None
        with self._list_lock:
            self._closed = [one for one in self._closed if one is not generation]

    def tenants(self) -> set[str]:
        """Who has rows here."""
        return {tenant for generation in self._generations() for tenant in generation.tenants()}

    def segments(
        self, tenant: str, start_ns: int | None = None, end_ns: int | None = None
    ) -> dict[str, OpenBlock]:
        """One tenant's profiles as blocks in memory, by ULID: all that were committed before this was called.

        What is not in `[start_ns, end_ns)` may be left out; `None` is open.
        """
        every = [rows.segments(start_ns, end_ns) for rows in self._rows_of(tenant)]
        return {block.ulid: block for blocks in every for block in blocks}

    def outlines(self, tenant: str) -> dict[str, OpenBlock]:
        """The same without samples, for questions about series alone: these wait for no other question."""
        return {block.ulid: block for rows in self._rows_of(tenant) for block in rows.outlines()}

    def unsettled(self) -> set[str]:
        """Who has rows of which it is not known what the catalog was at when they came."""
        return {
            tenant
            for generation in self._generations()
            for tenant, rows in generation.tenants().items()
            if rows.applied == UNKNOWN
        }

    def settle(self, tenant: str, version: int) -> None:
        """A tenant's catalog is at a version: tombstones up to it do not concern rows of which that is not known."""
        for rows in self._rows_of(tenant):
            rows.settle(version)

    def _rows_of(self, tenant: str) -> list[TenantRows]:
        found = [generation.known_rows(tenant) for generation in self._generations()]
        return [rows for rows in found if rows is not None]

    def _generations(self) -> list[Generation]:
        with self._list_lock:
            return [*self._closed, self._current]

    @property
    def closed_generations(self) -> int:
        """Generations that wait to be stored."""
        return len(self._closed)

    @property
    def open_samples(self) -> int:
        """Samples of the current generation."""
        return self._current.samples

    @property
    def open_bytes(self) -> int:
        """About what the current generation holds in memory."""
        return self._current.size_bytes

    @property
    def size_bytes(self) -> int:
        """About what all generations hold in memory."""
        return sum(generation.size_bytes for generation in self._generations())

    def close(self) -> None:
        """Release the log."""
        with self._commit_lock:
            if self._log is not None:
                self._log.close()
                self._log = None
