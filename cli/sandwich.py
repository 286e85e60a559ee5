"""What `callers` and `callees` share: a flame graph with one function at its root."""

from __future__ import annotations

from typing import Literal, cast

from ..schema.request import ExportRequest, Flamegraph, SandwichRequest
from .asking import ask, opened
from .graphs import GraphOptions, write_graph, write_html
from .options import OutputOptions, Question


def write_sandwich(
    question: Question,
    function: str,
    direction: Literal["callers", "callees"],
    graph: GraphOptions,
    output: OutputOptions,
) -> None:
    """Ask for one direction and write the graph."""
    request = SandwichRequest(question.query(), function, direction, graph.max_nodes)
    aggregate = question.tree.aggregate
    with opened(question.store) as connection:
        if graph.html:
            export = ExportRequest(request.tree, "html", max_nodes=graph.max_nodes, sandwich=request)
            write_html(ask(connection, export, aggregate), graph.html)
        else:
            write_graph(cast(Flamegraph, ask(connection, request, aggregate)), graph, output)
