"""A proxy in front of an S3 server that fails as networks and stores fail, by rates and a seed.

Requests are signed for the address that the client knows, so they are passed on as they are, that address included.
"""

from __future__ import annotations

import asyncio
import io
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

import aiohttp
from aiohttp import web
from yarl import URL

_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "te", "trailer", "upgrade"}
_WRITES = {"PUT", "POST", "DELETE"}
_ANSWER_S = 60


@dataclass(frozen=True)
class Faults:
    """How often each thing happens, from 0 to 1 of the requests that it can happen to.

    `lost_request` and `lost_answer` cut the connection before and after the server has done what was asked, and
    `lost_create` after an exclusive create, which is no `lost_answer`; `torn_upload` lets the server see half a body;
    `torn_download` cuts an answer short. `late` says 404 of an object that was made within `lag_s`, `old_listing` repeats
    a listing of within `lag_s`, `wrong_body` answers with another object, of the same size if there is one; `lost_part`
    takes a part of an upload and forgets it; requests of the methods `denied` may not be made. A `slow` answer takes
    `slow_s` longer; every one takes `latency_s`.
    """

    slow_down: float = 0
    server_error: float = 0
    lost_request: float = 0
    lost_answer: float = 0
    lost_create: float = 0
    torn_upload: float = 0
    torn_download: float = 0
    lost_part: float = 0
    late: float = 0
    old_listing: float = 0
    wrong_body: float = 0
    slow: float = 0
    denied: frozenset[str] = frozenset()
    lag_s: float = 0.5
    slow_s: float = 0.2
    latency_s: float = 0


NETWORK = Faults(
    slow_down=0.02,
    server_error=0.02,
    lost_request=0.02,
    lost_answer=0.02,
    lost_create=0.05,
    torn_upload=0.02,
    torn_download=0.02,
    lost_part=0.05,
    slow=0.02,
)
"""What every client of a store must get over: about an eighth of all requests fails in some way."""

LAGGING = replace(NETWORK, late=0.3, old_listing=0.3)
"""The same of a store that shows late what was written."""


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class _Seen:
    """What the proxy remembers of the store: listings, objects that were made, bodies that were read."""

    listings: dict[str, list[tuple[float, _Answer]]] = field(default_factory=dict)
    made_s: dict[str, float] = field(default_factory=dict)
    bodies: dict[str, _Answer] = field(default_factory=dict)


