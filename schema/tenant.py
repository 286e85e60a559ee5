"""Names of tenants, which are also names of directories."""

from __future__ import annotations

import re

from .errors import RequestError

ANONYMOUS = "anonymous"
"""Whose all data is where nobody is told apart."""

HEAD = "_head"
SERVER_NOTE = "server.json"
"""What a server keeps beside the tenants' directories of a local store."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_TAKEN = {".", "..", HEAD, SERVER_NOTE}


def checked_tenant(name: str) -> str:
    """The name, if it is one. Raises `RequestError` for any but 1 to 128 of A-Z a-z 0-9 `_` `-` `.`, and for `.`,
    `..` and what a server calls its own files, in whatever case: some disks do not tell `A` from `a`.
    """
    if not _NAME.fullmatch(name):
        shown = name if len(name) <= 128 else name[:128] + "…"
        raise RequestError(f"tenant {shown!r}: expected 1 to 128 of A-Z, a-z, 0-9, `_`, `-` and `.`")
    if name.lower() in _TAKEN or name.lower().startswith(f".{SERVER_NOTE}"):
        raise RequestError(f"tenant {name!r}: the name has another meaning in a store")
    return name
