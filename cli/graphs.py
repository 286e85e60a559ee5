"""What the commands that draw flame graphs share: their options, and how a graph is written."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from .flame_text import Style, draw
from .options import OutputOptions, packed
from .output import is_terminal, note, write_bytes, write_json, write_text
from .values import format_value, unit_of

if TYPE_CHECKING:
    from ..schema.request import Answer, Flamegraph

PIPE_WIDTH = 100
PIPE_ROWS = 60


@dataclass(frozen=True)
class GraphOptions:
    """How large a graph is, and whether it goes to an HTML file."""

    max_nodes: int
    html: str | None
    width: int
    depth: int | None


graph_options = packed(
    GraphOptions,
    "graph",
    click.option(
        "--max-nodes",
        type=click.IntRange(min=0),
        default=8192,
        show_default=True,
        help="Keep so many of the largest nodes, the rest becomes `other`; 0: all.",
    ),
    click.option(
        "--html", type=click.Path(dir_okay=False, allow_dash=True), help="Write an interactive page."
    ),
    click.option(
        "--width", type=click.IntRange(min=0), default=0, help="Columns; by default the terminal's."
    ),
    click.option(
        "--depth",
        type=click.IntRange(min=0),
        help="Rows at most, 0: all; by default what the terminal shows.",
    ),
)
"""--max-nodes, --html, --width, --depth."""


def write_html(answer: Answer, path: str) -> None:
    """An exported page to its file."""
    from ..schema.request import Exported

    assert isinstance(answer, Exported)
    write_bytes(answer.data, path)


def write_graph(graph: Flamegraph, options: GraphOptions, output: OutputOptions) -> None:
    """A flame graph as text or JSON."""
    if output.format == "json":
        shape = {
            "names": list(graph.names),
            "levels": [list(map(int, level)) for level in graph.levels],
            "total": int(graph.total),
            "max_self": int(graph.max_self),
        }
        write_json(shape, output.output)
        return
    if graph.total == 0:
        note("no samples match")
        return
    lines = [_title(graph), *draw(graph.names, graph.levels, graph.total, _style(options, output))]
    write_text("\n".join(lines) + "\n", output.output)


def _title(graph: Flamegraph) -> str:
    return f"{graph.profile_type}  {format_value(int(graph.total), unit_of(graph.profile_type))}"


def _style(options: GraphOptions, output: OutputOptions) -> Style:
    terminal = output.output is None and is_terminal(sys.stdout)
    size = shutil.get_terminal_size((PIPE_WIDTH, PIPE_ROWS + 2))
    rows = size.lines - 2 if terminal else PIPE_ROWS
    return Style(
        width=options.width or size.columns,
        max_rows=rows if options.depth is None else options.depth,
        colour=terminal and colours_allowed(),
        unicode=output.output is not None or "utf" in (sys.stdout.encoding or "").lower(),
    )


def colours_allowed() -> bool:
    """Whether nobody said no to colours: https://no-color.org, and terminals that cannot."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
