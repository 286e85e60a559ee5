"""A process of its own that reads one memray capture, and prints what it holds as lines of JSON: the door to memray.

memray trusts its files; a spoilt one can make it crash, take any amount of memory, or never end. So this program
runs beside the reader (`memray.py`), within limits, and imports nothing of this package, so that it starts fast:
`python -I memray_process.py FILE MEMORY_BYTES CPU_SECONDS`. A line is an array, its first item tells its kind:

    ["header", start_ns, end_ns, is_aggregated, command_line, pid]
    ["frame", name, file, line]                          numbered from 0
    ["sample", tid, thread, allocator, values, frames]   values: alloc objects, bytes; in use objects, bytes
    ["warning", text]
    ["failed", reason]
    ["end"]
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

MAX_RECORDS = 50_000_000
"""Of longer captures what was in use is read and what was allocated is not: that takes about a second a million."""

_DEALLOCATORS = {"PYMALLOC_FREE", "FREE", "MUNMAP"}
_NS_PER_US = 1000

Key = tuple[int, int, int, int, int]
Frame = tuple[str, str, int]


def main(path: str, memory_bytes: int, cpu_seconds: int) -> None:
    """Print the lines of one capture."""
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CPU, cpu_seconds)
    _limit(resource.RLIMIT_CORE, 0)
    try:
        for line in _Capture(path).lines():
            sys.stdout.write(json.dumps(line) + "\n")
    except (OSError, RuntimeError, ValueError, NotImplementedError) as error:
        sys.stdout.write(json.dumps(["failed", str(error)]) + "\n")
    except MemoryError:
        sys.stdout.write(
            json.dumps(["failed", f"it needs more than {memory_bytes >> 20} MB of memory"]) + "\n"
        )
    sys.stdout.flush()


def _limit(kind: int, value: int) -> None:
    """Lower a limit, where the platform lets us."""
    with suppress(OSError, ValueError):
        resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


class _Capture:
    """One capture file."""

    def __init__(self, path: str) -> None:
        from memray import AllocatorType

        self._path = path
        self._allocators = {int(one): one.name for one in AllocatorType}
        self._frames: dict[Frame, int] = {}

    def lines(self) -> Iterator[list[Any]]:
        """All lines of it."""
        from memray import FileFormat, FileReader

        with FileReader(self._path) as reader:
            known = reader.metadata
            is_aggregated = known.file_format == FileFormat.AGGREGATED_ALLOCATIONS
            times = [_ns(known.start_time), _ns(known.end_time)]
            yield ["header", *times, is_aggregated, known.command_line, known.pid]
            records = reader.get_high_watermark_allocation_records(merge_threads=False)
            yield from self._samples(records, known.has_native_traces, [0, 0, 1, 1])
        if not is_aggregated and known.total_allocations > MAX_RECORDS:
            yield [
                "warning",
                f"{known.total_allocations} records are more than {MAX_RECORDS}: "
                "what was allocated was left out, what was in use at the peak was not",
            ]
        elif not is_aggregated:
            with FileReader(self._path) as reader:
                yield from self._samples(
                    reader.get_allocation_records(), known.has_native_traces, [1, 1, 0, 0]
                )
        yield ["end"]

    def _samples(self, records: Any, has_native: bool, columns: list[int]) -> Iterator[list[Any]]:
        """Records summed by thread, stack and allocator; the columns that they fill are marked with 1."""
        sums: dict[Key, list[Any]] = {}
        deallocators = {number for number, name in self._allocators.items() if name in _DEALLOCATORS}
        for record in records:
            allocator = record.allocator
            if allocator in deallocators:
                continue
            native = (record.native_stack_id, record.native_segment_generation) if has_native else (0, 0)
            key = (record.tid, allocator, record.stack_id, *native)
            known = sums.get(key)
            if known is None:
                sums[key] = [record, record.n_allocations, record.size]
            else:
                known[1] += record.n_allocations
                known[2] += record.size
        for (tid, allocator, *_), (record, count, size_bytes) in sums.items():
            stack = record.hybrid_stack_trace() if has_native else record.stack_trace()
            frames = []
            for frame in stack:
                if frame not in self._frames:
                    self._frames[frame] = len(self._frames)
                    yield ["frame", *frame]
                frames.append(self._frames[frame])
            values = [mark * value for mark, value in zip(columns, [count, size_bytes] * 2, strict=True)]
            name = self._allocators.get(allocator, str(allocator)).lower()
            yield ["sample", tid, record.thread_name, name, values, frames]


def _ns(time: datetime | None) -> int:
    if time is None:
        return 0
    return round(time.timestamp() * 10**6) * _NS_PER_US


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
