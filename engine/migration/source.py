"""Where profiles come from: the URL of a Pyroscope, and what must be sent to be let in."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from ...schema.errors import RequestError

SCHEMES: Mapping[str, tuple[str, int]] = {"pyroscope": ("http", 4040), "pyroscopes": ("https", 443)}
"""What a scheme means: how to speak, and the port where none is named."""

TENANT_HEADER = "X-Scope-OrgID"
_HEADER = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:\s*([^\r\n\0]*?)\s*")


@dataclass(frozen=True)
class Source:
    """A Pyroscope. `name` is its URL for people, without credentials; `headers` hold them and are never shown."""

    name: str
    url: str
    tenant: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def mark(self) -> str:
        """How the comment of every profile begins that was taken from here."""
        return f"{self.name}{f' tenant {self.tenant}' if self.tenant else ''}: "


def is_source(text: str) -> bool:
    """Whether a path names a Pyroscope."""
    return text.partition("://")[0] in SCHEMES and "://" in text


def parse_source(text: str, tenant: str = "", headers: Sequence[str] = ()) -> Source:
    """A source from `pyroscope[s]://[user:password@]host[:port][/prefix]` and header lines.

    Raises `RequestError`, without what may be secret in its message.
    """
    parts, port = _split(text)
    scheme, default_port = SCHEMES[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    place = f"{host}:{port or default_port}{parts.path.rstrip('/')}"
    sent = dict(map(_header, headers))
    if parts.username is not None:
        if "authorization" in {name.lower() for name in sent}:
            raise RequestError(
                "the source's URL has a user, and a header Authorization is given: which is it?"
            )
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        sent["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    if tenant:
        sent[TENANT_HEADER] = tenant
    return Source(f"{parts.scheme}://{place}", f"{scheme}://{place}", tenant, sent)


def _split(text: str) -> tuple[SplitResult, int | None]:
    shown = re.sub(r"//[^/]*@", "//", text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise RequestError(f"source {shown!r}: {error}") from None
    if parts.scheme not in SCHEMES or not parts.hostname or parts.query or parts.fragment:
        raise RequestError(f"source {shown!r}: expected pyroscope://host:port or pyroscopes://host")
    if not text.isprintable() or " " in text:
        raise RequestError("the source's URL holds a blank or a character that cannot be printed")
    return parts, port


def _header(line: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(line)
    if found is None:
        # What comes after the colon may be a secret, and where there is none so may all of it.
        raise RequestError("a header of the source: expected 'Name: value'")
    return found[1], found[2]
