"""`flameduck flame`: a flame graph in the terminal, or as an HTML file."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from .asking import ask, opened
from .graphs import GraphOptions, graph_options, write_graph, write_html
from .options import OutputOptions, Question, executor_option, output_options, question_options

if TYPE_CHECKING:
    from ..schema.request import Flamegraph


@click.command()
@question_options
@graph_options
@executor_option("reads the blocks")
@output_options(("text", "json"))
def command(question: Question, graph: GraphOptions, executor: str, output: OutputOptions) -> None:
    """A flame graph: the root on top, callees below, as wide as their share.

    JSON is {"names", "levels", "total", "max_self"}; a bar is four integers: distance from the bar before it,
    total, self, index into names.

    \b
    Example:
      flameduck flame cpu.pb.gz
      flameduck flame cpu.pb.gz --html flame.html
      flameduck flame -q '{service_name="checkout",region=~"eu|us"}' --type cpu --from -1h
    """
    from ..schema.request import ExportRequest, FlamegraphRequest

    query, aggregate = question.query(), question.tree.aggregate
    with opened(question.store, executor) as connection:
        if graph.html:
            write_html(
                ask(connection, ExportRequest(query, "html", max_nodes=graph.max_nodes), aggregate),
                graph.html,
            )
        else:
            answer = ask(connection, FlamegraphRequest(query, graph.max_nodes), aggregate)
            write_graph(cast("Flamegraph", answer), graph, output)
