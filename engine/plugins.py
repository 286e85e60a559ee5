"""What other packages bring under an entry point: found by name, loaded on use, and blamed by name when it fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..schema.errors import BrokenPlugin, FlameduckError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True)
class Plugin:
    """One entry point of an installed package."""

    point: EntryPoint

    @property
    def name(self) -> str:
        """What it is called here."""
        return self.point.name

    @property
    def package(self) -> str:
        """Whom to blame: the package as pip calls it, else its module."""
        return self.point.dist.name if self.point.dist is not None else self.point.module

    def load(self) -> Any:
        """What the entry point names. Raises `BrokenPlugin`."""
        with self.blamed():
            return self.point.load()

    def fault(self, what: str) -> BrokenPlugin:
        """The error that says what is wrong with it."""
        return BrokenPlugin(f"plug-in {self.name!r} of the package {self.package}: {what}")

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Run the package's code: errors of ours pass, whatever else it raises becomes `BrokenPlugin`."""
        try:
            yield
        except FlameduckError:
            raise
        except (Exception, SystemExit) as error:
            raise self.fault(f"{type(error).__name__}: {error}") from error


def installed_plugins(group: str) -> Mapping[str, Plugin]:
    """The plug-ins of a group by name. Nothing of them is imported yet."""
    # Looking through all that is installed takes a while, so it is not done before something asks.
    from importlib.metadata import entry_points

    return MappingProxyType({point.name: Plugin(point) for point in entry_points(group=group)})
