"""Mutants of every format, read alone: no crash, no hang, memory in bounds."""

from __future__ import annotations

import json
import sys

import pytest

from flameduck.engine.formats import FORMATS
from tests.engine.formats.examples import EXAMPLES
from tests.measured_process import run_measured

SLOWEST_S = 5.0
PEAK_BYTES = 1 << 30
NIGHTLY_MUTANTS = 20_000


def read_mutants(name: str, first: int, count: int, limit_s: float) -> None:
    """In a process of its own; what it prints on failure names the mutant."""
    pytest.importorskip(EXAMPLES[name].needs)
    count = int(count * EXAMPLES[name].mutants_share)
    words = [sys.executable, "-m", "tests.fuzz.readers", name, str(first), str(count)]
    ended = run_measured(words, {}, limit_s=limit_s)
    assert ended.code == 0, f"{ended.code} after {ended.seconds:.0f} s: {ended.stderr[-2000:]}"
    seen = json.loads(ended.stdout)
    print(ended.stdout)
    assert seen["mutants"] == count
    assert seen["slowest_s"] < SLOWEST_S, seen
    assert ended.peak_bytes < PEAK_BYTES, f"{ended.peak_bytes >> 20} MB"


@pytest.mark.parametrize("name", FORMATS)
def test_a_hundred_mutants(name: str) -> None:
    read_mutants(name, 0, 100, limit_s=60)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", FORMATS)
def test_twenty_thousand_mutants(name: str) -> None:
    read_mutants(name, 100, NIGHTLY_MUTANTS, limit_s=3000)
