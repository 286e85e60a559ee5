"""Tests of the server may use a real S3 server."""

from __future__ import annotations

from tests.servers import pytest_collection_modifyitems, s3_process

__all__ = ["pytest_collection_modifyitems", "s3_process"]
