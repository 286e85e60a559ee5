"""The stores and servers that the conformance suites run against."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from flameduck.engine.storage.objects import Objects, open_objects
from tests.clusters import dask_cluster
from tests.servers import pytest_collection_modifyitems, s3_server, s3_url

__all__ = ["dask_cluster", "pytest_collection_modifyitems", "s3_server", "s3_url"]


@pytest.fixture(params=["file", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind."""
    if request.param == "file":
        return str(tmp_path / "store")
    if request.param == "memory":
        return f"memory://{uuid4().hex}"
    place: str = request.getfixturevalue("s3_url")
    return place


@pytest.fixture
def objects(url: str) -> Objects:
    """The same, opened."""
    return open_objects(url)
