"""The command line beside a running server: what is only in the head is seen, and stale notes do no harm."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flameduck.engine.opening import open_store
from flameduck.engine.served import ServedStore
from flameduck.engine.served import running_server as server_of
from flameduck.schema.tenant import SERVER_NOTE
from tests.engine.ingest.made_profiles import made_profile, made_total
from tests.engine.services.test_crash import PUSH, push_body
from tests.running_server import TYPE, RunningServer, running_server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, Path]]:
    """A server with profile 1 in its head, and its store."""
    store = tmp_path_factory.mktemp("served") / "store"
    with running_server(store, "--flush-age-s", "3600") as server:
        server.answer(PUSH, push_body(1))
        yield server, store


def flameduck(*words: str, stdin: bytes = b"") -> str:
    command = [sys.executable, "-m", "flameduck.cli", *words]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_commands_see_what_is_only_in_the_head(served: tuple[RunningServer, Path]) -> None:
    server, store = served
    assert not list(store.glob("*/blocks/*"))
    for place in (("--store", str(store)), ("--store", server.url), ("--url", server.url)):
        rows = json.loads(
            flameduck("sql", "SELECT sum(total)::BIGINT AS n FROM profiles", *place, "-f", "json")
        )
        assert rows[0]["n"] >= made_total([1])


@pytest.mark.parametrize(
    "words",
    [
        ("top", "--type", TYPE),
        ("flame", "--type", TYPE),
        ("tree", "--type", TYPE),
        ("callers", "--type", TYPE, "f1"),
        ("callees", "--type", TYPE, "f1"),
        ("list", "--type", TYPE, "f1"),
        ("series", "--type", TYPE),
        ("profiles",),
        ("labels",),
        ("labels", "number"),
        ("types",),
        ("export", "--type", TYPE, "--format", "folded"),
        ("diff", "--type", TYPE, "-q", "{}", "--vs-query", "{}"),
        ("sql", "FROM profiles LIMIT 1"),
        ("blocks", "list"),
    ],
    ids=" ".join,
)
def test_every_command_works_with_a_url(served: tuple[RunningServer, Path], words: tuple[str, ...]) -> None:
    assert flameduck(*words, "--url", served[0].url)


def test_an_ingest_beside_a_server_makes_a_block_of_its_own(
    served: tuple[RunningServer, Path], tmp_path: Path
) -> None:
    server, store = served
    before = server.total()
    file = tmp_path / "made.pb.gz"
    file.write_bytes(made_profile(2))
    flameduck("ingest", str(file), "--service", "made", "--store", str(store))
    assert len(list(store.glob("anonymous/blocks/*"))) == 1
    assert server.total() == before + made_total([2])
    file.write_bytes(made_profile(3))
    flameduck("ingest", str(file), "--service", "made", "--url", server.url)
    assert server.total() == before + made_total([2, 3])
    assert len(list(store.glob("anonymous/blocks/*"))) == 1


def test_another_tenant_is_read_from_the_store(served: tuple[RunningServer, Path]) -> None:
    """A server of one tenant answers about that one, whatever it is asked."""
    _, store = served
    assert isinstance(open_store(str(store), "anonymous"), ServedStore)
    assert not isinstance(open_store(str(store), "other"), ServedStore)


def test_a_note_is_left_and_removed(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with running_server(store) as server:
        found = server_of(str(store))
        assert found is not None
        assert (found.pid, found.url) == (server.process.pid, server.url)
        assert server.stop() == 0
    assert not (store / SERVER_NOTE).exists()


def test_the_note_of_a_killed_server_is_nothing(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with running_server(store) as server:
        server.answer(PUSH, push_body(1))
        server.kill()
        assert (store / SERVER_NOTE).exists()
        assert server_of(str(store)) is None
        # Its process id now belongs to another: this one.
        note = json.loads((store / SERVER_NOTE).read_text())
        (store / SERVER_NOTE).write_text(json.dumps({**note, "pid": os.getpid()}))
        assert server_of(str(store)) is None
        flameduck("types", "--store", str(store))
    with running_server(store) as server:
        assert server.total() == made_total([1])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "\xff",
        '{"pid": 1}',
        '{"pid": "1", "url": "http://x", "lock": "{lock}"}',
        '{"pid": 1, "url": 1, "lock": "{lock}"}',
        '{"pid": 1, "url": "file:///etc", "lock": "{lock}"}',
        '{"pid": 1, "url": "http://x", "lock": "{lock}", "more": 1}',
        '{"pid": 1, "url": "http://x", "lock": "\\u0000"}',
        '{"pid": 1, "url": "http://x", "lock": "/gone"}',
        '{"pid": 1, "url": "http://x", "lock": "/"}',
    ],
)
def test_a_spoilt_note_is_nothing(tmp_path: Path, text: str) -> None:
    lock = tmp_path / "lock"
    with lock.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        (tmp_path / SERVER_NOTE).write_text(text.replace("{lock}", str(lock)), "latin-1")
        assert server_of(str(tmp_path)) is None
        (tmp_path / SERVER_NOTE).write_text(f'{{"pid": 1, "url": "http://x", "lock": "{lock}"}}')
        assert server_of(str(tmp_path)) is not None
    assert server_of(str(tmp_path)) is None
