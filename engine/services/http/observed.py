"""Every request counted, timed and named by an id; slow and failed ones logged.

The outermost layer, so that what the gate refuses is seen too. Routes are a bounded set: a path that is none of the
application's counts as `other`.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from ..logs import REQUEST_ID
from ..metrics import Metrics

log = logging.getLogger(__name__)

HEADER = "x-request-id"
OTHER = "other"

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_FAILED = 500
_GONE = 499
"""The client went away before the answer began; as proxies log it."""


class Observed:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str], slow_s: float) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = frozenset(paths)
        self._slow_s = slow_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note what became of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _ID.fullmatch(given) else str(ULID())
        token = REQUEST_ID.set(request_id)
        begun = time.monotonic()
        method, path = scope["method"], scope["path"]
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        failed = True
        try:
            await self._app(scope, receive, note)
            failed = False
        finally:
            status = status or (_FAILED if failed else _GONE)
            self._note(method, path, status, time.monotonic() - begun)
            REQUEST_ID.reset(token)

    def _note(self, method: str, path: str, status: int, seconds: float) -> None:
        route = path if path in self._paths else OTHER
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        if status < _FAILED and seconds < self._slow_s:
            return
        fields = {"method": method, "route": route, "status": status, "seconds": round(seconds, 3)}
        if status >= _FAILED:
            log.warning("request failed", extra={"fields": fields})
        else:
            log.info("request was slow", extra={"fields": fields})
