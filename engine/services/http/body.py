"""Request bodies within a limit, however they are sent."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

from ....schema.errors import LimitExceeded, RequestError


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
