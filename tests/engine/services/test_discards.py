"""Every refusal is counted under the reason that Pyroscope has for it."""

from __future__ import annotations

import pytest

from flameduck.engine.services.discards import MALFORMED, discard_reason
from flameduck.engine.services.distributor import label_fault

NAMED = ("__name__", "cpu")


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([], "missing_labels"),
        ([("a", "1")], "invalid_labels"),
        ([("__name__", "")], "invalid_labels"),
        ([NAMED, ("", "x")], "invalid_labels"),
        ([NAMED, ("a", "1"), ("a", "2")], "duplicate_label_names"),
        ([NAMED, ("a", "x; limit"), ("a", "label names; limit")], "duplicate_label_names"),
    ],
)
def test_faults_of_labels(labels: list[tuple[str, str]], reason: str) -> None:
    fault = label_fault(labels)
    assert fault
    assert discard_reason(fault) == reason


def test_good_labels() -> None:
    assert label_fault([NAMED, ("service.name", "x"), ("b", "")]) == ""


def test_many_labels_are_looked_through_once() -> None:
    fault = label_fault([(f"l{number}", "x" * 100_000) for number in range(1000)] + [("l7", "x")])
    assert "duplicate label name: 'l7'" in fault
    assert len(fault) < 1000


def test_what_is_about_the_profile_itself() -> None:
    assert discard_reason("malformed pprof: it says label names; limit") == MALFORMED
