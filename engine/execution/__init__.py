"""Executors: the seam between work that can be cut in pieces and where the pieces run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs a task over items. Tasks and items must be picklable. Use as a context manager."""

    def map(
        self, task: Callable[[Item], Result], items: Iterable[Item], died: Callable[[Item], Result]
    ) -> Iterator[Result]:
        """The results in the order of the items, which are taken as the work goes on, a few at a time.

        An error of the task is raised here. An item that kills its worker costs only itself: `died` gives its
        result, in this process.
        """
        ...

    def close(self) -> None:
        """Stop the workers."""
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(self, *exception: object) -> None: ...


def open_executor(jobs: int = 0) -> Executor:
    """An executor on this machine with `jobs` worker processes; 0: one a core."""
    from .local import LocalExecutor

    return LocalExecutor(jobs)
