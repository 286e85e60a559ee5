"""`flameduck callers`: who calls a function, as a flame graph."""

from __future__ import annotations

import click

from .graphs import GraphOptions, graph_options
from .options import OutputOptions, Question, output_options, question_options


@click.command()
@click.argument("function")
@question_options
@graph_options
@output_options(("text", "json"))
def command(function: str, question: Question, graph: GraphOptions, output: OutputOptions) -> None:
    """Who calls FUNCTION, and who calls them: the function at the root, its callers below.

    FUNCTION is its exact name, as `flameduck top` shows it.

    \b
    Example:
      flameduck callers main.work cpu.pb.gz
      flameduck callers json.dumps -q '{service_name="checkout"}' --type cpu
    """
    from .sandwich import write_sandwich

    write_sandwich(question, function, "callers", graph, output)
