"""A format that another package brings, held to the protocol: what it breaks costs the input that it was given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...schema import profile
from ...schema.errors import FlameduckError
from ..plugins import Plugin
from . import Decoded, Failed, Input


class InstalledFormat:
    """A plug-in's format under the name of its entry point."""

    def __init__(self, plugin: Plugin) -> None:
        """Raises `BrokenPlugin` when it cannot be loaded, or lacks a method."""
        self.name = plugin.name
        self._plugin = plugin
        kind = plugin.load()
        with plugin.blamed():
            self._format = kind()
        for method in ("matches", "decode"):
            if not callable(getattr(self._format, method, None)):
                raise plugin.fault(f"a format needs the method {method!r}, which {plugin.point.value} lacks")

    def matches(self, head: bytes, filename: str) -> bool:
        """What the plug-in says. Raises `BrokenPlugin`."""
        with self._plugin.blamed():
            return bool(self._format.matches(head, filename))

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input alone, so that it fails alone."""
        for number, one in enumerate(inputs):
            try:
                yield from self._decode(number, one)
            except FlameduckError as error:
                yield Failed(number, str(error))

    def _decode(self, number: int, one: Input) -> Iterator[Decoded | Failed]:
        with self._plugin.blamed():
            found = iter(self._format.decode([one]))
        while True:
            with self._plugin.blamed():
                item = next(found, None)
            if item is None:
                return
            if isinstance(item, Failed):
                yield Failed(number, item.reason)
                continue
            if not isinstance(item, Decoded) or not item.batch.schema.equals(profile.DECODED):
                raise self._plugin.fault(
                    "decode() must yield Decoded, with a batch of profile.DECODED, or Failed"
                )
            yield replace(item, rows=[replace(row, input=number) for row in item.rows])
