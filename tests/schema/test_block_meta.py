"""meta.json and back, of this version and of the first one; what no reader could use is refused."""

from __future__ import annotations

import json

import pytest

from flameduck.schema.block import BlockMeta, FileMeta, PartMeta, RollupMeta, block_from_json
from flameduck.schema.errors import CorruptBlock
from flameduck.schema.tables import FORMAT_VERSION, ROLLUP_WIDTHS_NS

PART = PartMeta(
    0, "cart", "process_cpu", ("a:b:c:d:e",), 5, 9, (0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6)
)
ROLLUP = RollupMeta("rollup_5m", ROLLUP_WIDTHS_NS["rollup_5m"], 7, ((0, 0, 7),))
FILES = {name: FileMeta(3, "ab") for name in ("samples.parquet", "rollup_5m.parquet")}
META = BlockMeta("U", "acme", 1, 7, 5, 9, 1, 2, 6, (PART,), FILES, rollups=(ROLLUP,), size_bytes=6)


def test_there_and_back() -> None:
    assert block_from_json(META.to_json(), "here") == META
    assert META.version == FORMAT_VERSION == 2
    assert (ROLLUP.span(0), ROLLUP.span(1)) == ((0, 7), None)


def test_version_1_had_no_rollups() -> None:
    fields = json.loads(META.to_json()) | {"version": 1}
    del fields["rollups"]
    assert block_from_json(json.dumps(fields).encode(), "here").rollups == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "rollup_2d"}, "rollup 'rollup_2d' of 300000000000 ns is not known"),
        ({"width_ns": 5}, "rollup 'rollup_5m' of 5 ns is not known"),
        ({"name": "rollup_1h", "width_ns": ROLLUP_WIDTHS_NS["rollup_1h"]}, "rollup 'rollup_1h' has no file"),
        ({"parts": [[1, 2]]}, "here: not a block's meta.json"),
        ({"parts": 5}, "here: not a block's meta.json"),
        ({"more": 5}, "here: not a block's meta.json"),
    ],
)
def test_rollups_that_no_reader_could_use_are_refused(change: dict[str, object], reason: str) -> None:
    fields = json.loads(META.to_json())
    fields["rollups"][0] |= change
    with pytest.raises(CorruptBlock, match=reason):
        block_from_json(json.dumps(fields).encode(), "here")
