"""What the limits of a tenant do to questions."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from flameduck.engine.services.http.query_limits import checked_query, max_nodes
from flameduck.engine.services.limits import DEFAULTS
from flameduck.schema.errors import RequestError
from flameduck.schema.request import (
    DiffRequest,
    FlamegraphRequest,
    LabelNamesRequest,
    Selection,
    TreeQuery,
)

HOUR_NS = 3600 * 10**9
NOW_NS = 1_000_000 * HOUR_NS
WEEK = replace(DEFAULTS, max_query_lookback="7d", max_query_length="1d")


def selected(start_h: int, end_h: int) -> Selection:
    """A range in hours from now."""
    return Selection("{}", "", NOW_NS + start_h * HOUR_NS, NOW_NS + end_h * HOUR_NS)


def test_an_old_begin_is_moved_before_the_length_counts() -> None:
    asked = FlamegraphRequest(TreeQuery(selected(-7 * 24 - 50, -7 * 24 + 20)))
    bounded = checked_query(asked, WEEK, NOW_NS).tree.selection
    assert bounded.start_ns == NOW_NS - 7 * 24 * HOUR_NS
    assert bounded.end_ns == asked.tree.selection.end_ns


def test_what_is_all_too_old_is_an_empty_range() -> None:
    for asked in (selected(-400, -300), selected(-10_000, -9_999)):
        bounded = checked_query(LabelNamesRequest(asked), WEEK, NOW_NS).selection
        assert bounded.start_ns == bounded.end_ns


def test_both_sides_of_a_diff_are_bounded() -> None:
    old, new = (TreeQuery(selected(*hours)) for hours in ((-180, -160), (-2, -1)))
    bounded = checked_query(DiffRequest(old, new), WEEK, NOW_NS)
    assert bounded.left.selection.start_ns == NOW_NS - 168 * HOUR_NS
    assert bounded.right == new


def test_a_long_range_is_refused_with_its_length() -> None:
    said = "the query time range exceeds the limit (max_query_length, actual: 2d, limit: 1d)"
    with pytest.raises(RequestError, match=re.escape(said)):
        checked_query(LabelNamesRequest(replace(selected(-48, 0), end_ns=NOW_NS + 1)), WEEK, NOW_NS)


def test_without_limits_nothing_changes() -> None:
    free = replace(DEFAULTS, max_query_length="0s")
    asked = LabelNamesRequest(selected(-100_000, 0))
    assert checked_query(asked, free, NOW_NS) is asked


def test_nodes() -> None:
    few = replace(DEFAULTS, max_flamegraph_nodes_default=10, max_flamegraph_nodes_max=20)
    assert [max_nodes(asked, few) for asked in (0, 5, 20)] == [10, 5, 20]
    for wrong in (21, -1):
        with pytest.raises(RequestError, match="20"):
            max_nodes(wrong, few)
