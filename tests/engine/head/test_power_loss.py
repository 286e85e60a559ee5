"""Power is lost at every step of the head's work, with what was not synced: nothing acknowledged goes with it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from flameduck.engine.head.head import Head
from tests.engine.head.lossy_log import LossyLog, lossy_log
from tests.engine.head.test_head import commit, total
from tests.engine.ingest.made_profiles import made_total
from tests.engine.storage.lossy_disk import PowerLoss


def work(directory: Path, disk: type[LossyLog]) -> tuple[list[int], list[int]]:
    """Commit, rotate and commit again until the power goes; what was acknowledged, and what was tried."""
    acknowledged: list[int] = []
    tried: list[int] = []
    with suppress(PowerLoss):
        head = Head(directory, disk)
        for numbers in ((0,), (1, 2), (), (3,), (4,)):
            tried += numbers
            if numbers:
                commit(head, *numbers)
            else:
                head.rotate()
            acknowledged += numbers
    return acknowledged, tried


def possible_totals(
    tmp_path: Path, skipped: frozenset[str] = frozenset()
) -> list[tuple[list[int], list[int], int]]:
    """For a loss at each step and each state of the disk: acknowledged, tried, and the total that is left."""
    found = []
    whole = lossy_log()
    work(tmp_path / "whole", whole)
    for step in range(whole.steps + 1):
        disk = lossy_log(skipped)
        disk.steps_left = step
        acknowledged, tried = work(tmp_path / f"{step}", disk)
        states = {frozenset(files.items()) for files in disk.after_loss()}
        for number, files in enumerate(states):
            place = tmp_path / f"{step}-{number}"
            place.mkdir()
            for name, data in files:
                (place / name).write_bytes(data)
            head = Head(place)
            found.append((acknowledged, tried, total(head) if head.tenants() else 0))
    return found


def test_every_acknowledged_profile_survives_and_none_is_half_there(tmp_path: Path) -> None:
    found = possible_totals(tmp_path)
    for acknowledged, tried, left in found:
        wholes = [made_total(tried[:count]) for count in range(len(acknowledged), len(tried) + 1)]
        assert left in wholes, (acknowledged, tried)
    assert max(left for *_, left in found) == made_total(range(5))


@pytest.mark.parametrize("step", ["sync", "sync_name"])
def test_the_disk_shows_a_step_that_is_left_out(tmp_path: Path, step: str) -> None:
    found = possible_totals(tmp_path, frozenset({step}))
    assert any(left < made_total(acknowledged) for acknowledged, _, left in found)
