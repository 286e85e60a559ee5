"""Executors: the seam between work that can be cut in pieces and where the pieces run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Death:
    """How the workers of an item ended: by themselves, or killed for being at it longer than `limit_s` seconds."""

    limit_s: float | None = None


class Executor(Protocol):
    """Runs a task over items. Tasks and items must be picklable. Use as a context manager.

    `remote` says that items may run on other machines, which have settings, directories and memory of their own.
    """

    @property
    def remote(self) -> bool: ...

    def map(
        self, task: Callable[[Item], Result], items: Iterable[Item], died: Callable[[Item, Death], Result]
    ) -> Iterator[Result]:
        """The results in the order of the items, which are taken as the work goes on, a few at a time.

        An error of the task is raised here. An item that kills its worker, or never ends, costs only itself: `died`
        gives its result, in this process.
        """
        ...

    def close(self) -> None:
        """Stop the workers."""
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(self, *exception: object) -> None: ...


def open_executor(jobs: int = 0, limit_s: float = 0) -> Executor:
    """An executor on this machine with `jobs` worker processes, 0: one a core; an item may take `limit_s` seconds,
    0: as long as it likes.
    """
    from .local import LocalExecutor

    return LocalExecutor(jobs, limit_s)
