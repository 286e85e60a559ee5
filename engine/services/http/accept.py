"""The Accept header, in which clients also say what they can take beyond media types."""

from __future__ import annotations

import re
from collections.abc import Iterator

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_UTF8_NAMES = ("allow-utf8-labelnames", "true")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = rf'{_TOKEN}[ \t]*=[ \t]*(?:{_TOKEN}|"(?:[^"\\]|\\.)*")'
_ENTRY = rf"[ \t]*{_TOKEN}(?:/{_TOKEN})?[ \t]*(?:;[ \t]*{_PARAMETER}[ \t]*)*(?:;[ \t]*)?"
_HEADER = re.compile(rf"{_ENTRY}(?:,{_ENTRY})*")
_PARAMETERS = re.compile(rf';[ \t]*({_TOKEN})[ \t]*=[ \t]*({_TOKEN}|"(?:[^"\\]|\\.)*")')


def takes_utf8_names(accept: str) -> bool:
    """Whether a client can take label names of any letters."""
    return _UTF8_NAMES in set(_parameters(accept))


def _parameters(accept: str) -> Iterator[tuple[str, str]]:
    for name, value in _PARAMETERS.findall(accept):
        yield name.lower(), value.strip('"')


class AcceptCheck:
    """Refuses requests whose Accept header is no list of media types."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400, or pass the request on."""
        if scope["type"] == "http":
            found = [value for name, value in scope["headers"] if name == b"accept"]
            text = b",".join(found).decode("latin-1")
            if text.strip() and not _HEADER.fullmatch(text):
                refusal = PlainTextResponse(f"Invalid header format: Accept: {text[:64]!r}\n", 400)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
