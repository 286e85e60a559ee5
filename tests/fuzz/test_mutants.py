"""Mutated uploads: none crashes, hangs or swells an ingest, and the good ones beside them stay as they are."""

from __future__ import annotations

import json
import os
import sys

import pytest

from tests.fuzz.campaign import MUTANTS_OF_ROUND, SLOWEST_S
from tests.measured_process import run_measured

PEAK_BYTES = 1 << 30
LIMITS = {"FLAMEDUCK_MAX_FILE_BYTES": str(32 << 20)}
NIGHTLY_STEP = 50


def run_rounds(first: int, rounds: int) -> None:
    """In a process of its own, whose workers are its too; a failure says which round to run again."""
    words = [sys.executable, "-m", "tests.fuzz.campaign", str(first), str(rounds)]
    ended = run_measured(words, LIMITS, limit_s=30 + 20 * rounds)
    assert ended.code == 0, f"{ended.code} after {ended.seconds:.0f} s: {ended.stderr}"
    seen = json.loads(ended.stdout)
    print(ended.stdout)
    assert seen["mutants"] == rounds * MUTANTS_OF_ROUND
    # Mutants that were all refused, or all taken, would not have tested much.
    assert 0.1 < seen["taken"] / seen["mutants"] < 0.9
    # Where others want the processors too, everything takes as many times longer as there are of them.
    busy = max(os.getloadavg()[1] / (os.cpu_count() or 1), 1)
    assert seen["slowest_s"] < SLOWEST_S * busy, f"{busy:.1f} processes a core"
    assert ended.peak_bytes < PEAK_BYTES, f"{ended.peak_bytes >> 20} MB"


def test_a_thousand_mutants() -> None:
    run_rounds(0, 5)


@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("first", range(5, 505, NIGHTLY_STEP))
def test_a_hundred_thousand_mutants(first: int) -> None:
    run_rounds(first, NIGHTLY_STEP)
