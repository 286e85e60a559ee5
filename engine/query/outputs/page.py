"""A flame graph as one HTML file that needs nothing else: scripts, styles and data are in it, the network is forbidden.

The page's own files are in `web/`; the answer's bars are embedded as a call tree in pre-order.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from ....schema.profile_type import parse_profile_type
from ....schema.request import Flamegraph, FlamegraphDiff, TreeQuery
from ..export import Export
from .page_tree import page_tree

_SCRIPTS = ("format", "tree", "palette", "graph", "table", "state", "details", "main", "controls")
"""In the order of their use of each other's constants."""


def write_html(export: Export) -> bytes:
    """The interactive page of a flame graph, a diff or a sandwich."""
    answer = export.flamegraph()
    request = export.request
    unit = parse_profile_type(answer.profile_type).sample_unit if answer.profile_type else ""
    subtitle = _described(request.tree)
    if request.versus is not None:
        subtitle = f"{subtitle} → {_described(request.versus)}"
    return render_html(answer, answer.profile_type or "flame graph", unit, subtitle).encode()


def render_html(answer: Flamegraph | FlamegraphDiff, title: str, unit: str, subtitle: str = "") -> str:
    """One self-contained page. `unit` is the sample unit: `nanoseconds`, `bytes`, `count` or another word."""
    tree = page_tree(answer)
    data = {
        "title": title,
        "subtitle": subtitle,
        "unit": unit,
        "notes": list(answer.notes),
        "names": tree.names,
        "depth": tree.depth,
        "name": tree.name,
        "self": tree.self_values,
    }
    script, style = _script(), _web("page.css")
    return _filled(
        {
            "policy": _policy(script, style),
            "title": html.escape(_encodable(title)),
            "style": style,
            "data": json_in_html(data),
            "script": script,
        }
    )


def json_in_html(value: object) -> str:
    """JSON that is inert inside a script element: ASCII only, and no `<` that could end the element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _described(query: TreeQuery) -> str:
    """What a query selects, for a person."""
    selection = query.selection
    parts = [selection.selector if selection.selector not in ("", "{}") else "all profiles"]
    if selection.start_ns is not None or selection.end_ns is not None:
        parts.append(f"{_moment(selection.start_ns, 'the first')} to {_moment(selection.end_ns, 'the last')}")
    if query.aggregate != "sum":
        parts.append({"avg": "average", "last": "last profile"}[query.aggregate])
    if query.granularity != "function":
        parts.append(f"by {query.granularity}")
    return ", ".join(parts)


def _moment(time_ns: int | None, without: str) -> str:
    if time_ns is None:
        return without
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _encodable(text: str) -> str:
    """Text without lone surrogates, which UTF-8 cannot hold."""
    return text.encode(errors="replace").decode()


def _policy(script: str, style: str) -> str:
    """Only this script and this style, by their digests; no request to anywhere."""
    return (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _web(name: str) -> str:
    return files(__package__).joinpath("web", name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    """All scripts as one, in a scope of its own."""
    body = "\n".join(_web(f"{name}.js") for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}}})();\n'


def _filled(values: dict[str, str]) -> str:
    """The page with its `{{places}}` filled; values are not searched for places themselves."""
    pieces = _web("page.html").split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [values[name], rest]
    return "".join(filled)
