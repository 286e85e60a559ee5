"""CPU and memory of a process and of those that it started, from /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def processes(pid: int) -> list[int]:
    """A process and those it started."""
    found = [pid]
    # Threads and processes may end while they are looked at.
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in list(Path(f"/proc/{pid}/task").iterdir()):
            with suppress(FileNotFoundError, ProcessLookupError):
                for child in (task / "children").read_text().split():
                    found += processes(int(child))
    return found


def cpu_s_of(pid: int) -> float:
    """CPU so far of a process and of those it started, also of ended ones."""
    ticks = 0
    for one in processes(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Memory of a process and of those it started."""
    pages = 0
    for one in processes(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