class FaultProxy:
    """The proxy, in a thread of its own. `happened` counts what it did; `faults` may be changed at any time."""

    def __init__(self, upstream: str, faults: Faults, seed: int = 0) -> None:
        self.faults = faults
        self.happened: Counter[str] = Counter()
        self.endpoint = ""
        self._upstream = upstream
        self._chance = random.Random(seed)
        self._seen = _Seen()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(_ANSWER_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_ANSWER_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        application = web.Application(client_max_size=1 << 40)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.endpoint = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=_ANSWER_S),
        )

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    def _happens(self, name: str) -> bool:
        if self._chance.random() >= getattr(self.faults, name):
            return False
        self.happened[name] += 1
        return True

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.happened["requests"] += 1
        body = await request.read()
        await asyncio.sleep(self.faults.latency_s)
        before = self._instead(request)
        if before is not None:
            return web.Response(status=before.status, headers=before.headers, body=before.body)
        if self._happens("lost_request"):
            return _cut(request)
        if len(body) > 1 and self._happens("torn_upload"):
            await self._pass_on(request, body, torn=True)
            return _cut(request)
        answer = await self._pass_on(request, body)
        if answer is None:
            return _cut(request)
        self._remember(request, answer)
        lost = "lost_create" if "If-None-Match" in request.headers else "lost_answer"
        if request.method in _WRITES and self._happens(lost):
            return _cut(request)
        if self._happens("slow"):
            await asyncio.sleep(self.faults.slow_s)
        return await self._answered(request, self._swapped(request, answer))

    def _instead(self, request: web.Request) -> _Answer | None:
        """What is answered without asking the server."""
        if request.method in self.faults.denied:
            return _error(403, "AccessDenied")
        if self._happens("slow_down"):
            return _error(503, "SlowDown", {"Retry-After": "1"})
        if self._happens("server_error"):
            return _error(500, "InternalError")
        now_s, path = time.monotonic(), request.raw_path
        if request.method == "PUT" and "partNumber=" in path and self._happens("lost_part"):
            return _Answer(200, {"ETag": '"00000000000000000000000000000000"'}, b"")
        if (
            request.method in ("GET", "HEAD")
            and self._seen.made_s.get(path, -1e9) > now_s - self.faults.lag_s
        ):
            return _error(404, "NoSuchKey") if self._happens("late") else None
        listings = self._seen.listings.get(path, [])
        known = [answer for at_s, answer in listings if at_s > now_s - self.faults.lag_s]
        return known[0] if known and self._happens("old_listing") else None

    async def _pass_on(self, request: web.Request, body: bytes, torn: bool = False) -> _Answer | None:
        """Ask the server; None where it did not answer, as when it got half a body."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        try:
            async with self._session.request(
                request.method,
                URL(self._upstream + request.raw_path, encoded=True),
                headers=headers,
                data=_half(body) if torn else io.BytesIO(body) if body else None,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Content-Type", "Accept"),
            ) as reply:
                kept = {name: value for name, value in reply.headers.items() if name.lower() not in _HOP}
                return _Answer(reply.status, kept, await reply.read())
        except (aiohttp.ClientError, ConnectionError):
            return None

    def _remember(self, request: web.Request, answer: _Answer) -> None:
        path, now_s = request.raw_path, time.monotonic()
        plain, query = urlsplit(path).path, dict(parse_qsl(urlsplit(path).query))
        is_made = (request.method, bool(query)) == ("PUT", False) or (
            request.method == "POST" and "uploadId" in query
        )
        if answer.status == 200 and is_made:
            self._seen.made_s.setdefault(plain, now_s)
        elif request.method == "DELETE" and not query:
            self._seen.made_s.pop(plain, None)
        if request.method == "GET" and answer.status == 200 and "list-type" in query:
            self._seen.listings.setdefault(path, []).append((now_s, answer))
        elif request.method == "GET" and answer.status in (200, 206):
            self._seen.bodies[path] = answer

    def _swapped(self, request: web.Request, answer: _Answer) -> _Answer:
        """The answer, or the body of another object in its place."""
        is_body = request.method == "GET" and request.raw_path in self._seen.bodies
        if not is_body or answer.status not in (200, 206) or not self._happens("wrong_body"):
            return answer
        others = [one.body for path, one in self._seen.bodies.items() if path != request.raw_path]
        same = [body for body in others if len(body) == len(answer.body) and body != answer.body]
        body = self._chance.choice(same or others or [answer.body])
        headers = {name: value for name, value in answer.headers.items() if not _describes_body(name)}
        return _Answer(answer.status, headers | {"Content-Length": str(len(body))}, body)

    async def _answered(self, request: web.Request, answer: _Answer) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        if request.method == "HEAD":
            return web.Response(status=answer.status, headers=answer.headers)
        torn = len(answer.body) > 1 and self._happens("torn_download")
        response.content_length = len(answer.body)
        await response.prepare(request)
        await response.write(answer.body[: len(answer.body) // 2] if torn else answer.body)
        if torn:
            return _cut(request)
        await response.write_eof()
        return response


def _describes_body(name: str) -> bool:
    return name.lower() in {"content-length", "etag"} or name.lower().startswith("x-amz-checksum")


def _cut(request: web.Request) -> web.StreamResponse:
    """End the connection with a reset; what is returned is never sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _half(body: bytes) -> AsyncIterator[bytes]:
    yield body[: len(body) // 2]
    raise ConnectionResetError


def _error(status: int, code: str, headers: Mapping[str, str] | None = None) -> _Answer:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    return _Answer(status, {"Content-Type": "application/xml", **(headers or {})}, body)
