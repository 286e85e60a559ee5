"""The SQL prompt: history, completion, several lines until a `;`, and a few dot commands."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer, Completion, WordCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import SqlLexer  # type: ignore[import-untyped]

from ..schema.errors import FlameduckError
from .output import write_table
from .schema import describe, read_script, reference_names

if TYPE_CHECKING:
    from ..engine.connection import Connection
    from .options import OutputOptions

KEYWORDS = """
    ALL AND AS ASC BETWEEN BY CASE CAST CROSS DESC DESCRIBE DISTINCT ELSE END EXCEPT EXISTS FALSE
    FILTER FROM FULL GROUP HAVING ILIKE IN INNER INTERSECT IS JOIN LATERAL LEFT LIKE LIMIT NOT NULL
    OFFSET ON OR ORDER OUTER OVER PARTITION PIVOT QUALIFY RIGHT SELECT SUMMARIZE THEN TRUE UNION
    UNNEST UNPIVOT USING VALUES WHEN WHERE WINDOW WITH avg count list max median min quantile sum
    unnest
"""
DOT_COMMANDS = {
    ".help": "what can be typed here",
    ".schema": "the views, macros and their columns",
    ".quit": "leave, as Ctrl-D does",
}


def run_prompt(connection: Connection, output: OutputOptions) -> None:
    """Read and answer queries until the end of input."""
    click.echo("SQL over profiles: end a query with ; - .help shows more, Ctrl-D leaves.", err=True)
    session = make_session(reference_names(), history_path())
    while True:
        try:
            text = session.prompt("flameduck> ").strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if text in (".quit", ".exit"):
            return
        answer(connection, text, output)


def answer(connection: Connection, text: str, output: OutputOptions) -> None:
    """Run one line; an error is shown and the prompt goes on."""
    if not text.strip(";"):
        return
    try:
        if text.startswith("."):
            _dot_command(text)
        else:
            write_table(connection.sql(text.rstrip(";")).arrow(), output)
    except FlameduckError as error:
        click.echo(str(error), err=True)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)


def _dot_command(text: str) -> None:
    if text == ".schema":
        click.echo_via_pager(describe((*read_script("views"), *read_script("macros"))))
        return
    if text != ".help":
        click.echo(f"no command {text}", err=True)
    width = max(map(len, DOT_COMMANDS))
    click.echo("\n".join(f"{name:{width}}  {meaning}" for name, meaning in DOT_COMMANDS.items()))


def make_session(names: Iterable[str], history: Path) -> PromptSession[str]:
    """A prompt with history in a file, and completion of keywords, `names` and dot commands."""
    history.parent.mkdir(parents=True, exist_ok=True)
    return PromptSession(
        history=FileHistory(str(history)),
        completer=SqlCompleter(names),
        complete_while_typing=False,
        lexer=PygmentsLexer(SqlLexer),
        multiline=True,
        key_bindings=_bindings(),
        prompt_continuation="      ...> ",
    )


class SqlCompleter(Completer):
    """Completes a dot command at the start, and words of SQL elsewhere."""

    def __init__(self, names: Iterable[str]) -> None:
        self._words = WordCompleter(sorted({*KEYWORDS.split(), *names}), ignore_case=True)
        self._dots = WordCompleter(sorted(DOT_COMMANDS), sentence=True)

    def get_completions(self, document: Document, complete_event: object) -> Iterable[Completion]:
        """The words that go on from the cursor."""
        chosen = self._dots if document.text.startswith(".") else self._words
        return chosen.get_completions(document, complete_event)  # type: ignore[arg-type]


def is_complete(text: str) -> bool:
    """Whether Enter sends the text: it is empty, a dot command, or ends with a semicolon."""
    stripped = text.strip()
    return not stripped or stripped.startswith(".") or stripped.endswith(";")


def history_path() -> Path:
    """Where queries are remembered: the XDG state directory."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "flameduck" / "sql_history"


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter", filter=Condition(_buffer_is_complete))
    def _accept(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    return bindings


def _buffer_is_complete() -> bool:
    from prompt_toolkit.application import get_app

    return is_complete(get_app().current_buffer.text)
