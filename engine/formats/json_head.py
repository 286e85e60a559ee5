"""What the beginning of a JSON document tells: which keys it has, and where."""

from __future__ import annotations

import re
from functools import lru_cache

from .text import is_json

_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*)"(\s*:)?|[{}\[\]]')
MAX_DEPTH = 4


@lru_cache(maxsize=4)
def json_paths(head: bytes) -> frozenset[str]:
    """The paths of keys in a document that begins with `head`, `traceEvents[].ph` say; of an array, `[].ph`.

    Keys deeper than `MAX_DEPTH` do not count. Empty for what is no JSON.
    """
    if not is_json(head):
        return frozenset()
    found: set[str] = set()
    stack: list[str] = []
    key = ""
    for token in _TOKEN.finditer(head):
        text = token.group()
        if token.group(2) is not None and len(stack) <= MAX_DEPTH and stack:
            key = token.group(1).decode("utf-8", "replace")
            found.add(f"{stack[-1]}.{key}" if stack[-1] else key)
        elif text in (b"{", b"["):
            above = stack[-1] if stack else ""
            inner = f"{above}.{key}" if above and key else above or key
            stack.append(inner + "[]" if text == b"[" else inner)
            key = ""
        elif text in (b"}", b"]") and stack:
            stack.pop()
            key = ""
    return frozenset(found)
