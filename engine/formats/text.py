"""Telling text from binary."""

from __future__ import annotations

import re

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_JSON = re.compile(rb"\s*(\{\s*[\"}]|\[\s*[\[{\"\]])")


def is_text(head: bytes) -> bool:
    """Whether the bytes hold no control characters but white space and escape."""
    return _CONTROL.search(head) is None


def is_json(head: bytes) -> bool:
    """Whether the text begins as a JSON object or list does."""
    return _JSON.match(head) is not None
