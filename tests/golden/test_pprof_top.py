"""`top` equals `pprof -top`, for every file and every sample type, exactly."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flameduck.engine.embedded import open_files
from flameduck.schema.profile import Upload
from flameduck.schema.request import ProfileTypesRequest, Rows, Selection, TopRequest, TreeQuery

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
SHARED = Path(__file__).resolve().parents[3] / "shared"


def cases() -> list[Any]:
    """(file, its expected tops) of our fixtures, and of the shared goldens where they are."""
    own = json.loads((FIXTURES / "pprof_top.json").read_text())
    found = [pytest.param(FIXTURES / name, types, id=name) for name, types in own.items()]
    golden = SHARED / "golden" / "pprof_top.json.gz"
    if not golden.exists():
        return [
            *found,
            pytest.param(None, {}, marks=pytest.mark.skip("../shared is not beside this checkout")),
        ]
    shared = json.loads(gzip.decompress(golden.read_bytes()))
    return found + [
        pytest.param(SHARED / "data" / "pprof" / name, types, id=name) for name, types in shared.items()
    ]


@pytest.mark.parametrize(("path", "expected"), cases())
def test_top_equals_pprof(path: Path, expected: dict[str, Any]) -> None:
    database = open_files([Upload(path.read_bytes(), {}, str(path), time_ns=1)])
    listed = database.ask(ProfileTypesRequest(Selection()))
    assert isinstance(listed, Rows)
    ids = listed.table.column("profile_type").to_pylist()
    for kind, answer in expected.items():
        matching = [type_id for type_id in ids if "/".join(type_id.split(":")[1:3]) == kind]
        assert len(matching) == 1, (kind, ids)
        top = database.ask(TopRequest(TreeQuery(Selection(profile_type=matching[0]))))
        assert isinstance(top, Rows)
        ours = sorted((row["self"], row["total"], row["function"]) for row in top.table.to_pylist())
        assert ours == sorted((flat, cum, name) for flat, cum, name in answer["top"]), kind


@pytest.fixture
def shared_golden(shared: Callable[[str], Path]) -> Path:
    return shared("golden/pprof_top.json.gz")


def test_all_twelve_shared_files_are_compared(shared_golden: Path) -> None:
    assert len(json.loads(gzip.decompress(shared_golden.read_bytes()))) == 12
