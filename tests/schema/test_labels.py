"""Selectors: what they mean, and what is refused."""

from __future__ import annotations

import pytest

from flameduck.schema.errors import InvalidSelector
from flameduck.schema.labels import format_selector, parse_selector, selects

LABELS = {"__name__": "memory", "region": "eu", "a.b": "c"}


@pytest.mark.parametrize(
    ("selector", "plain", "selected"),
    [
        ("{}", "{}", True),
        (" { } ", "{}", True),
        ("memory", '{__name__="memory"}', True),
        ("memory{}", '{__name__="memory"}', True),
        ('cpu{region="eu"}', '{__name__="cpu",region="eu"}', False),
        ('{__name__="memory",region!="us",}', '{__name__="memory",region!="us"}', True),
        ('{__name__=~"m.*",__name__!="memory"}', '{__name__=~"m.*",__name__!="memory"}', False),
        ('{zone=""}', '{zone=""}', True),
        ('{zone!=""}', '{zone!=""}', False),
        ('{zone=~"|x"}', '{zone=~"|x"}', True),
        ('{region=~"e"}', '{region=~"e"}', False),
        ('{"a.b"="c"}', '{"a.b"="c"}', True),
        ('{__name__="memory",zone=""}', '{__name__="memory",zone=""}', True),
        ('{region!="us",zone!~"g.*"}', '{region!="us",zone!~"g.*"}', True),
    ],
)
def test_selectors(selector: str, plain: str, selected: bool) -> None:
    matchers = parse_selector(selector)
    assert format_selector(matchers) == plain
    assert selects(matchers, LABELS) == selected


@pytest.mark.parametrize(
    "selector",
    [
        "",
        "{",
        "}",
        "{,}",
        "{a}b",
        '{a="b"}[5m]',
        "sum(a)",
        '{a="b"} offset 5m',
        '{a="b" or c="d"}',
        '{a=~"("}',
        "1",
    ],
)
def test_what_is_no_selector(selector: str) -> None:
    with pytest.raises(InvalidSelector):
        parse_selector(selector)
