"""The `name` of old agents' uploads: an application and labels, `checkout.cpu{region=eu,pod=a}`.

Values are raw texts up to the next comma or brace; later names win; what is not closed is dropped. A label `__name__`
is the application.
"""

from __future__ import annotations

import re

from ....schema.errors import RequestError
from ....schema.labels import METRIC_NAME

_APP = re.compile(r"[a-zA-Z0-9_./-]+")
_KEY = re.compile(r"[a-zA-Z0-9_.]+")


def parse_app_name(text: str) -> tuple[str, dict[str, str]]:
    """The application and its labels. Raises `RequestError` naming what is wrong."""
    app, brace, rest = text.partition("{")
    app = app.strip()
    if not app:
        raise RequestError("name: service name is required")
    _check(_APP, app, "service name")
    labels: dict[str, str] = {}
    inside = rest.partition("}")[0] if "}" in rest else rest.rpartition(",")[0]
    for pair in inside.split(",") if brace and inside else ():
        key, equals, value = pair.partition("=")
        if not equals:
            continue
        key = key.strip()
        if not key:
            raise RequestError("name: a label has no name")
        _check(_KEY, key, "label name")
        labels[key] = value.strip()
    return labels.pop(METRIC_NAME, "") or app, labels


def _check(allowed: re.Pattern[str], text: str, what: str) -> None:
    if not allowed.fullmatch(text):
        bad = next(letter for letter in text if not allowed.fullmatch(letter))
        raise RequestError(f"name: invalid {what}: {text}: character is not allowed: '{bad}'")
