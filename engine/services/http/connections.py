"""What a new connection speaks: HTTP/1.1 by uvicorn, which takes half the CPU a request, or HTTP/2 by hypercorn.

The door to hypercorn. Collectors send gRPC over cleartext HTTP/2 to the port that agents push to, so a connection is
told apart by its first bytes; over TLS the client says before.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Protocol, cast

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config as Http2Config
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from .drained import Drained

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What an HTTP/2 client sends first: RFC 9113 section 3.4."""

HEAD_LIMIT_BYTES = 64 << 10
"""Of a request line and its headers."""

HEAD_LIMIT_S = 60
"""Between the first byte of a request and the end of its headers."""

_HEAD_TOO_LARGE = b"HTTP/1.1 431 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _Stoppable(Protocol):
    def shutdown(self) -> None: ...


class NewConnection(asyncio.Protocol):
    """Waits for the first bytes of a connection, and hands it on."""

    alpn_protocols: ClassVar[list[str]] = ["h2", "http/1.1"]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """As uvicorn makes it: the last argument has its name from there."""
        self._config = config
        self._state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._begun = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait, but not for ever."""
        self._transport = cast("asyncio.Transport", transport)
        self._timeout = self._loop.call_later(self._config.timeout_keep_alive, self._transport.close)
        _connections(self._state).add(self)

    def data_received(self, data: bytes) -> None:
        """Decide as soon as the bytes cannot be the preface of HTTP/2 any more, or are."""
        self._begun += data
        if len(self._begun) >= len(PREFACE) or not PREFACE.startswith(self._begun):
            self._forget()
            if self._begun.startswith(PREFACE):
                _Http2Connection(self._config, self._state, self._loop).take(self._transport, self._begun)
            else:
                self._to_http1()

    def _to_http1(self) -> None:
        protocol = Http1(self._config, self._state, self._app_state, self._loop)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._begun)

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended before it said anything."""
        self._forget()

    def _forget(self) -> None:
        self._timeout.cancel()
        _connections(self._state).discard(self)

    def shutdown(self) -> None:
        """Called when the server stops."""
        self._transport.close()


class Http1(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with bounds on a request's head, which it takes at any length and pace."""

    _head_bytes = 0
    _head_timeout: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        if self._head_timeout is None and (self.cycle is None or not self.cycle.more_body):
            self._head_timeout = self.loop.call_later(HEAD_LIMIT_S, self.transport.close)
        super().data_received(data)
        if self._head_timeout is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT_BYTES and not self.transport.is_closing():
                self.transport.write(_HEAD_TOO_LARGE)
                self.transport.close()

    def on_headers_complete(self) -> None:
        """The application begins."""
        self._end_head()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went away."""
        self._end_head()
        super().connection_lost(exc)

    def _end_head(self) -> None:
        self._head_bytes = 0
        if self._head_timeout is not None:
            self._head_timeout.cancel()
            self._head_timeout = None


class _Http2Connection:
    """A connection that hypercorn serves, counted and stopped as those of uvicorn are."""

    def __init__(self, config: Config, state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        self._app = config.loaded_app
        self._state = state
        self._loop = loop
        self._context = WorkerContext(None)
        self._config = Http2Config()
        self._config.keep_alive_timeout = config.timeout_keep_alive
        self._config.include_date_header = False
        self._config.include_server_header = False
        self._config.accesslog = None

    def take(self, transport: asyncio.Transport, begun: bytes) -> None:
        """Serve a connection that has begun with some bytes."""
        reader = asyncio.StreamReader(loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, self._serve, loop=self._loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(begun)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _connections(self._state).add(self)
        try:
            app = ASGIWrapper(cast("Any", Drained(self._app, writer.close)))
            await TCPServer(app, self._loop, self._config, self._context, {}, reader, writer)
        finally:
            _connections(self._state).discard(self)

    def shutdown(self) -> None:
        """Called when the server stops: what runs is answered, nothing new is taken."""
        self._task = self._loop.create_task(self._context.terminated.set())


def _connections(state: ServerState) -> set[_Stoppable]:
    """What the server waits for when it stops; uvicorn lists only its own kinds."""
    return cast("set[_Stoppable]", state.connections)
