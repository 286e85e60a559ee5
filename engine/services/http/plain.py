"""Plain HTTP routes: errors as JSON like Connect's, and what says that the server is there."""

from __future__ import annotations

import logging
import platform
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from connectrpc.code import Code
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from .... import __version__
from ....schema.errors import FlameduckError, Overloaded
from ...settings import ServerSettings, Settings
from .rpc import RETRY_AFTER_S, code_of

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]

_STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNAVAILABLE: 503,
    Code.INTERNAL: 500,
}


def error_response(error: FlameduckError, status: int = 0, shown_code: str = "") -> Response:
    """What a plain route answers for an error; `status` and `shown_code` in place of those of its class."""
    code = code_of(error)
    headers = {"X-Content-Type-Options": "nosniff"}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return JSONResponse(
        {"code": shown_code or code.value, "message": str(error)}, status or _STATUS[code], headers=headers
    )


def guarded(endpoint: Endpoint) -> Endpoint:
    """The endpoint with errors turned into answers."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except FlameduckError as error:
            return error_response(error)
        except Exception:  # a process boundary: a bug is logged and answered without its text
            log.exception("%s failed", request.url.path)
            return JSONResponse({"code": Code.INTERNAL.value, "message": "internal error"}, 500)

    return answer


class ReadyPage:
    """Whether the server takes requests, and if not, why."""

    def __init__(self, fault: Callable[[], str]) -> None:
        self._fault = fault

    async def page(self, _: Request) -> Response:
        """200 and `ready`, or 503 and the reason."""
        reason = self._fault()
        return PlainTextResponse(reason or "ready", 503 if reason else 200)


async def not_found(_: Request, __: Exception) -> Response:
    """There is no such page."""
    return PlainTextResponse("404 page not found\n", 404)


async def build_info(_: Request) -> Response:
    """The version, in the shape of Prometheus."""
    data = {
        "version": __version__,
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": f"python{platform.python_version()}",
    }
    return JSONResponse({"status": "success", "data": data})


class ConfigPages:
    """The settings that the server runs with, as YAML."""

    def __init__(self, settings: Settings, server: ServerSettings) -> None:
        self._now = {**asdict(settings), **asdict(server)}
        self._default = {**asdict(Settings()), **asdict(ServerSettings())}

    async def config(self, _: Request) -> Response:
        """Every setting."""
        return PlainTextResponse(_yaml(self._now))

    async def diff(self, _: Request) -> Response:
        """Those that are not at their defaults."""
        changed = {name: value for name, value in self._now.items() if value != self._default[name]}
        return PlainTextResponse(_yaml(changed))

    async def default(self, _: Request) -> Response:
        """Every setting's default."""
        return PlainTextResponse(_yaml(self._default))


def _yaml(values: dict[str, object]) -> str:
    """Names and plain values; a text is quoted as JSON, which YAML takes."""
    import json

    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items())
