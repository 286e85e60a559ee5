"""`flameduck ready`: whether a server takes requests."""

from __future__ import annotations

import time

import click

from .asking import EXIT_CODE
from .output import write_text


@click.command()
@click.option("--url", default="http://127.0.0.1:4040", show_default=True, help="The server's URL.")
@click.option("--wait", type=float, default=0, help="Try for so many seconds.  [default: 0]")
@click.pass_context
def command(context: click.Context, url: str, wait: float) -> None:
    """Exit with 0 when the server at a URL is ready, else with 1.

    \b
    Example:
      flameduck ready --wait 10
    """
    from ..engine.client import is_ready

    give_up = time.monotonic() + wait
    reason = is_ready(url)
    while reason and time.monotonic() < give_up:
        time.sleep(0.1)
        reason = is_ready(url)
    write_text(f"{reason or 'ready'}\n", None)
    context.meta[EXIT_CODE] = 1 if reason else 0
