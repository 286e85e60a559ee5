"""`flameduck serve`: the server that agents push to and Grafana asks."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from .asking import start_engine
from .options import StoreOptions, only_store_options

if TYPE_CHECKING:
    from collections.abc import Callable


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for every server setting."""
    from ..engine.settings import ServerSettings

    for one in reversed(fields(ServerSettings)):
        name = "--" + one.name.replace("_", "-")
        text = one.metadata["help"]
        shown = f"{text[0].upper()}{text[1:]}."
        if isinstance(one.default, bool):
            option = click.option(f"{name}/--no-{name[2:]}", one.name, default=None, help=shown)
        else:
            default = one.default if one.default != "" else None
            option = click.option(
                name, one.name, type=type(one.default), help=f"{shown}  [default: {default}]"
            )
        command = option(command)
    return command


@click.command()
@only_store_options
@server_options
def command(store: StoreOptions, **said: Any) -> None:
    """Take profiles from Pyroscope's agents, and answer Grafana's and Pyroscope's questions.

    \b
    Example:
      flameduck serve --store /var/lib/flameduck
      flameduck serve --store s3://bucket/profiles --data-dir /var/lib/flameduck
    """
    from ..engine.execution.start import start_giving_memory_back

    start_giving_memory_back()
    start_engine()
    from ..engine.services.http.run import serve
    from ..engine.settings import load_server_settings, load_settings

    given = {name: value for name, value in said.items() if value is not None}
    serve(store.store, load_settings(), load_server_settings(given))
