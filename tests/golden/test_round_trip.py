"""Every pprof goes in and comes out meaning the same, also a second time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flameduck.engine.embedded import open_embedded
from flameduck.engine.settings import Settings
from flameduck.schema.profile import Upload
from flameduck.schema.request import Exported, ExportRequest, Selection, TreeQuery

from .pprof_meaning import meaning, read_pprof

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def profile_files() -> list[Any]:
    """Every pprof file there is: our fixtures', and the shared ones or a parameter that skips."""
    files = [
        path
        for path in sorted(FIXTURES.iterdir())
        if ".pb" in path.suffixes and ".labels" not in path.suffixes
    ]
    shared = [path for folder in ("pprof", "jfr") for path in sorted((SHARED / folder).glob("*"))]
    files += [path for path in shared if path.suffix != ".json" and ".jfr" not in path.suffixes[-1:]]
    found = [pytest.param(path, id=path.name[:60]) for path in files if not path.name.endswith(".jfr.gz")]
    missing = pytest.param(None, marks=pytest.mark.skip("../shared/data is not beside this checkout"))
    return found if SHARED.exists() else [*found, missing]


def exported(store: Path, data: bytes) -> bytes:
    """What a store gives back of one file."""
    database = open_embedded(str(store), "anonymous", Settings())
    report = database.ingest([Upload(data, {"service_name": "round-trip"}, time_ns=10**18)])
    assert not report.refused
    answer = database.ask(ExportRequest(TreeQuery(Selection()), "pprof"))
    database.close()
    assert isinstance(answer, Exported)
    return answer.data


@pytest.mark.parametrize("path", profile_files())
def test_nothing_is_lost_and_nothing_added(path: Path, tmp_path: Path) -> None:
    original = path.read_bytes()
    first = exported(tmp_path / "first", original)
    assert meaning(read_pprof(first)) == meaning(read_pprof(original))
    second = exported(tmp_path / "second", first)
    assert meaning(read_pprof(second)) == meaning(read_pprof(original))
