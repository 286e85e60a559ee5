"""A store as the first format has it stays readable: the same answers, before and after it is compacted."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

import flameduck
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.objects import open_objects
from flameduck.engine.upkeep import Upkeep
from tests.engine.ingest.made_profiles import START_NS, command, problems
from tests.engine.storage.store_answers import stored_answers
from tests.fixtures.programs.record_store import ANSWERS, END_NS, SELECTOR, SPAN, STORE, TENANT


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with tarfile.open(STORE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture(scope="module")
def expected() -> Any:
    return json.loads(gzip.decompress(ANSWERS.read_bytes()))


def answers(store: Path) -> dict[str, Any]:
    return stored_answers(store, START_NS, END_NS, SPAN, SELECTOR)


def levels(store: Path) -> list[int]:
    with flameduck.open(store) as db:
        return sorted(block["level"] for block in db.blocks().to_dicts())


def test_it_is_of_the_first_format(store: Path) -> None:
    metas = [json.loads(path.read_bytes()) for path in store.glob(f"{TENANT}/blocks/*/meta.json")]
    assert [meta["version"] for meta in metas] == [1] * 5
    entries = [json.loads(path.read_bytes()) for path in store.glob(f"{TENANT}/catalog/*.json")]
    assert [entry["format"] for entry in entries] == [1] * 69
    assert list(store.glob(f"{TENANT}/catalog/checkpoint/*.parquet"))
    assert levels(store) == [0, 0, 1]


def test_it_answers_as_it_did(store: Path, expected: Any) -> None:
    assert answers(store) == expected
    assert problems(store) == []


def test_compacted_it_answers_the_same(store: Path, expected: Any) -> None:
    done = command("compact", "--store", store)
    assert done.returncode == 0, done.stderr
    assert len(levels(store)) == 1
    assert answers(store) == expected
    assert problems(store) == []


def test_without_its_log_the_checkpoint_is_read_and_the_blocks_are_found(store: Path, expected: Any) -> None:
    for path in store.glob(f"{TENANT}/catalog/*.json"):
        if int(path.stem) <= 64:
            path.unlink()
    assert Catalog(open_objects(str(store)), TENANT).load().version == 69
    assert answers(store) == expected
    for path in store.glob(f"{TENANT}/catalog/**/*.*"):
        path.unlink()
    Upkeep(str(store), TENANT).reindex(act=True)
    assert answers(store) == expected
