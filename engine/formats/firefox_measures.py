"""What the weights of a Firefox profile's samples mean, and how they become values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from ...schema.errors import CorruptProfile
from .firefox_columns import FloatArray
from .firefox_threads import ThreadSamples, refuse_not_finite
from .profile_columns import IntArray, ValueType

NS_PER_MS = 1_000_000
_MAX = 2.0**63
_SAMPLES: ValueType = ("samples", "count")
_WALL: ValueType = ("wall", "nanoseconds")
_CPU: ValueType = ("cpu", "nanoseconds")


@dataclass(frozen=True)
class Measure:
    """One meaning of weights: the `__name__` of the profile, its types, what one sample stands for.

    `cpu_ns` is the length of a step of the threads' CPU clocks; 0 when no thread has one.
    """

    name: str
    types: Sequence[ValueType]
    weight_type: str = "samples"
    interval_ns: int = 0
    cpu_ns: int = 0

    def values(self, samples: ThreadSamples, where: str) -> list[IntArray]:
        """A column for each type. Raises `CorruptProfile` for a value that is no number or does not fit."""
        weight = samples.weight
        if weight is None:
            weight = np.ones(len(samples.stack), np.float64)
        refuse_not_finite(weight, f"{where}.weight")
        if self.weight_type == "tracing-ms":
            return [whole(weight * NS_PER_MS, f"{where}.weight")]
        counts = whole(weight, f"{where}.weight")
        if self.weight_type == "bytes":
            return [counts]
        if float(np.abs(weight).max(initial=0)) * self.interval_ns >= _MAX:
            raise CorruptProfile(f"{where}.weight times the interval does not fit 64 bits")
        columns = [counts, counts * self.interval_ns]
        if self.cpu_ns:
            columns.append(self._cpu(samples, where))
        return columns

    def _cpu(self, samples: ThreadSamples, where: str) -> IntArray:
        """CPU time by sample; the first has none, for its clock began elsewhere, nor has one that failed."""
        if samples.cpu_delta is None or not len(samples.cpu_delta):
            return np.zeros(len(samples.stack), np.int64)
        delta = np.nan_to_num(samples.cpu_delta, nan=0.0)
        delta[0] = 0.0
        return whole(delta * self.cpu_ns, f"{where}.threadCPUDelta")


def measure_of(weight_type: str, interval_ms: float, cpu_ns: int) -> Measure:
    """The measure of a weight type. Raises `CorruptProfile` for an unknown one."""
    if weight_type == "tracing-ms":
        return Measure("wall", (_WALL,), weight_type)
    if weight_type == "bytes":
        return Measure("memory", (("size", "bytes"),), weight_type)
    if weight_type != "samples":
        raise CorruptProfile(f"samples.weightType {weight_type!r}: expected samples, tracing-ms or bytes")
    interval_ns = nanoseconds(interval_ms, "meta.interval")
    if cpu_ns:
        return Measure("process_cpu", (_SAMPLES, _WALL, _CPU), weight_type, interval_ns, cpu_ns)
    return Measure("wall", (_SAMPLES, _WALL), weight_type, interval_ns)


ALLOCATIONS = Measure(
    "memory",
    (
        ("alloc_objects", "count"),
        ("alloc_space", "bytes"),
        ("free_objects", "count"),
        ("free_space", "bytes"),
    ),
)


def allocation_values(size_bytes: FloatArray, where: str) -> list[IntArray]:
    """The values of `ALLOCATIONS`: a negative size was freed."""
    refuse_not_finite(size_bytes, where)
    size = whole(size_bytes, where)
    freed = size < 0
    one = np.ones(len(size), np.int64)
    return [
        np.where(freed, 0, one),
        np.where(freed, 0, size),
        np.where(freed, one, 0),
        np.where(freed, -size, 0),
    ]


def nanoseconds(milliseconds: float, where: str) -> int:
    """Milliseconds exactly as they are written. Raises `CorruptProfile` for what is no time."""
    if not 0 <= milliseconds < 2**63 / NS_PER_MS:
        raise CorruptProfile(f"{where} is {milliseconds}, no time in milliseconds")
    return round(Decimal(repr(milliseconds)) * NS_PER_MS)


def whole(values: FloatArray, where: str) -> IntArray:
    """Values as integers. Raises `CorruptProfile` for one that does not fit."""
    if float(np.abs(values).max(initial=0)) >= _MAX:
        raise CorruptProfile(f"{where}: a value does not fit 64 bits")
    return np.rint(values).astype(np.int64)
