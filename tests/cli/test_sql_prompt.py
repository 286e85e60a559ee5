"""The SQL prompt, driven through a pipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from flameduck.cli import sql_prompt
from flameduck.cli.options import OutputOptions
from flameduck.cli.schema import reference_names
from flameduck.engine.connection import Connection

TypeKeys = Callable[[str], list[str]]


@pytest.fixture
def type_keys(recorder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TypeKeys:
    """Run the prompt with some keys typed, and hand back the queries."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def type_(typed: str) -> list[str]:
        database = recorder()
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            keys.send_text(typed)
            sql_prompt.run_prompt(Connection(database), OutputOptions("table", None))
        queries: list[str] = database.queries
        return queries

    return type_


def test_a_query_may_have_several_lines(type_keys: TypeKeys) -> None:
    assert type_keys("SELECT 1\nFROM x;\n.quit\n") == ["SELECT 1\nFROM x"]


def test_an_error_is_shown_and_the_prompt_goes_on(
    type_keys: TypeKeys, capfd: pytest.CaptureFixture[str]
) -> None:
    assert type_keys("bad;\ngood;\n\x04") == ["bad", "good"]
    shown = capfd.readouterr()
    assert "no such column" in shown.err
    assert shown.out == "n\n2\n"


def test_help_lists_the_dot_commands(type_keys: TypeKeys, capfd: pytest.CaptureFixture[str]) -> None:
    assert type_keys(".help\n;\n\n.quit\n") == []
    assert ".schema" in capfd.readouterr().out


def test_history_is_kept(type_keys: TypeKeys, tmp_path: Path) -> None:
    type_keys("SELECT 42;\n.quit\n")
    assert "SELECT 42;" in (tmp_path / "flameduck" / "sql_history").read_text()


@pytest.mark.parametrize(
    ("text", "complete"),
    [("", True), ("SELECT 1", False), ("SELECT 1;", True), ("SELECT 1 ;\n", True), (".help", True)],
)
def test_is_complete(text: str, complete: bool) -> None:
    assert sql_prompt.is_complete(text) is complete


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SEL", "SELECT"),
        ("FROM sam", "samples"),
        ("SELECT profile_t", "profile_type"),
        ("FROM to", "top"),
        (".sc", ".schema"),
    ],
)
def test_completion(text: str, expected: str) -> None:
    completer = sql_prompt.SqlCompleter(reference_names())
    found = [item.text for item in completer.get_completions(Document(text), CompleteEvent())]
    assert expected in found
