"""Interleaved rounds, medians and one line of JSON: what every benchmark has in common."""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("FLAMEDUCK_BENCHMARKS") or Path(__file__).parent.parent / ".cache" / "benchmarks")
"""Where generated inputs stay; git ignores it."""

SHARED = Path(__file__).parent.parent.parent / "shared"
"""Material beside the repository that some inputs are made of, where it is there."""


@dataclass(frozen=True)
class Cost:
    """Medians over rounds: seconds on the clock, and seconds of CPU of this process."""

    wall_s: float
    cpu_s: float


def argument_parser(doc: str | None) -> argparse.ArgumentParser:
    """The command line of a program, which its docstring explains."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def interleaved(rounds: int, work: Mapping[str, Callable[[], object]]) -> dict[str, Cost]:
    """Do each piece of work once a round, so that a slow minute of the machine falls on all of them."""
    walls: dict[str, list[float]] = {name: [] for name in work}
    cpus: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            walls[name].append(time.perf_counter() - wall)
            cpus[name].append(time.process_time() - cpu)
    return {name: Cost(statistics.median(walls[name]), statistics.median(cpus[name])) for name in work}


@dataclass(frozen=True)
class Usage:
    """CPU seconds so far of this process and of its ended children, and the largest memory of each."""

    own_cpu_s: float
    children_cpu_s: float
    own_rss_mb: float
    child_rss_mb: float

    @classmethod
    def now(cls) -> Usage:
        """As the kernel counts it."""
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return cls(
            own.ru_utime + own.ru_stime,
            children.ru_utime + children.ru_stime,
            own.ru_maxrss / 1024,
            children.ru_maxrss / 1024,
        )


def report(benchmark: str, figures: Mapping[str, object]) -> None:
    """Print the one line; floats with three significant digits."""
    shown = {name: float(f"{v:.3g}") if isinstance(v, float) else v for name, v in figures.items()}
    print(json.dumps({"benchmark": benchmark, **shown}), flush=True)
