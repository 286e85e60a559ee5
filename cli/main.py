"""The `flameduck` command: its subcommands, loaded when they are used, and the one place where errors end.

Importing this module imports click and nothing else of weight: `flameduck --help` must answer at once.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from .. import __version__
from ..schema.errors import FlameduckError, exit_status
from .asking import EXIT_CODE, OWN_PROCESS

COMMANDS: dict[str, str] = {
    "ingest": "Store profiles: files, directories, globs, stdin or URLs.",
    "sql": "Query profiles with SQL; without a query, at a prompt.",
    "top": "Functions by their own and their total value.",
    "flame": "A flame graph in the terminal, or as an HTML file.",
    "tree": "The call tree, node by node.",
    "diff": "What changed between two sets of profiles.",
    "callers": "Who calls a function: its callers as a flame graph.",
    "callees": "What a function calls, as a flame graph.",
    "list": "Values by source line of the functions that match.",
    "series": "Totals in time, grouped by labels.",
    "profiles": "The single profiles that match, newest first.",
    "labels": "Label names, the values of one, or whole label sets.",
    "types": "The profile types that are there.",
    "blocks": "The blocks of a store: list, verify, expire, sweep ...",
    "compact": "Few large blocks out of many small ones; copies go.",
    "delete": "Delete profiles for good, with proof.",
    "export": "Write profiles as pprof, folded, speedscope, dot, Parquet ...",
    "jobs": "What a server does to its blocks in the background.",
    "serve": "The server that agents push to and Grafana asks.",
    "access": "Tokens and passwords for the server's access file.",
    "upload": "Push pprof files to a server, as an agent does.",
    "ready": "Whether a server takes requests.",
    "schema": "The tables, views, macros and columns that SQL sees.",
    "demo": "A tour on sample profiles: ingest, top, flame graph, SQL.",
    "version": "The versions of flameduck and what it stands on.",
    "completion": "The script that completes commands in your shell.",
}
"""Name and short help of each command; the module of a command has its name. A test holds the two equal."""

INTERRUPTED = 128 + signal.SIGINT


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module `cli.<name>` and take its `command`."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{cmd_name}", __package__)
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; every failure becomes an exit code, and one line on stderr if it has a reason."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except FlameduckError as error:
            raise Failure(str(error), exit_status(error)[0]) from None
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            _drop_stdout()
            ctx.exit(0)
        except OSError as error:
            raise Failure(
                f"{error.filename}: {error.strerror}" if error.filename else str(error), 1
            ) from None
        return ctx.meta.get(EXIT_CODE, 0) if result is None else result

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and end the process: the code is what the command returned, else what its error says."""
        if args is None:
            extra.setdefault("obj", OWN_PROCESS)
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            result = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as usage:
            click.echo(usage.ctx.get_help() if usage.ctx else usage.format_message())
            sys.exit(0)
        except click.ClickException as error:
            _complain(_reason(error))
            sys.exit(error.exit_code)
        except Failure as failure:
            _complain(str(failure))
            sys.exit(failure.exit_code)
        except (click.Abort, KeyboardInterrupt):
            sys.exit(INTERRUPTED)
        sys.exit(result if isinstance(result, int) else 0)


class Failure(Exception):
    """What ends a run: a reason in one line, and the exit code."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


def _complain(reason: str) -> None:
    """One line on stderr, whatever the reason holds."""
    click.echo("flameduck: " + " ".join(reason.split()), err=True)


def _reason(error: click.ClickException) -> str:
    message = error.format_message()
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return message
    name = context.command_path.partition(" ")[2]
    return f"{name + ': ' if name else ''}{message} (see {context.command_path} --help)"


def _drop_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot fail too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Continuous profiles as open tables: exact flame graphs and SQL over any number of them.

    Every command that reads takes profile files as arguments, or a store with --store.

    \b
    Example:
      flameduck top cpu.pb.gz
      flameduck ingest profiles/ --service checkout
      flameduck flame -q '{service_name="checkout"}' --type cpu --from -1h
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script."""
    cli.main(args=None if arguments is None else list(arguments), prog_name="flameduck")
