"""The reference of the SQL face, read from the comments of its scripts. Pure text, no DuckDB.

In `views.sql` and `macros.sql` a comment block stands above each view, macro, macro parameter and column of
the last SELECT. A column is one line, `expression::TYPE AS name`. Names that start with `_` are private.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_CREATE = re.compile(r"CREATE OR REPLACE (VIEW|MACRO) (\w+)")
_COLUMN = re.compile(r"::(?P<type>[A-Z_]+(?:\(.*\))?(?:\[\])?) AS \"?(?P<name>\w+)\"?,?$")
_PARAMETER = re.compile(r"^(?P<name>\w+)(?: := (?P<default>.+?))?,?$")


@dataclass(frozen=True)
class Parameter:
    """A macro's parameter; `default` is SQL, or None when a value must be given."""

    name: str
    type: str
    default: str | None
    text: str


@dataclass(frozen=True)
class Column:
    """A column of a view or of a macro's answer."""

    name: str
    type: str
    text: str


@dataclass(frozen=True)
class Relation:
    """A view, or a table macro (`parameters` is None for a view)."""

    name: str
    text: str
    columns: tuple[Column, ...]
    parameters: tuple[Parameter, ...] | None = None

    @property
    def call(self) -> str:
        """How it stands after FROM, with the parameters that have no default."""
        if self.parameters is None:
            return self.name
        return f"{self.name}({', '.join(p.name for p in self.parameters if p.default is None)})"


def parse_reference(script: str) -> tuple[Relation, ...]:
    """The public views and macros of a script, in order. Raises `ValueError` where a comment is missing."""
    relations = (_parse_statement(comment, lines) for comment, lines in _statements(script))
    return tuple(relation for relation in relations if relation is not None)


def _statements(script: str) -> Iterator[tuple[str, Sequence[str]]]:
    """Each CREATE statement's lines, and the comment above it."""
    comment: list[str] = []
    lines: list[str] = []
    for line in script.splitlines():
        if lines or line.startswith("CREATE "):
            lines.append(line)
            if line.endswith(";"):
                yield " ".join(comment), lines
                comment, lines = [], []
        elif line.startswith("--"):
            comment.append(line.removeprefix("--").strip())
        else:
            comment = []


def _parse_statement(comment: str, lines: Sequence[str]) -> Relation | None:
    created = _CREATE.match(lines[0])
    if created is None or created[2].startswith("_"):
        return None
    kind, name = created.groups()
    if not comment:
        raise ValueError(f"{name} has no comment")
    columns = tuple(_parse_column(name, *item) for item in _commented(_last_select(lines)))
    if kind == "VIEW":
        return Relation(name, comment, columns)
    parameters = lines[1 : lines.index(") AS TABLE")]
    return Relation(
        name, comment, columns, tuple(_parse_parameter(name, *item) for item in _commented(parameters))
    )


def _last_select(lines: Sequence[str]) -> Sequence[str]:
    """The lines between the last SELECT that is not indented and its FROM."""
    start = len(lines) - list(reversed(lines)).index("SELECT")
    stop = next(number for number in range(start, len(lines)) if lines[number].startswith("FROM "))
    return lines[start:stop]


def _commented(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each line that is no comment, without indentation, with the comment right above it."""
    comment: list[str] = []
    for line in lines:
        stripped = line.strip()
        if stripped.startswith("--"):
            comment.append(stripped.removeprefix("--").strip())
        else:
            yield " ".join(comment), stripped
            comment = []


def _parse_column(relation: str, text: str, item: str) -> Column:
    found = _COLUMN.search(item)
    if found is None or not text:
        raise ValueError(f"{relation}: expected a comment and `…::TYPE AS name`, found {text!r} and {item!r}")
    return Column(found["name"], found["type"], text)


def _parse_parameter(relation: str, text: str, item: str) -> Parameter:
    found = _PARAMETER.match(item)
    kind, stop, description = text.partition(". ")
    if found is None or not stop:
        raise ValueError(f"{relation}: expected `-- TYPE. text` and a parameter, found {text!r} and {item!r}")
    return Parameter(found["name"], kind, found["default"], description)


_STORED = re.compile(r"_files\('(\w+)\.parquet'\)")
_USED = re.compile(r"\b(?:FROM|JOIN) (\w+)|\b(_\w+)\(")


def stored_tables_by_name(scripts: Iterable[str]) -> dict[str, frozenset[str]]:
    """For each view and macro of some scripts, private ones too, the stored tables that it reads."""
    bodies = {}
    for script in scripts:
        for _, lines in _statements(script):
            created = _CREATE.match(lines[0])
            if created is not None:
                code = (line.partition("--")[0] for line in (lines[0][created.end() :], *lines[1:]))
                bodies[created[2]] = "\n".join(code)
    direct = {name: frozenset(_STORED.findall(body)) for name, body in bodies.items()}
    uses = {
        name: bodies.keys() & {word for found in _USED.findall(body) for word in found}
        for name, body in bodies.items()
    }
    while True:
        reached = {name: direct[name].union(*(direct[used] for used in uses[name])) for name in bodies}
        if reached == direct:
            return reached
        direct = reached


def markdown(views: Sequence[Relation], macros: Sequence[Relation]) -> str:
    """docs/sql.md."""
    parts = [_INTRODUCTION, "## Views\n"]
    parts += [_section(relation) for relation in views]
    parts.append("## Macros\n")
    parts += [_section(relation) for relation in macros]
    return "\n".join(parts)


_INTRODUCTION = """\
# SQL reference

<!-- Made from the comments in schema/sql/views.sql and schema/sql/macros.sql by `UPDATE=1 make test`. -->

`flameduck sql "FROM top('cpu') LIMIT 20"` runs DuckDB's SQL over these views and table macros. They are the
same over a file, several files and a store. `flameduck schema` prints this page in the terminal.

- Columns that end in `_id` are hashes of content: equal things have equal ids in all blocks and stores, so it
  is right to join and to group by them.
- Columns that start with `_` number things inside one block. Join them only together with `_block`, and with
  `_part` where there is one.
- Times are UTC, nanoseconds.
- Sums of values are exact as long as they fit 64 bits; a larger one is an error, not a wrong number.

A bare DuckDB, without Python, reads a store's files through the same views: `schema/sql/tables.sql` says how.
"""


def _section(relation: Relation) -> str:
    lines = [f"### {relation.call}\n", relation.text + "\n"]
    if relation.parameters:
        lines += ["| parameter | type | default | |", "|---|---|---|---|"]
        lines += [_row(p.name, p.type, p.default or "", p.text) for p in relation.parameters]
        lines.append("")
    lines += ["| column | type | |", "|---|---|---|"]
    lines += [_row(c.name, c.type, c.text) for c in relation.columns]
    return "\n".join(lines) + "\n"


def _row(name: str, *cells: str) -> str:
    *codes, text = cells
    return "| " + " | ".join([f"`{name}`", *(f"`{code}`" if code else "" for code in codes), text]) + " |"
