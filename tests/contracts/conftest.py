"""The stores and servers that the conformance suites run against."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from flameduck.engine.storage.objects import Objects, open_objects
from tests.clusters import ROOT, dask_cluster
from tests.servers import (
    fault_proxy,
    faults,
    faulty_url,
    pytest_collection_modifyitems,
    s3_server,
    s3_url,
)

__all__ = [
    "dask_cluster",
    "fault_proxy",
    "faults",
    "faulty_url",
    "pytest_collection_modifyitems",
    "s3_server",
    "s3_url",
]


FAULTY = pytest.param("faulty", marks=[pytest.mark.nightly, pytest.mark.timeout(900)])


@pytest.fixture(params=["file", "memory", "s3", FAULTY])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind; the last is S3 behind a proxy that fails."""
    if request.param == "file":
        return str(tmp_path / "store")
    if request.param == "memory":
        return f"memory://{uuid4().hex}"
    place: str = request.getfixturevalue("faulty_url" if request.param == "faulty" else "s3_url")
    return place


@pytest.fixture
def objects(url: str) -> Objects:
    """The same, opened."""
    return open_objects(url)


@pytest.fixture
def workers_know_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let worker processes of this machine, which look where this process does, find what tests define."""
    monkeypatch.syspath_prepend(str(ROOT))
