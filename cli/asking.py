"""Opens what a command's options name and asks it, with the defaults that people expect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from .explained import is_explaining, write_explanation
from .output import note, notes

if TYPE_CHECKING:
    from ..engine.connection import Connection
    from ..schema.explanation import Explanation
    from ..schema.request import Answer, Refused, Request, Selection, TreeQuery
    from .options import StoreOptions

EXIT_CODE = "flameduck.exit_code"
"""Key in the click context's `meta` of the exit code that an otherwise good run ends with."""

OWN_PROCESS = object()
"""What the root context's `obj` is where the command is the whole process, and not called from another program."""

_TREE_FIELDS = ("tree", "left", "right", "versus")
"""Where requests hold tree queries."""


def start_engine() -> None:
    """What comes before the engine is imported, once it is sure to be needed."""
    context = click.get_current_context(silent=True)
    if context is not None and context.find_root().obj is OWN_PROCESS:
        from ..engine.execution.start import start_without_pandas

        start_without_pandas()


def start_job() -> None:
    """The same for what works through much more than it keeps: memory that it frees goes back."""
    context = click.get_current_context(silent=True)
    if context is not None and context.find_root().obj is OWN_PROCESS:
        from ..engine.execution.start import start_giving_memory_back

        start_giving_memory_back()
    start_engine()


@contextmanager
def opened(store: StoreOptions, executor: str = "") -> Iterator[Connection]:
    """The connection to the files, else to the store, with complaints about files that were refused.

    `executor` names who reads the blocks; empty: this process.
    """
    start_engine()
    from ..engine.connection import Connection, open_connection
    from ..engine.opening import open_store

    if store.files:
        how: dict[str, Any] = {"input_format": store.input_format, "raw_names": store.raw_names}
        connection = open_connection(*store.files, **how, executor=executor)
    else:
        connection = Connection(open_store(existing_store(store.store), store.tenant, executor))
    with connection:
        report(connection.refused, connection.warnings)
        yield connection


def existing_store(store: str) -> str:
    """The store, if there is one: a question must not make a new store. Raises a usage error."""
    from ..engine.opening import holds_store
    from ..engine.uploads import is_url

    if is_url(store):
        return store
    path = Path(store.removeprefix("file://"))
    if not path.is_dir():
        raise click.UsageError(
            f"no store at {store!r}: name profile files, or a store with --store, or ingest first"
        )
    if not holds_store(path) and any(path.iterdir()):
        raise click.UsageError(
            f"{store!r} is a directory without a store: name it as an argument to read its files"
        )
    return store


def report(refused: Sequence[Refused], warnings: Sequence[str]) -> None:
    """A line for each file that was refused, and exit code 1 in the end; a line for each warning."""
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    for item in refused:
        click.echo(f"flameduck: {item.origin}: {item.reason}", err=True)
    if refused:
        click.get_current_context().meta[EXIT_CODE] = 1


def ask(connection: Connection, request: Request, aggregate: str | None = None) -> Answer:
    """Ask, and show the notes. Gauges are averaged unless an `aggregate` or differences are asked for.

    With `--explain`, shows what answering read, and ends the command.
    """
    if aggregate is not None or any(tree.delta for tree in _trees(request)):
        return ask_plainly(connection, request)
    # A type is resolved by the database, so a guess comes first and a second question only when it was wrong.
    guessed = _named_like_gauge(request)
    answer = _put(connection, _averaged(request) if guessed else request)
    gauge = _is_gauge(answer.profile_type)
    if gauge != guessed:
        answer = _put(connection, _averaged(request) if gauge else request)
    notes(answer.notes)
    _end_if_explained(answer)
    if gauge:
        kind = answer.profile_type.split(":")[1]
        note(f"{kind} is a gauge: averaged over the profiles of each series; --aggregate sum adds them up")
    return answer


def ask_plainly(connection: Connection, request: Request) -> Answer:
    """As `ask`, with no aggregate but what the request says."""
    answer = _put(connection, request)
    notes(answer.notes)
    _end_if_explained(answer)
    return answer


def _put(connection: Connection, request: Request) -> Answer:
    if not is_explaining():
        return connection.database.ask(request)
    from ..schema.request import ExplainRequest

    return connection.database.ask(ExplainRequest(request))


def _end_if_explained(answer: Answer) -> None:
    if is_explaining():
        write_explanation(cast("Explanation", answer))
        context = click.get_current_context()
        context.exit(context.meta.get(EXIT_CODE, 0))


def _is_gauge(profile_type: str) -> bool:
    from ..schema.profile_type import parse_profile_type

    return bool(profile_type) and parse_profile_type(profile_type).is_gauge


def _named_like_gauge(request: Request) -> bool:
    from ..schema.profile_type import ProfileType

    text = _selection(request).profile_type
    parts = text.split(":")
    return ProfileType("", parts[1] if len(parts) > 1 else text, "", "", "").is_gauge


def _selection(request: Request) -> Selection:
    from ..schema.request import Selection

    trees = _trees(request)
    return trees[0].selection if trees else getattr(request, "selection", Selection())


def _trees(request: Request) -> list[TreeQuery]:
    return [tree for name in _TREE_FIELDS if (tree := getattr(request, name, None)) is not None]


def _averaged(request: Request) -> Request:
    changes: dict[str, Any] = {
        name: replace(tree, aggregate="avg")
        for name in _TREE_FIELDS
        if (tree := getattr(request, name, None)) is not None
    }
    if (sandwich := getattr(request, "sandwich", None)) is not None:
        changes["sandwich"] = _averaged(sandwich)
    return replace(request, **(changes or {"aggregate": "avg"}))
