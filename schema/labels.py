"""Label sets, and the matchers that select them.

The only door to promql-parser. Selectors are Prometheus metric selectors: `{a="b",c=~"d|e"}`, `cpu{a!="b"}`,
`{"dotted.name"="x"}`. Regular expressions are RE2, matched against the whole value; a label that is absent
counts as the empty string.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import promql_parser
import pyarrow as pa
import pyarrow.compute as pc

from .errors import InvalidSelector

SERVICE_NAME = "service_name"
METRIC_NAME = "__name__"
PROFILE_TYPE = "__profile_type__"
SPY = "pyroscope_spy"
"""Which agent recorded a profile, in its own words."""

_NOT_EMPTY = '{__any__="x",'
_OPERATORS = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}


@dataclass(frozen=True)
class Matcher:
    """One condition on a label: `op` is `=`, `!=`, `=~` or `!~`."""

    name: str
    op: str
    value: str

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"')
        name = self.name if re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", self.name) else f'"{self.name}"'
        return f'{name}{self.op}"{escaped}"'

    def mask(self, values: pa.Array) -> pa.Array:
        """Which of `values` (strings, null means absent) satisfy the condition."""
        present = pc.fill_null(values, "")
        hit = match_whole(present, self.value) if self.op.endswith("~") else pc.equal(present, self.value)
        return pc.invert(hit) if self.op.startswith("!") else hit


def match_whole(values: pa.Array, pattern: str) -> pa.Array:
    """Which strings the RE2 `pattern` matches from end to end. Raises `InvalidSelector`."""
    try:
        return pc.match_substring_regex(values, f"^(?s:{pattern})$")
    except pa.ArrowInvalid as error:
        raise InvalidSelector(f"regular expression {pattern!r}: {error}") from None


def format_selector(matchers: Iterable[Matcher]) -> str:
    """The selector text of some matchers."""
    return "{" + ",".join(map(str, matchers)) + "}"


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """The matchers of a selector; a leading metric name is a matcher on `__name__`.

    Raises `InvalidSelector` for anything else that PromQL allows: ranges, offsets, functions, `or`.
    """
    stripped = text.strip()
    if not stripped:
        raise InvalidSelector("the selector is empty; `{}` selects everything")
    # promql-parser refuses selectors that match the empty string, which are valid here: one that does not goes first.
    named = not stripped.startswith("{")
    try:
        tree = promql_parser.parse(stripped if named else _NOT_EMPTY + stripped[1:])
    except ValueError as error:
        raise InvalidSelector(f"selector {text!r}: {error}") from None
    if (
        not isinstance(tree, promql_parser.VectorSelector)
        or tree.offset
        or tree.at
        or tree.matchers.or_matchers
    ):
        raise InvalidSelector(f"selector {text!r}: only label matchers are allowed")
    matchers = [
        Matcher(m.name, _OPERATORS[str(m.op).rsplit(".", 1)[-1]], m.value) for m in tree.matchers.matchers
    ]
    if not named:
        del matchers[0]
    elif tree.name:
        matchers.insert(0, Matcher(METRIC_NAME, "=", tree.name))
    for matcher in matchers:
        if matcher.op.endswith("~"):
            match_whole(pa.array([], pa.string()), matcher.value)
    return tuple(matchers)


def selects(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether one label set satisfies every matcher."""
    return all(m.mask(pa.array([labels.get(m.name)], pa.string()))[0].as_py() for m in matchers)


def without_empty(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels whose values are not empty, by name: an empty value is an absent label."""
    return {name: labels[name] for name in sorted(labels) if labels[name]}
