"""The call graph as a picture: what graphviz draws of the `dot` output. Its program `dot` must be installed."""

from __future__ import annotations

import shutil
import subprocess

from ....schema.errors import RequestError
from ..export import Export
from .dot import write_dot

MAX_S = 60
"""Graphviz may need very long for a dense graph: a limit on work."""


def write_svg(export: Export) -> bytes:
    """The picture. Raises `RequestError` when graphviz is missing, takes longer than `MAX_S`, or fails."""
    program = shutil.which("dot")
    if program is None:
        raise RequestError("format 'svg' needs the program dot of graphviz, which is not installed")
    try:
        done = subprocess.run(
            [program, "-Tsvg"], input=write_dot(export), capture_output=True, timeout=MAX_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise RequestError(
            f"format 'svg': graphviz took longer than {MAX_S} s; show fewer functions with max_nodes"
        ) from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
        raise RequestError(f"format 'svg': graphviz failed with {done.returncode}: {said}")
    return done.stdout
