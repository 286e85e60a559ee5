"""`flameduck demo`: a tour on sample profiles."""

from __future__ import annotations

import shlex
import sys
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command()
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False),
    help="Profiles to show; by default some that come along.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False),
    default="demo",
    show_default=True,
    help="Directory for the store and the page.",
)
def command(data: str | None, output: str) -> None:
    """Ingest sample profiles and ask the usual questions; each command is printed before it runs.

    \b
    Example:
      flameduck demo
      flameduck demo --data profiles/ --output /tmp/demo
    """
    target = Path(output)
    target.mkdir(parents=True, exist_ok=True)
    if data is not None:
        _tour(data, target)
        return
    with as_file(files(__package__) / "demo_data") as folder:
        _tour(str(folder), target)


def _tour(data: str, target: Path) -> None:
    store = str(target / "store")
    _run("ingest", data, "--service", "demo", "--store", store)
    profile_type = _main_type(store)
    page = str(target / "flame.html")
    for words in _questions(profile_type, page):
        _run(*words, "--store", store)
    click.echo(f"\nThe store is in {store}. Open {page} in a browser.")


def _questions(profile_type: str, page: str) -> Iterator[tuple[str, ...]]:
    yield ("types",)
    yield ("top", "--type", profile_type, "--limit", "10")
    yield ("flame", "--type", profile_type, "--depth", "20")
    yield ("sql", _sql(profile_type))
    yield ("flame", "--type", profile_type, "--html", page)


def _sql(profile_type: str) -> str:
    return f"FROM top('{profile_type}') SELECT function, self, total ORDER BY self DESC LIMIT 5"


def _main_type(store: str) -> str:
    """A CPU type if there is one, else the first. Raises a usage error when nothing was stored."""
    from ..engine.connection import open_connection

    with open_connection(store) as connection:
        types = connection.profile_types()
    if not types:
        raise click.UsageError("no profile could be stored")
    return next((kind for kind in types if ":cpu:" in kind), types[0])


def _run(*words: str) -> None:
    """Print a command and run it in this process."""
    from .main import cli

    click.secho(f"\n$ flameduck {shlex.join(words)}", bold=True)
    sys.stdout.flush()
    cli.main(list(words), prog_name="flameduck", standalone_mode=False)
