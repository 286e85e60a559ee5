"""`flameduck completion`: the script that completes commands in a shell."""

from __future__ import annotations

import click

PROGRAM = "flameduck"


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Example:
      eval "$(flameduck completion bash)"                                         # in ~/.bashrc
      eval "$(flameduck completion zsh)"                                          # in ~/.zshrc
      flameduck completion fish > ~/.config/fish/completions/flameduck.fish
    """
    from click.shell_completion import get_completion_class

    from .main import cli

    kind = get_completion_class(shell)
    assert kind is not None, "click knows the shells that the choice allows"
    click.echo(kind(cli, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source())
