"""The SQL prompt, driven through a pipe."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
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
from flameduck.schema.errors import InvalidSql
from flameduck.schema.request import Answer, IngestOptions, IngestReport, Request, SqlRequest


class Recorder:
    """A database that remembers the SQL it was given, and refuses `bad`."""

    def __init__(self) -> None:
        self.queries: list[str] = []

    def ask(self, request: Request) -> Answer:
        raise NotImplementedError

    def ingest(self, uploads: object, options: IngestOptions = IngestOptions()) -> IngestReport:  # noqa: B008
        raise NotImplementedError

    def close(self) -> None:
        pass

    def sql(self, request: SqlRequest) -> pa.Table:
        self.queries.append(request.text)
        if request.text == "bad":
            raise InvalidSql("no such column")
        return pa.table({"n": [len(self.queries)]})


def run(typed: str, monkeypatch: pytest.MonkeyPatch, state: Path) -> Recorder:
    """The prompt, with these keys typed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    database = Recorder()
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text(typed)
        sql_prompt.run_prompt(Connection(database), OutputOptions("table", None))
    return database


def test_a_query_may_have_several_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    database = run("SELECT 1\nFROM x;\n.quit\n", monkeypatch, tmp_path)
    assert database.queries == ["SELECT 1\nFROM x"]


def test_an_error_is_shown_and_the_prompt_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    database = run("bad;\ngood;\n\x04", monkeypatch, tmp_path)
    assert database.queries == ["bad", "good"]
    shown = capfd.readouterr()
    assert "no such column" in shown.err
    assert shown.out == "n\n2\n"


def test_help_lists_the_dot_commands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(".help\n;\n\n.quit\n", monkeypatch, tmp_path).queries == []
    assert ".schema" in capfd.readouterr().out


def test_history_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run("SELECT 42;\n.quit\n", monkeypatch, tmp_path)
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
