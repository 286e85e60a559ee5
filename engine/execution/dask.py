"""Work on a Dask cluster. The door to `distributed`.

An item goes as bytes and comes back as bytes, which `called.py` makes at the other end: neither Dask nor its logs see
our values and errors, and a worker of the cluster outlives an item that kills the process that is at it. What a lost
worker had is given to another by Dask's scheduler, which gives an item up after its `allowed-failures`.
"""

from __future__ import annotations

import logging
import pickle
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from ...schema.errors import FlameduckError, RequestError, SettingsError, Unavailable
from . import Death
from .called import PACKAGE, Software, call, own_software
from .worker import Reply

Item = TypeVar("Item")
Result = TypeVar("Result")
# Most of Dask's interface has no types.
Client = Any
Future = Any

CONNECT_S = 10
"""How long the scheduler may take to answer, and how long a cluster may be without any worker."""

_QUEUED_PER_THREAD = 2
_LOOK_S = 2
"""How often it is looked whether the cluster is still there."""

_SCHEMES = {"dask": "tcp", "dask+tls": "tls"}
_LOGGERS = ("distributed", "tornado", "asyncio")


class DaskExecutor:
    """The workers of a cluster, found at `dask://host:port` of its scheduler. Safe for use by several threads.

    An item may take `limit_s` seconds, 0: any number. Raises `RequestError` for an address that is none, `Unavailable`
    when no scheduler or no worker answers within `connect_s` seconds, or they run other software; and `SettingsError`
    where `distributed` is not installed, or TLS lacks certificates.
    """

    remote: ClassVar[bool] = True

    def __init__(self, address: str, limit_s: float = 0, connect_s: float = CONNECT_S) -> None:
        self._address = address
        self._limit_s = limit_s
        self._connect_s = connect_s
        self._software = own_software()
        self._known_threads, self._look_again_s = 1, 0.0
        self._client = _connected(address, connect_s)
        try:
            self._check_software()
        except FlameduckError:
            self.close()
            raise

    def map(
        self, task: Callable[[Item], Result], items: Iterable[Item], died: Callable[[Item, Death], Result]
    ) -> Iterator[Result]:
        """The results in the order of the items; see `Executor`."""
        waiting: deque[tuple[Item, Future]] = deque()
        most = _QUEUED_PER_THREAD * self._threads()
        try:
            for item in items:
                waiting.append((item, self._submit(task, item)))
                if len(waiting) >= most:
                    yield self._finish(*waiting.popleft(), died)
                    most = _QUEUED_PER_THREAD * self._threads()
            while waiting:
                yield self._finish(*waiting.popleft(), died)
        finally:
            self._forget([future for _, future in waiting])

    def _threads(self) -> int:
        """How many items the cluster works at, at a time: it may grow and shrink, and is looked at now and then."""
        now_s = time.monotonic()
        if now_s >= self._look_again_s:
            with self._asking():
                threads: dict[str, int] = self._client.nthreads()
            self._known_threads, self._look_again_s = max(sum(threads.values()), 1), now_s + _LOOK_S
        return self._known_threads

    def _submit(self, task: Callable[[Any], Any], item: Any) -> Future:
        import dask

        payload = pickle.dumps((task, item), pickle.HIGHEST_PROTOCOL)
        key = f"{PACKAGE}-{getattr(task, '__name__', 'task')}-{uuid4().hex}"
        # Payloads are as large as they are; that they travel through the scheduler is as it should be.
        with self._asking(), dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            return self._client.submit(
                call, payload, self._limit_s, self._software, key=key, pure=False, fifo_timeout="0 ms"
            )

    def _finish(self, item: Item, future: Future, died: Callable[[Item, Death], Result]) -> Result:
        try:
            answer = self._result(future)
        finally:
            future.release()
        if isinstance(answer, Death):
            return died(item, answer)
        reply: Reply = pickle.loads(answer)
        if reply.error is not None:
            raise reply.error
        result: Result = reply.value
        return result

    def _result(self, future: Future) -> bytes | Death:
        """What `call` gave, when it is there."""
        from distributed import KilledWorker

        without_workers_s: float | None = None
        with self._asking():
            while True:
                try:
                    answer: bytes | Death = future.result(timeout=_LOOK_S)
                except TimeoutError:
                    without_workers_s = self._without_workers(without_workers_s)
                except KilledWorker:
                    return Death()
                else:
                    return answer

    def _without_workers(self, since_s: float | None) -> float | None:
        """Since when there has been no worker; None: there is one. Raises `Unavailable` when that is too long."""
        if self._client.nthreads():
            return None
        now_s = time.monotonic()
        if since_s is not None and now_s - since_s > self._connect_s:
            raise Unavailable(f"{self._address}: no worker of the cluster is left, for {self._connect_s:g} s")
        return since_s or now_s

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """What is raised when the scheduler goes away is `Unavailable`."""
        from distributed import CancelledError

        if self._client.status != "running":
            raise Unavailable(
                f"{self._address}: the connection to the cluster's scheduler is {self._client.status}"
            )
        try:
            yield
        except (CancelledError, OSError) as error:
            reason = getattr(error, "reason", None) or _first_line(error)
            raise Unavailable(f"{self._address}: the cluster's scheduler is lost: {reason}") from None
        except RuntimeError as error:
            # What Dask raises for work that it could not unpack.
            raise Unavailable(f"{self._address}: {' '.join(str(error).split())[:300]}") from None

    def _check_software(self) -> None:
        """Raises `Unavailable` when no worker comes, or somebody runs other software than this process."""
        with self._asking():
            try:
                self._client.wait_for_workers(1, timeout=self._connect_s)
            except TimeoutError:
                raise Unavailable(
                    f"{self._address}: the cluster has no worker, after {self._connect_s:g} s"
                ) from None
            found = self._client.get_versions(packages=[PACKAGE])
        for who, versions in [("the scheduler", found["scheduler"]), *found["workers"].items()]:
            python = ".".join(str(versions["host"]["python"]).split(".")[:2])
            theirs = Software(python, str(versions["packages"].get(PACKAGE) or "(not installed)"))
            if theirs != self._software:
                raise Unavailable(f"{self._address}: {who} runs {theirs}, this is {self._software}")

    def _forget(self, futures: Sequence[Future]) -> None:
        """Nobody waits for these any more: what has not begun never will."""
        if futures:
            with suppress(Unavailable), self._asking():
                self._client.cancel(futures, force=True)

    def close(self) -> None:
        """Leave the cluster, which goes on."""
        with suppress(OSError):
            self._client.close(timeout=self._connect_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _connected(address: str, connect_s: float) -> Client:
    try:
        url = urlsplit(address)
        place = f"{_SCHEMES[url.scheme]}://{url.hostname}:{url.port or 8786}" if url.hostname else ""
    except (KeyError, ValueError):
        place = ""
    if not place or url.path.strip("/"):
        raise RequestError(f"executor {address[:200]!r}: expected dask://host:port or dask+tls://host:port")
    library = _library(address)
    if place.startswith("tls:") and not library.Security().get_connection_args("client")["ssl_context"]:
        raise SettingsError(
            f"{address} needs certificates: Dask's settings distributed.comm.tls.ca-file, client.cert, client.key"
        )
    try:
        return library.Client(place, timeout=connect_s, set_as_default=False, name=PACKAGE)
    except (OSError, ValueError) as error:
        raise Unavailable(f"{address}: no scheduler answers: {_first_line(error)}") from None


def _library(address: str) -> Any:
    """`distributed`, silent unless the program uses it itself."""
    is_used = "distributed" in sys.modules
    try:
        import distributed
    except ImportError:
        raise SettingsError(f"{address} needs Dask: pip install 'flameduck[cluster]'") from None
    if not is_used:
        _silence()
    return distributed


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _silence() -> None:
    """Dask writes what it thinks to stderr; a program that uses it itself, and imports it first, keeps that."""
    from distributed.versions import VersionMismatchWarning

    # What has to be the same is looked at by ourselves.
    warnings.simplefilter("ignore", VersionMismatchWarning)
    for name in [name for name in logging.Logger.manager.loggerDict if name.split(".")[0] in _LOGGERS]:
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
