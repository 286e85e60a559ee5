"""`flameduck access`: entries for the file that says who may do what on a server."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click

from .output import write_text

_SCOPES = ("write", "read", "admin")

_tenants = click.option(
    "--tenant",
    "tenants",
    multiple=True,
    default=("*",),
    help="Whose profiles; repeat it for more.  [default: *, all]",
)


def _scopes(*default: str) -> Callable[[Any], Any]:
    return click.option(
        "--scope",
        "scopes",
        multiple=True,
        type=click.Choice(_SCOPES),
        default=default,
        show_default=True,
        help="What it allows; repeat it for more.",
    )


@click.group()
def command() -> None:
    """Make entries for the file that `flameduck serve --access-file` reads.

    \b
    Example:
      flameduck access token agents --tenant acme --scope write >> access.toml
      flameduck access password grafana --tenant acme --scope read >> access.toml
    """


@command.command("token")
@click.argument("name")
@_tenants
@_scopes("write")
def token(name: str, tenants: tuple[str, ...], scopes: tuple[str, ...]) -> None:
    """Make a token. The entry, which holds only its hash, goes to stdout; the token itself to stderr, once.

    \b
    Example:
      flameduck access token agents --tenant acme --scope write >> access.toml
    """
    from ..engine.services.access import new_token

    secret, digest = new_token()
    write_text(_entry("tokens", name, ("sha256", digest), tenants, scopes), None)
    sys.stdout.flush()
    click.echo(f"The token, which is shown only now: {secret}", err=True)


@command.command("password")
@click.argument("name")
@_tenants
@_scopes("read")
def password(name: str, tenants: tuple[str, ...], scopes: tuple[str, ...]) -> None:
    """Hash a password, which is asked for, or read from a pipe. The entry goes to stdout.

    \b
    Example:
      flameduck access password grafana --tenant acme --scope read >> access.toml
    """
    from ..engine.services.access import hash_password

    if sys.stdin.isatty():
        secret = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        secret = sys.stdin.readline().rstrip("\r\n")
    if not secret:
        raise click.UsageError("the password is empty")
    write_text(_entry("users", name, ("argon2", hash_password(secret)), tenants, scopes), None)


def _entry(
    table: str, name: str, hashed: tuple[str, str], tenants: tuple[str, ...], scopes: tuple[str, ...]
) -> str:
    """One entry, checked, as TOML. Raises `SettingsError`."""
    from ..engine.services.access import checked_grant

    entry = {"name": name, hashed[0]: hashed[1], "tenants": list(tenants), "scopes": list(scopes)}
    checked_grant(entry, name)
    # Texts and lists of texts are written alike in JSON and TOML, but for what lies outside of ASCII in JSON's escapes.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()]
    return "\n".join([f"[[{table}]]", *lines, "", ""])
