"""`flameduck delete`: what it shows, what it refuses, and that --yes does it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import flameduck
from tests.cli.conftest import Run
from tests.engine.ingest.made_profiles import START_NS, STEP_NS, made_total, made_upload

CPU = "process_cpu:cpu:nanoseconds:cpu:nanoseconds"


Delete = Callable[..., tuple[str, str]]


@pytest.fixture
def delete(run: Run) -> Delete:
    def delete_(store: Path, *words: str, code: int = 0) -> tuple[str, str]:
        done = run("delete", "--store", str(store), *words, code=code)
        return done.stdout, done.stderr

    return delete_


@pytest.fixture
def made_store(tmp_path: Path) -> Path:
    with flameduck.open(tmp_path / "store") as db:
        db.ingest([made_upload(number, pod=f"pod-{number % 2}") for number in range(6)])
    return tmp_path / "store"


def total(store: Path) -> int:
    with flameduck.open(store) as db:
        return db.flamegraph(type=CPU).total


def test_it_shows_what_would_go_and_does_nothing(made_store: Path, delete: Delete) -> None:
    text, notes = delete(made_store, "-q", '{pod="pod-1"}')
    (header, block, summed) = text.splitlines()
    assert header.split() == ["block", "profiles", "samples", "size"]
    assert block.split()[1:3] == summed.split()[1:3] == ["6", "36"]
    assert "--yes" in notes
    shown = json.loads(delete(made_store, "-q", '{pod="pod-1"}', "--type", "cpu", "-f", "json")[0])
    assert (shown["id"], shown["profile_type"]) == ("", CPU)
    assert shown["total"]["profiles"] == 3
    assert json.loads(delete(made_store, "-q", '{pod="pod-9"}', "-f", "json")[0])["touched"] == []
    assert total(made_store) == made_total(range(6))
    assert not (made_store / "anonymous" / "deletions").exists()


def test_one_type_in_a_range_goes(made_store: Path, delete: Delete) -> None:
    start, end = (str(START_NS + number * STEP_NS) for number in (1, 4))
    words = ("-q", '{service_name="made"}', "--type", "cpu", "--from", start, "--to", end)
    manifest = json.loads(delete(made_store, *words, "--yes", "-f", "json")[0])
    assert manifest["removed"] == {"profiles": 3, "samples": 18}
    assert (manifest["selector"], manifest["profile_type"]) == (words[1], CPU)
    assert manifest["author"]
    assert total(made_store) == made_total([0, 4, 5])
    with flameduck.open(made_store) as db:
        assert len(db.profiles(type="samples").to_dicts()) == 6
    (path,) = (made_store / "anonymous" / "deletions").glob("*.json")
    assert json.loads(path.read_text()) == manifest
    assert delete(made_store, "--list")[0].split()[:2] == ["id", "selector"]
    assert json.loads(delete(made_store, "--list", "-f", "json")[0]) == []
    assert delete(made_store, "--resume")[0] == "0 blocks were touched; 0 deletions are in force\n"


def test_everything_goes_where_that_is_said(made_store: Path, delete: Delete) -> None:
    _, refusal = delete(made_store, "--yes", code=2)
    assert (
        refusal == "flameduck: the empty selector {} takes the profiles of every series: say so with --all\n"
    )
    text, _ = delete(made_store, "--all", "--yes")
    assert text.startswith("deleted 12 profiles, 72 samples (")
    with flameduck.open(made_store) as db:
        assert db.blocks().to_dicts() == []
        # What is sent once more is new.
        assert db.ingest(made_upload(3)).new == 1
    assert total(made_store) == made_total([3])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-q", "{pod=", "--yes"), "selector"),
        (("-q", '{pod="a"}', "--type", "nothing", "--yes"), "no profile type 'nothing'"),
        (("-q", '{pod="a"}', "--from", "yesterday", "--yes"), "yesterday"),
        (("-q", '{pod="a"}', "--from", "200", "--to", "100", "--yes"), "not before"),
        (("--yes", "--list"), "exclude each other"),
    ],
)
def test_what_is_refused(made_store: Path, delete: Delete, words: tuple[str, ...], message: str) -> None:
    assert message in delete(made_store, *words, code=2)[1]
    assert total(made_store) == made_total(range(6))
    assert json.loads(delete(made_store, "--list", "-f", "json")[0]) == []


def test_there_must_be_a_store(tmp_path: Path, delete: Delete) -> None:
    assert "no store at" in delete(tmp_path / "none", "-q", '{a="b"}', "--yes", code=2)[1]
    assert not (tmp_path / "none").exists()
