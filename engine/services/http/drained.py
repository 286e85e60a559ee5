"""An HTTP/2 answer ends after its request has.

A stream that ended on our side is gone for hypercorn, and what the client still sends on it costs the client its
connection, or the answer that it has not read yet. HTTP/1.1 needs none of this: uvicorn skips the rest of a body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATIENCE_S = 30
"""For the rest of a body that nobody wants; who sends for longer loses the connection."""


class Drained:
    """ASGI middleware that reads what the application has left of a body before it lets an answer end."""

    def __init__(self, app: ASGIApp, close: Callable[[], None]) -> None:
        """`close` ends the connection."""
        self._app = app
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        body = _Body(receive)
        with_trailers = False

        async def send_after_body(message: Message) -> None:
            nonlocal with_trailers
            with_trailers = with_trailers or bool(message.get("trailers"))
            is_late = False
            if _is_last(message, with_trailers):
                is_late = not await body.drained(PATIENCE_S)
            await send(message)
            if is_late:
                self._close()

        await self._app(scope, body.receive, send_after_body)


class _Body:
    """What comes of a request."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._has_ended = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._has_ended = self._has_ended or not message.get("more_body", False)
        return message

    async def drained(self, patience_s: float) -> bool:
        """Whether the body ended, or the client went away, in that time."""
        try:
            async with asyncio.timeout(patience_s):
                while not self._has_ended:
                    await self.receive()
        except TimeoutError:
            return False
        return True


def _is_last(message: Message, with_trailers: bool) -> bool:
    if message["type"] == "http.response.trailers":
        return not message.get("more_trailers", False)
    return (
        message["type"] == "http.response.body" and not with_trailers and not message.get("more_body", False)
    )
