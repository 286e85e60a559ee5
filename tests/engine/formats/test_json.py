"""JSON by type, in pieces, and told by its beginning."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine.formats.json_document import array_pieces, decode_json
from flameduck.engine.formats.json_head import json_paths
from flameduck.schema.errors import CorruptProfile

VALUES = st.recursive(
    st.none() | st.integers() | st.text(alphabet='a"\\[]{},é', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('k"\\', max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=20), st.integers(3, 60), st.sampled_from([None, 1]))
def test_pieces_hold_the_items_of_the_array(
    items: list[object], piece_bytes: int, indent: int | None
) -> None:
    raw = json.dumps(items, indent=indent, ensure_ascii=False).encode()
    pieces = list(array_pieces(raw, piece_bytes))
    assert [item for piece in pieces for item in json.loads(piece)] == items


def test_pieces_are_of_bounded_size() -> None:
    raw = json.dumps(list(range(10_000))).encode()
    pieces = list(array_pieces(msgspec.Raw(raw), 1000))
    assert len(pieces) > len(raw) / 1100
    assert max(map(len, pieces)) < 1100


class Point(msgspec.Struct):
    x: int


def test_what_is_wrong_is_named_with_its_place() -> None:
    assert decode_json(b'[{"x": 1, "unused": {}}]', list[Point]) == [Point(1)]
    for raw, reason in (
        (b'[{"x": "1"}]', r"Expected `int`, got `str` - at `\$\[0\]\.x`"),
        (b'[{"x": 1]', "malformed"),
        (b'[{"x": 1', "truncated"),
        (b'["\xff"]', "UTF-8|Expected `object`"),
        (b"[" * 100_000, "recursion|deep|truncated|Expected"),
    ):
        with pytest.raises(CorruptProfile, match=f"(?i){reason}"):
            decode_json(raw, list[Point])
    with pytest.raises(CorruptProfile, match=r"^JSON: points: "):
        decode_json(b"[1]", list[Point], where="points")


def test_the_paths_of_a_beginning() -> None:
    whole = b'{"nodes":[{"id":1,"frame":{"name":"a\\":[","x":[1,{"y":2}]}},{"id":2}],"start":1}'
    paths = json_paths(whole)
    assert {"nodes", "nodes[].id", "nodes[].frame.name", "start"} <= paths
    assert json_paths(whole[:40]) < paths
    assert json_paths(b'[{"ph":"X","args":{}}]') == {"[].ph", "[].args"}
    assert json_paths(b"main;work 3") == frozenset()
