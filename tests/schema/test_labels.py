"""Selectors as people and Pyroscope's clients write them."""

from __future__ import annotations

import pytest

from flameduck.schema.errors import InvalidSelector
from flameduck.schema.labels import format_selector, parse_selector

SELECTORS = {
    "{}": "{}",
    '{a="b"}': '{a="b"}',
    '{a=""}': '{a=""}',
    '{a!="b",c=~"d|e",f!~"g.*"}': '{a!="b",c=~"d|e",f!~"g.*"}',
    'cpu{a="b"}': '{__name__="cpu",a="b"}',
    '{__name__="cpu",a=""}': '{__name__="cpu",a=""}',
    '{__name__=~"cpu|wall"}': '{__name__=~"cpu|wall"}',
    '{"dotted.name"="x"}': '{"dotted.name"="x"}',
}


@pytest.mark.parametrize("text", SELECTORS)
def test_selectors(text: str) -> None:
    assert format_selector(parse_selector(text)) == SELECTORS[text]


@pytest.mark.parametrize(
    "text", ["", " ", "{", '{a="b"', "{a}", '{a=~"("}', "x[5m]", "1", 'x{a="b"} offset 5m', "sum(x)"]
)
def test_what_is_no_selector(text: str) -> None:
    with pytest.raises(InvalidSelector):
        parse_selector(text)
