"""Work in the caller's own process and thread: for tests, and where processes cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar, Self, TypeVar

from . import Death

Item = TypeVar("Item")
Result = TypeVar("Result")


class InlineExecutor:
    """One item after the other, here. What kills a process kills this one, and what never ends holds it up."""

    remote: ClassVar[bool] = False

    def map(
        self, task: Callable[[Item], Result], items: Iterable[Item], died: Callable[[Item, Death], Result]
    ) -> Iterator[Result]:
        """The results in the order of the items; see `Executor`."""
        yield from map(task, items)

    def close(self) -> None:
        """Nothing to stop."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
