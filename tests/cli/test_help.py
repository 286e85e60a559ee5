"""Every command, its help, and docs/cli.md, which is made from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

from flameduck.cli.main import COMMANDS, cli

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
HEAD = """# The command line

Made from `flameduck --help` by `tests/cli/test_help.py`; `UPDATE=1` rewrites it.

Exit codes: 0; 1 when part of the input was refused, something failed, or a check does not hold; 2 for bad
usage; 130 after Ctrl-C. Answers go to stdout, notes, warnings and errors to stderr, an error on one line.

Environment: `FLAMEDUCK_STORE`, `FLAMEDUCK_TENANT`, `NO_COLOR`, and every setting as `FLAMEDUCK_<NAME>`.

Times: `-1h`, `now-15m`, RFC 3339, or Unix seconds, milliseconds, microseconds or nanoseconds.
"""


def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """A command and every one below it, with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from walk(child, f"{path} {name}")


ALL = dict(walk(cli, "flameduck"))


def help_text(path: str) -> str:
    """The help of a command at a fixed width."""
    command = ALL[path]
    context = click.Context(
        command, info_name=path, terminal_width=100, max_content_width=100, help_option_names=["-h", "--help"]
    )
    return command.get_help(context)


def page() -> str:
    """The whole of docs/cli.md."""
    sections = [f"## {path}\n\n```\n{help_text(path)}\n```\n" for path in ALL]
    return "\n".join([HEAD, *sections])


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_a_module_of_its_name(name: str) -> None:
    module = import_module(f"flameduck.cli.{name}")
    assert isinstance(module.command, click.Command)


def test_the_table_names_every_command_module() -> None:
    folder = Path(import_module("flameduck.cli.main").__file__ or "").parent
    having = {
        path.stem
        for path in folder.glob("*.py")
        if isinstance(getattr(import_module(f"flameduck.cli.{path.stem}"), "command", None), click.Command)
    }
    assert having == set(COMMANDS)


@pytest.mark.parametrize("path", ALL)
def test_every_help_has_an_example_that_calls_it(path: str) -> None:
    text = help_text(path)
    assert "Example:" in text
    assert path in text.split("Example:")[1].split("Options:")[0]


@pytest.mark.parametrize("path", ALL)
def test_every_option_says_what_it_does(path: str) -> None:
    options = [parameter for parameter in ALL[path].params if isinstance(parameter, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("path", ALL)
def test_help_fits_and_is_plain(path: str) -> None:
    text = help_text(path)
    assert max(map(len, text.splitlines())) <= 110
    assert "\b" not in text


def test_the_page_is_up_to_date() -> None:
    if os.environ.get("UPDATE"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "run the tests with UPDATE=1 and look at the difference"
