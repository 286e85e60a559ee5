"""Threads that take a bounded amount of work: so much at a time, so much more waits, the rest is refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import BoundedSemaphore
from typing import TypeVar

from ...schema.errors import Overloaded, Unavailable

Result = TypeVar("Result")


class BoundedThreads:
    """Runs pieces of work in their order. Safe for several threads."""

    def __init__(self, name: str, threads: int, waiting: int, refusal: str) -> None:
        """`refusal` is what is said when more than `waiting` pieces would wait."""
        self._threads = ThreadPoolExecutor(max(threads, 1), name)
        self._admitted = BoundedSemaphore(max(threads, 1) + waiting)
        self._refusal = refusal

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Begin, or queue, a piece of work; one that is cancelled while it waits is not done.

        Raises `Overloaded` when too much waits, `Unavailable` after `close`.
        """
        if not self._admitted.acquire(blocking=False):
            raise Overloaded(self._refusal)
        try:
            # Log lines of the work name the request that it is for.
            future = self._threads.submit(copy_context().run, work)
        except RuntimeError:
            self._admitted.release()
            raise Unavailable("the server is stopping") from None
        future.add_done_callback(lambda _: self._admitted.release())
        return future

    def close(self) -> None:
        """Take no more, drop what waits, and wait for what is under way."""
        self._threads.shutdown(cancel_futures=True)
