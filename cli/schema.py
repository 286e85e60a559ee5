"""`flameduck schema`: what SQL sees."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING

import click

from .options import format_option, output_option
from .output import write_text

if TYPE_CHECKING:
    from ..schema.sql_reference import Column, Parameter, Relation

WIDTH = 100


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@format_option(("text", "json", "markdown"))
@output_option
def command(names: Sequence[str], format: str, output: str | None) -> None:
    """The views and table macros that SQL sees, with every parameter and column; or some of them by name.

    \b
    Example:
      flameduck schema
      flameduck schema samples top
      flameduck schema --format json
    """
    views, macros = _chosen(read_script("views"), names), _chosen(read_script("macros"), names)
    unknown = set(names) - {relation.name for relation in (*views, *macros)}
    if unknown:
        raise click.UsageError(f"no view or macro {', '.join(sorted(unknown))}")
    if format == "json":
        write_text(json.dumps([asdict(relation) for relation in (*views, *macros)], indent=1) + "\n", output)
    elif format == "markdown":
        from ..schema.sql_reference import markdown

        write_text(markdown(views, macros), output)
    else:
        write_text(describe((*views, *macros)), output)


def read_script(name: str) -> tuple[Relation, ...]:
    """The views, or the macros, of a shipped script."""
    from ..schema.sql_reference import parse_reference

    package = f"{__package__.rpartition('.')[0]}.schema"
    return parse_reference((files(package) / "sql" / f"{name}.sql").read_text("utf-8"))


def reference_names() -> list[str]:
    """Names of all views, macros, parameters and columns."""
    names: set[str] = set()
    for relation in (*read_script("views"), *read_script("macros")):
        names.add(relation.name)
        names.update(column.name for column in relation.columns)
        names.update(parameter.name for parameter in relation.parameters or ())
    return sorted(names)


def describe(relations: Sequence[Relation]) -> str:
    """The reference as text."""
    return "\n".join("\n".join(_relation_lines(relation)) + "\n" for relation in relations)


def _chosen(relations: Sequence[Relation], names: Sequence[str]) -> tuple[Relation, ...]:
    return tuple(relation for relation in relations if not names or relation.name in names)


def _relation_lines(relation: Relation) -> list[str]:
    lines = [relation.call, *textwrap.wrap(relation.text, WIDTH, initial_indent="  ", subsequent_indent="  ")]
    if relation.parameters:
        lines += ["  parameters", *_members([_parameter(parameter) for parameter in relation.parameters])]
        lines.append("  columns")
    return lines + _members([_column(column) for column in relation.columns])


def _parameter(parameter: Parameter) -> tuple[str, str]:
    default = "" if parameter.default is None else f" := {parameter.default}"
    return f"{parameter.name} {parameter.type}{default}", parameter.text


def _column(column: Column) -> tuple[str, str]:
    return f"{column.name} {column.type}", column.text


def _members(members: Sequence[tuple[str, str]]) -> list[str]:
    """Names in one column, their meaning wrapped in the next."""
    width = min(max(len(name) for name, _ in members), WIDTH // 2)
    lines = []
    for name, text in members:
        indent = " " * (width + 6)
        first, *rest = textwrap.wrap(text, WIDTH - len(indent)) or [""]
        lines.append(f"    {name:{width}}  {first}".rstrip())
        lines += [indent + line for line in rest]
    return lines
