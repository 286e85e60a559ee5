"""What `callers` and `callees` share: a flame graph with one function at its root."""

from __future__ import annotations

from typing import Literal, cast

from ..schema.request import Flamegraph, SandwichRequest
from .asking import ask, opened
from .graphs import GraphOptions, write_graph, write_sandwich_page
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
    with opened(question.store) as connection:
        answer = cast(Flamegraph, ask(connection, request, question.tree.aggregate))
    if graph.html:
        write_sandwich_page(answer, direction, graph.html)
    else:
        write_graph(answer, graph, output)
