"""`flameduck sql`: one query, or a prompt."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .asking import opened
from .options import OutputOptions, StoreOptions, output_options, store_options
from .output import is_terminal, write_table

if TYPE_CHECKING:
    from ..engine.connection import Connection


@click.command()
@click.argument("query", default="")
@store_options
@click.option(
    "--file",
    "query_file",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Read the query from this file; - is standard input.",
)
@click.option(
    "--param", multiple=True, metavar="KEY=VALUE", help="A value for $KEY in the query; repeat it for more."
)
@output_options()
def command(
    query: str, store: StoreOptions, query_file: str | None, param: tuple[str, ...], output: OutputOptions
) -> None:
    """Run one SQL query over profiles. Without a query, read it from a pipe, or start a prompt.

    `flameduck schema` lists the views and macros. JSON is a list of objects; bytes are hex, times ISO.

    \b
    Example:
      flameduck sql "FROM top('process_cpu:cpu:nanoseconds:cpu:nanoseconds') LIMIT 20"
      flameduck sql 'SELECT count(*) FROM samples' cpu.pb.gz
      flameduck sql 'FROM profiles WHERE total > $least' --param least=1000 --format csv
      flameduck sql --store s3://bucket/profiles
    """
    if query != "-" and os.path.exists(query):
        store = _with_file(store, query)
        query = ""
    text = _query_text(query, query_file)
    with opened(store) as connection:
        if text:
            write_table(connection.sql(text, **dict(map(_parameter, param))).arrow(), output)
        else:
            _prompt(connection, output)


def _with_file(store: StoreOptions, path: str) -> StoreOptions:
    """The first argument is a file when it is one: `flameduck sql cpu.pb.gz` starts a prompt on it."""
    from dataclasses import replace

    return replace(store, files=(path, *store.files))


def _query_text(query: str, query_file: str | None) -> str:
    """The query that the options name, empty for the prompt."""
    if query_file not in (None, "-"):
        return Path(str(query_file)).read_text(encoding="utf-8").strip()
    if query == "-" or query_file == "-" or (not query and not is_terminal(sys.stdin)):
        text = sys.stdin.read().strip()
        if not text:
            raise click.UsageError("standard input holds no query")
        return text
    return query.strip()


def _parameter(text: str) -> tuple[str, Any]:
    """A name and its value: a JSON number, boolean, list or null, else the text itself."""
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise click.BadParameter(f"{text!r}: expected KEY=VALUE", param_hint="--param")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _prompt(connection: Connection, output: OutputOptions) -> None:
    from .sql_prompt import run_prompt

    run_prompt(connection, output)
