"""What `callers` and `callees` share: a flame graph with one function at its root."""

from __future__ import annotations

from typing import Literal, cast

import click

from .asking import ask, opened
from .graphs import GraphOptions, graph_options, write_graph, write_html
from .options import OutputOptions, Question, output_options, question_options

_HELP = """{summary}

FUNCTION is its exact name, as `flameduck top` shows it.

\b
Example:
  flameduck {direction} main.work cpu.pb.gz
  flameduck {direction} json.dumps -q '{{service_name="checkout"}}' --type cpu
"""


def sandwich_command(direction: Literal["callers", "callees"], summary: str) -> click.Command:
    """The command for one direction; `summary` begins its help."""

    @click.command(help=_HELP.format(summary=summary, direction=direction))
    @click.argument("function")
    @question_options
    @graph_options
    @output_options(("text", "json"))
    def command(function: str, question: Question, graph: GraphOptions, output: OutputOptions) -> None:
        from ..schema.request import ExportRequest, Flamegraph, SandwichRequest

        request = SandwichRequest(question.query(), function, direction, graph.max_nodes)
        aggregate = question.tree.aggregate
        with opened(question.store) as connection:
            if graph.html:
                export = ExportRequest(request.tree, "html", max_nodes=graph.max_nodes, sandwich=request)
                write_html(ask(connection, export, aggregate), graph.html)
            else:
                write_graph(cast(Flamegraph, ask(connection, request, aggregate)), graph, output)

    return command
