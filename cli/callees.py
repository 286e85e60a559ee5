"""`flameduck callees`: what a function calls, as a flame graph."""

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
    """What FUNCTION calls: the function at the root, its callees below, wherever it was called from.

    FUNCTION is its exact name, as `flameduck top` shows it.

    \b
    Example:
      flameduck callees main.work cpu.pb.gz
      flameduck callees json.dumps -q '{service_name="checkout"}' --type cpu
    """
    from .sandwich import write_sandwich

    write_sandwich(question, function, "callees", graph, output)
