"""Profile formats: the seam between bytes and the pprof-shaped batches that everything else works on.

A format is one file with one class. To add one, write the class and name it in `FORMATS`, or ship it in another
package under the entry point group `flameduck.formats`: docs/adding-a-format.md shows one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Protocol

import pyarrow as pa

from ...schema.errors import BrokenPlugin, InputError, UnknownFormat
from ...schema.profile import Rules
from ..plugins import Plugin, installed_plugins

ENTRY_POINTS = "flameduck.formats"
HEAD_BYTES = 64 << 10


@dataclass(frozen=True)
class Input:
    """The inflated bytes of one upload, and what is said about it that the meaning of its content depends on.

    What `sample_rate_hz`, `duration_ns`, `raw_names`, `app_name` and `attachments` (inflated too) mean is said at
    `Upload`.
    """

    raw: bytes
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    rules: Rules = "verbatim"
    sample_rate_hz: int = 0
    duration_ns: int = 0
    raw_names: bool = False
    attachments: Mapping[str, bytes] = field(default_factory=dict)
    app_name: str = ""


@dataclass(frozen=True)
class Row:
    """Where a row of a decoded batch comes from: input number `input`.

    What the format knows better than the upload: `name` is the profile's `__name__` and `labels` replace the
    upload's; empty and None leave it as it is. `part` tells a profile from others of the same input.
    """

    input: int
    name: str = ""
    labels: Mapping[str, str] | None = None
    part: bytes = b""


@dataclass(frozen=True)
class Decoded:
    """Profiles as rows of a batch, which is no slice of another; a `Row` for each.

    The columns are those of `profile.DECODED`; only `period_type` has nulls, whatever the schema says.
    `continues` says that the one row is more of the profile in the batch before: samples to add to the same.
    """

    batch: pa.RecordBatch
    rows: Sequence[Row]
    continues: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """An input that could not be decoded, and why. Pieces of it that were decoded before do not count."""

    input: int
    reason: str


class Format(Protocol):
    """One profile format. Stateless; safe for several threads."""

    @property
    def name(self) -> str:
        """What `--input-format` calls it."""
        ...

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether inflated bytes that begin so are of this format; `filename` may help, never decide alone.

        `head` is not empty, and is the whole input if it is shorter than `HEAD_BYTES`.
        """
        ...

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Decode inputs of this format. A bad one yields `Failed` and leaves the others alone.

        A long input may come in several batches, so that memory stays bounded; they follow each other.
        """
        ...


def one_by_one(
    inputs: Sequence[Input], read: Callable[[int, Input], Iterable[Decoded]]
) -> Iterator[Decoded | Failed]:
    """What `read` makes of each input, told its number; one for which it raises `InputError` falls alone."""
    for number, one in enumerate(inputs):
        try:
            yield from read(number, one)
        except InputError as error:
            yield Failed(number, str(error))


FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "pprof": f"{__name__}.pprof:Pprof",
        "jfr": f"{__name__}.jfr:Jfr",
        "otlp": f"{__name__}.otlp:Otlp",
        "otlp-json": f"{__name__}.otlp:OtlpJson",
        "speedscope": f"{__name__}.speedscope:Speedscope",
        "cpuprofile": f"{__name__}.v8_cpu_profile:CpuProfile",
        "heapprofile": f"{__name__}.v8_heap_profile:HeapProfile",
        "chrome-trace": f"{__name__}.chrome_trace:ChromeTrace",
        "perf-data": f"{__name__}.perf_data:PerfData",
        "perf-script": f"{__name__}.perf_script:PerfScript",
        "memray": f"{__name__}.memray:Memray",
        "pyinstrument": f"{__name__}.pyinstrument:Pyinstrument",
        "mojo": f"{__name__}.mojo:Mojo",
        "pstats": f"{__name__}.pstats:Pstats",
        "austin": f"{__name__}.austin:Austin",
        "tachyon": f"{__name__}.py_spy:Tachyon",
        "py-spy": f"{__name__}.py_spy:PySpy",
        "firefox": f"{__name__}.firefox:Firefox",
        "stackprof": f"{__name__}.stackprof:Stackprof",
        "sample": f"{__name__}.macos_sample:MacosSample",
        "jstack": f"{__name__}.jstack:Jstack",
        "pprof-text": f"{__name__}.pprof_text:PprofText",
        "goroutine-dump": f"{__name__}.goroutine_dump:GoroutineDump",
        "bpftrace": f"{__name__}.bpftrace:Bpftrace",
        "dtrace": f"{__name__}.dtrace:Dtrace",
        "folded": f"{__name__}.folded:Folded",
        "lines": f"{__name__}.folded:Lines",
        "groups": f"{__name__}.folded:Groups",
        "trie": f"{__name__}.agent_trees:Trie",
        "tree": f"{__name__}.agent_trees:Tree",
    }
)
"""Where each format's class is, in the order in which they are tried."""


def format_named(name: str) -> Format:
    """The format of a name, built in or installed. Raises `UnknownFormat` that lists them, or says what is broken."""
    if name in FORMATS:
        return _load(FORMATS[name])
    if name not in _installed():
        raise UnknownFormat(f"input format {name!r}: expected one of {', '.join([*FORMATS, *_installed()])}")
    try:
        return _load_installed(name)
    except BrokenPlugin as error:
        raise UnknownFormat(str(error)) from error


def detect_format(raw: bytes, filename: str) -> Format:
    """The first format that recognises inflated bytes; installed ones after ours. Raises `UnknownFormat`."""
    if not raw:
        raise UnknownFormat("the input is empty")
    head = raw[:HEAD_BYTES]
    for place in FORMATS.values():
        if _load(place).matches(head, filename):
            return _load(place)
    # What is installed is looked up only when none of ours fits: listing packages takes a while.
    faults = []
    for name in _installed():
        try:
            if _load_installed(name).matches(head, filename):
                return _load_installed(name)
        except BrokenPlugin as error:
            faults.append(str(error))
    raise UnknownFormat(
        "; ".join([f"not a profile of any known format (it begins with {raw[:16]!r})", *faults])
    )


@cache
def _installed() -> Mapping[str, Plugin]:
    return installed_plugins(ENTRY_POINTS)


@cache
def _load_installed(name: str) -> Format:
    from .installed import InstalledFormat

    return InstalledFormat(_installed()[name])


@cache
def _load(place: str) -> Format:
    module, _, name = place.partition(":")
    found: Format = getattr(import_module(module), name)()
    return found
