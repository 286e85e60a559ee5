"""Profile formats: the seam between bytes and the pprof-shaped batches that everything else works on.

A format is one file with one class. To add one, write the class and name it in `FORMATS`, or ship it in another
package under the entry point group `flameduck.formats`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Protocol

import pyarrow as pa

from ...schema.errors import UnknownFormat

ENTRY_POINTS = "flameduck.formats"
HEAD_BYTES = 64 << 10


@dataclass(frozen=True)
class Decoded:
    """Profiles as rows of a batch of schema `profile.DECODED`; row `i` comes from input `inputs[i]`.

    `continues` says that the one row is more of the profile before it: samples to add to the same.
    """

    batch: pa.RecordBatch
    inputs: Sequence[int]
    continues: bool = False


@dataclass(frozen=True)
class Failed:
    """An input that could not be decoded, and why."""

    input: int
    reason: str


class Format(Protocol):
    """One profile format. Stateless; safe for several threads."""

    name: str

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether inflated bytes that begin so are of this format; `filename` may help, never decide alone."""
        ...

    def decode(self, raws: Sequence[bytes]) -> Iterator[Decoded | Failed]:
        """Decode inputs of this format. A bad one yields `Failed` and leaves the others alone."""
        ...


FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "pprof": f"{__name__}.pprof:Pprof",
        "folded": f"{__name__}.folded:Folded",
        "lines": f"{__name__}.folded:Lines",
    }
)
"""Where each format's class is, in the order in which they are tried."""


def format_named(name: str) -> Format:
    """The format of a name, built in or installed. Raises `UnknownFormat` that lists them."""
    if name in FORMATS:
        return _load(FORMATS[name])
    for point in entry_points(group=ENTRY_POINTS, name=name):
        return _load(point.value)
    installed = [point.name for point in entry_points(group=ENTRY_POINTS)]
    raise UnknownFormat(f"input format {name!r}: expected one of {', '.join([*FORMATS, *installed])}")


def detect_format(raw: bytes, filename: str) -> Format:
    """The first format that recognises inflated bytes. Raises `UnknownFormat`."""
    if not raw:
        raise UnknownFormat("the input is empty")
    head = raw[:HEAD_BYTES]
    places = [*FORMATS.values(), *(point.value for point in entry_points(group=ENTRY_POINTS))]
    for place in places:
        candidate = _load(place)
        if candidate.matches(head, filename):
            return candidate
    raise UnknownFormat(f"not a profile of any known format (begins with {raw[:16]!r})")


def _load(place: str) -> Format:
    module, _, name = place.partition(":")
    found: Format = getattr(import_module(module), name)()
    return found
