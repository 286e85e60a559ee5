"""`flameduck version`: the versions of flameduck and what it stands on."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version

import click

from .options import format_option

PARTS = ("duckdb", "pyarrow", "polars", "numpy", "fsspec", "ptars", "click")


@click.command()
@format_option(("text", "json"))
def command(format: str) -> None:
    """The versions of flameduck, Python and the libraries below it.

    \b
    Example:
      flameduck version
      flameduck version --format json
    """
    from .. import __version__
    from ..schema.tables import FORMAT_VERSION

    versions = {
        "flameduck": __version__,
        "block format": str(FORMAT_VERSION),
        "python": platform.python_version(),
    }
    versions |= {part: _installed(part) for part in PARTS}
    if format == "json":
        click.echo(json.dumps(versions))
    else:
        click.echo("\n".join(f"{name} {number}" for name, number in versions.items()))


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
