"""Names of tenants, which are also names of directories."""

from __future__ import annotations

import re

from .errors import RequestError

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def checked_tenant(name: str) -> str:
    """The name, if it is 1 to 128 of A-Z a-z 0-9 `_` `-` `.`, and not `.` or `..`. Raises `RequestError`."""
    if not _NAME.fullmatch(name) or name in (".", ".."):
        shown = name if len(name) <= 128 else name[:128] + "…"
        raise RequestError(f"tenant {shown!r}: expected 1 to 128 of A-Z, a-z, 0-9, `_`, `-` and `.`")
    return name
