"""`flameduck demo`: a tour on sample profiles."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path

import click

V1 = '{service_name="orders",version="v1"}'
V2 = '{service_name="orders",version="v2"}'


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

    Where the server and Pyroscope's Python SDK are installed, a program is profiled too.

    \b
    Example:
      flameduck demo
      flameduck demo --data profiles/ --output /tmp/demo
    """
    target = Path(output)
    target.mkdir(parents=True, exist_ok=True)
    store, page = str(target / "store"), str(target / "flame.html")
    if data is not None:
        _run("ingest", data, "--service", "demo", "--store", store)
        _ask("{}", _main_type(store), store, page)
    else:
        with as_file(files(__package__) / "demo_data") as folder:
            for words in _shipped(folder):
                _run("ingest", *words, "--store", store)
        _run("types", "--store", store)
        _ask(V1, "cpu", store, page)
        _run("diff", "-q", V1, "--vs-query", V2, "--type", "cpu", "--normalize", "-n", "8", "--store", store)
    _show_server(store, target)
    click.echo(f"\nThe store is in {store}. Open {page} in a browser.")


def _show_server(store: str, target: Path) -> None:
    """Start a server over the store, let a program push to it, and ask about that program."""
    from .demo_server import demo_server, missing_module, run_program

    missing = missing_module()
    if missing:
        click.echo(f"\nThe server is not shown: {missing} is not installed.")
        return
    log = target / "server.log"
    with demo_server(store, log) as url:
        if not url:
            click.echo(f"\nThe server did not start; {log} says why.")
            return
        click.secho(f"\n$ flameduck serve --store {store} --http-port {url.rpartition(':')[2]} &", bold=True)
        click.echo(
            "A program that is busy for four seconds pushes its profile through Pyroscope's Python SDK."
        )
        fault = run_program(url)
        if fault:
            click.echo(f"The program failed: {fault}")
            return
        _run("top", "-q", '{service_name="live"}', "--type", "cpu", "--limit", "5", "--url", url)


def _shipped(folder: Path) -> Iterator[tuple[str, ...]]:
    """What is said of the profiles that come along: two versions of one service, and another program."""
    yield str(folder / "go-cpu.pb.gz"), "--service", "orders", "--label", "version=v1"
    yield str(folder / "go-cpu-v2.pb.gz"), "--service", "orders", "--label", "version=v2"
    yield str(folder / "go-heap.pb.gz"), "--service", "orders"
    yield str(folder / "node-wall.pb.gz"), "--service", "checkout"


def _ask(selector: str, profile_type: str, store: str, page: str) -> None:
    """The usual questions about one selection."""
    which = ("-q", selector, "--type", profile_type, "--store", store)
    _run("top", *which, "--limit", "10")
    _run("flame", *which, "--depth", "20")
    _run("sql", _SQL, "--store", store)
    _run("flame", *which, "--html", page)


_SQL = """SELECT service_name, profile_type, count(*) AS profiles, sum(samples) AS samples
FROM profiles GROUP BY ALL ORDER BY ALL"""


def _main_type(store: str) -> str:
    """A CPU type if there is one, else the first. Raises a usage error when nothing was stored."""
    from ..engine.connection import open_connection

    with open_connection(store) as connection:
        types = connection.profile_types()
    if not types:
        raise click.UsageError("no profile could be stored")
    return next((kind for kind in types if ":cpu:nanoseconds:" in kind), types[0])


def _run(*words: str) -> None:
    """Print a command and run it in this process."""
    from .main import cli

    click.secho(f"\n$ flameduck {shlex.join(words)}", bold=True)
    sys.stdout.flush()
    cli.main(list(words), prog_name="flameduck", standalone_mode=False)
