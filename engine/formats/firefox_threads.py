"""A thread of a Firefox profile: what it is called, its samples, its stacks; here as the processed format has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np

from ...schema.errors import CorruptProfile
from .firefox_columns import FloatArray, Table, refuse_outside
from .firefox_stacks import StackNodes, Stacks
from .firefox_symbols import Lib, Symbols, SymbolTables
from .json_document import decode_json
from .profile_builder import Label, Labels, ProfileBuilder
from .profile_columns import IntArray

Columns = dict[str, msgspec.Raw]
Id = int | float | str | None

_MAX_INT = 2**63


class ThreadName(msgspec.Struct):
    """What both formats say of a thread."""

    name: str = ""
    processName: str | None = None
    processType: str | None = None
    pid: Id = None
    tid: Id = None

    def labels(self) -> Labels:
        """The labels of its samples; what is not said makes none."""
        texts = {"thread": self.name, "process": self.processName or self.processType or ""}
        named = [Label(key, text) for key, text in texts.items() if text]
        return (
            *named,
            *(_id_label(key, one) for key, one in (("pid", self.pid), ("tid", self.tid)) if one is not None),
        )


def _id_label(key: str, one: int | float | str) -> Label:
    """An id as a number where it is one; samply tells processes of one number apart by a dot and a further one."""
    if isinstance(one, str) and not (one.isascii() and one.isdigit() and len(one) < 19):
        return Label(key, one)
    number = int(one) if isinstance(one, int | str) or one.is_integer() else None
    if number is None or abs(number) >= _MAX_INT:
        return Label(key, str(one))
    return Label(key, number=number)


@dataclass(frozen=True)
class ThreadSamples:
    """By sample, the node of its stack (-1: none), its weight, and what the CPU clock of the thread went on.

    Without weights each counts 1. `times_ms` are the first and the last, or none.
    """

    stack: IntArray
    weight: FloatArray | None = None
    cpu_delta: FloatArray | None = None
    times_ms: tuple[float, float] | None = None


@dataclass(frozen=True)
class ThreadAllocations:
    """By allocation, the node of its stack, its size (negative when it was freed), and the label of its kind."""

    stack: IntArray
    size_bytes: FloatArray
    kind: IntArray
    kinds: Sequence[Labels]


class Thread(Protocol):
    """A thread of either format."""

    @property
    def labels(self) -> Labels:
        """The labels of its samples."""
        ...

    @property
    def weight_type(self) -> str:
        """`samples`, `tracing-ms` or `bytes`."""
        ...

    @property
    def has_cpu(self) -> bool:
        """Whether its samples have `cpu_delta`."""
        ...

    def samples(self) -> ThreadSamples:
        """Its samples. Raises `CorruptProfile`."""
        ...

    def allocations(self) -> Sequence[ThreadAllocations]:
        """Its allocations, those of the script engine and the native ones. Raises `CorruptProfile`."""
        ...

    def stacks(self, builder: ProfileBuilder) -> Stacks:
        """Its stacks as locations of a builder. Raises `CorruptProfile`."""
        ...


class _Fields(ThreadName):
    """A thread as it is written."""

    samples: Columns | None = None
    jsAllocations: Columns | None = None
    nativeAllocations: Columns | None = None
    stackTable: Columns | None = None
    frameTable: Columns | None = None
    funcTable: Columns | None = None
    resourceTable: Columns | None = None
    nativeSymbols: Columns | None = None
    stringArray: msgspec.Raw = msgspec.Raw()
    libs: list[Lib] | None = None


class Shared(msgspec.Struct):
    """What threads of newer versions have in common."""

    stackTable: Columns | None = None
    frameTable: Columns | None = None
    funcTable: Columns | None = None
    resourceTable: Columns | None = None
    nativeSymbols: Columns | None = None
    sources: Columns | None = None
    stringArray: list[str] = msgspec.field(default_factory=list)


class SharedStacks:
    """Stacks that several threads share are laid out once a builder."""

    def __init__(self) -> None:
        self._known: tuple[ProfileBuilder, Stacks] | None = None

    def get(self, builder: ProfileBuilder) -> Stacks | None:
        """The stacks, if they are known."""
        return self._known[1] if self._known and self._known[0] is builder else None

    def keep(self, builder: ProfileBuilder, stacks: Stacks) -> None:
        """Remember them."""
        self._known = builder, stacks


class ProcessedThread:
    """A thread of the processed format; `where` says which."""

    def __init__(
        self, raw: msgspec.Raw, where: str, shared: tuple[Shared, SharedStacks], libs: Sequence[Lib]
    ) -> None:
        self._fields = decode_json(bytes(raw), _Fields, where)
        self._where = where
        self._shared, self._shared_stacks = shared
        self._libs = self._fields.libs if self._fields.libs is not None else libs
        self._samples = self._table("samples", self._fields.samples)

    @property
    def labels(self) -> Labels:
        """See `Thread`."""
        return self._fields.labels()

    @property
    def weight_type(self) -> str:
        """See `Thread`."""
        return (
            decode_json(self._samples.columns["weightType"], str)
            if "weightType" in self._samples
            else "samples"
        )

    @property
    def has_cpu(self) -> bool:
        """See `Thread`."""
        return "threadCPUDelta" in self._samples

    def samples(self) -> ThreadSamples:
        """See `Thread`."""
        table = self._samples
        count = table.length
        return ThreadSamples(
            table.integers("stack", count),
            table.floats("weight", count) if "weight" in table else None,
            table.floats("threadCPUDelta", count) if "threadCPUDelta" in table else None,
            _times(table, count),
        )

    def allocations(self) -> Sequence[ThreadAllocations]:
        """See `Thread`."""
        found = []
        for kind, columns in (("js", self._fields.jsAllocations), ("native", self._fields.nativeAllocations)):
            if columns is not None:
                found.append(_allocations(kind, self._table(f"{kind}Allocations", columns)))
        return found

    def stacks(self, builder: ProfileBuilder) -> Stacks:
        """See `Thread`."""
        own = self._fields.stackTable is not None
        known = None if own else self._shared_stacks.get(builder)
        if known is None:
            known = self._read_stacks(builder)
            if not own:
                self._shared_stacks.keep(builder, known)
        return known

    def _read_stacks(self, builder: ProfileBuilder) -> Stacks:
        nodes = self._nodes()
        symbols = Symbols(self._symbol_tables(), builder)
        nodes.refuse_frames(symbols.count)
        return Stacks(nodes, symbols.inlined, symbols.location)

    def _nodes(self) -> StackNodes:
        table = self._table("stackTable", self._fields.stackTable or self._shared.stackTable)
        count = table.length
        if "prefix" in table or "prefixOffset" not in table:
            prefix = table.integers("prefix", count)
        else:
            # How many rows before its own each caller is; a root has none.
            offset = table.integers("prefixOffset", count)
            prefix = np.where(offset > 0, np.arange(count) - offset, -1)
        return StackNodes(table.where, prefix, table.integers("frame", count))

    def _symbol_tables(self) -> SymbolTables:
        own, shared = self._fields, self._shared
        strings = shared.stringArray
        if bytes(own.stringArray) not in (b"", b"null"):
            strings = decode_json(bytes(own.stringArray), list[str], f"{self._where}.stringArray")
        return SymbolTables(
            strings,
            self._table("frameTable", own.frameTable or shared.frameTable),
            self._table("funcTable", own.funcTable or shared.funcTable),
            self._table("resourceTable", own.resourceTable or shared.resourceTable),
            self._table("nativeSymbols", own.nativeSymbols or shared.nativeSymbols),
            Table("shared.sources", shared.sources or {}),
            self._libs,
        )

    def _table(self, name: str, columns: Mapping[str, msgspec.Raw] | None) -> Table:
        return Table(f"{self._where}.{name}", columns or {})


def _times(table: Table, count: int) -> tuple[float, float] | None:
    """The first and the last time of a table of samples."""
    if not count or not ("time" in table or "timeDeltas" in table):
        return None
    times = table.floats("time", count) if "time" in table else np.cumsum(table.floats("timeDeltas", count))
    return float(times[0]), float(times[-1])


def _allocations(kind: str, table: Table) -> ThreadAllocations:
    count = table.length
    stack, size = table.integers("stack", count), table.floats("weight", count)
    if "className" not in table:
        return ThreadAllocations(stack, size, np.zeros(count, np.int64), [(Label("heap", kind),)])
    names: dict[str, int] = {}
    of_row = np.array(
        [names.setdefault(name, len(names)) for name in table.texts("className", count)], np.int64
    )
    return ThreadAllocations(
        stack, size, of_row, [(Label("heap", kind), Label("class", name)) for name in names]
    )


def refuse_stacks(stack: IntArray, stacks: Stacks, where: str) -> None:
    """Raises `CorruptProfile` for a sample whose stack is none."""
    refuse_outside(stack, stacks.count, f"{where}.stack")


def refuse_not_finite(values: FloatArray, where: str) -> None:
    """Raises `CorruptProfile` for a value that is no number."""
    if not np.isfinite(values).all():
        raise CorruptProfile(f"{where} has a value that is no number")
