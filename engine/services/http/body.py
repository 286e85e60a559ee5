"""Request bodies within a limit, however they are sent."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ....schema.errors import LimitExceeded, RequestError

_DRAIN_S = 5
_DRAIN_BYTES = 64 << 20


class BodyTooLarge(LimitExceeded):
    """The body passed the limit before it ended."""


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body. Raises `BodyTooLarge` as soon as there is too much, `RequestError` when the client left."""
    pieces: list[bytes] = []
    size_bytes = 0
    try:
        async for piece in request.stream():
            size_bytes += len(piece)
            if size_bytes > limit_bytes:
                raise BodyTooLarge(f"request body too large: more than {limit_bytes} bytes")
            pieces.append(piece)
    except ClientDisconnect:
        raise RequestError("the client closed the connection before the body ended") from None
    return b"".join(pieces)


class FinishedBodies:
    """ASGI middleware: no answer over HTTP/1 before the request has ended, within bounds.

    The connection would be closed behind such an answer: a client that still sends does not see it, and one that does
    sends its next profile into a closed connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not scope["http_version"].startswith("1"):
            await self._app(scope, receive, send)
            return
        ended = False

        async def watched() -> Message:
            nonlocal ended
            message = await receive()
            ended = ended or message["type"] != "http.request" or not message.get("more_body", False)
            return message

        async def after_the_request(message: Message) -> None:
            if message["type"] == "http.response.start" and not ended:
                size_bytes = 0
                with suppress(TimeoutError):
                    async with asyncio.timeout(_DRAIN_S):
                        while not ended and size_bytes < _DRAIN_BYTES:
                            size_bytes += len((await watched()).get("body", b""))
            await send(message)

        await self._app(scope, watched, after_the_request)
