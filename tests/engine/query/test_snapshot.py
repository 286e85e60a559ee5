"""What a question opens of a store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import flameduck
from flameduck.schema.errors import StorageError
from tests.engine.ingest.made_profiles import made_total, made_upload


def test_blocks_of_other_services_and_names_are_not_opened(tmp_path: Path) -> None:
    with flameduck.open(tmp_path) as db:
        for number, service in enumerate(("api", "web", "batch")):
            db.ingest(made_upload(number, service_name=service))
    for path in tmp_path.glob("*/blocks/*/meta.json"):
        if json.loads(path.read_text())["parts"][0]["service_name"] != "web":
            (path.parent / "index.parquet").unlink()
    with flameduck.open(tmp_path) as db:
        for selector in ('{service_name="web"}', '{service_name=~"w.*",__name__="process_cpu"}'):
            assert db.flamegraph(selector, type="cpu").total == made_total([1])
        assert db.label_values("service_name", '{service_name!~"api|batch"}') == ["web"]
        assert db.profiles('{service_name="none"}').to_dicts() == []
        assert db.profile_types('{__name__="memory"}') == []
        with pytest.raises(StorageError, match=r"index\.parquet"):
            db.flamegraph("{}", type="cpu")
