"""Serve the application until a signal says stop: the door to uvicorn."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop
from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn import Server as HttpServer

from ....schema.errors import SettingsError
from ...settings import ServerSettings, Settings
from ..logs import configure_logging
from ..server import Server
from .app import make_app
from .connections import NewConnection

KEEP_ALIVE_S = 120
"""Agents push every 10 to 60 seconds over one connection."""

_BACKLOG = 2048


def serve(store: str, settings: Settings, server_settings: ServerSettings) -> None:
    """Run the server in this process. Raises `SettingsError`, `StorageError` when it cannot start."""
    configure_logging(server_settings.log_level)
    if bool(server_settings.tls_certificate) != bool(server_settings.tls_key):
        raise SettingsError("tls_certificate and tls_key go together")
    server = Server(store, settings, server_settings)
    app = make_app(server, settings, server_settings, _url(server_settings))
    listeners = _listeners(server_settings)
    uvloop.run(_UntilStopped(_config(app, server_settings)).serve(listeners))


class _UntilStopped(HttpServer):
    """Ends without an error when it was told to stop; uvicorn would die of the signal afterwards."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop gracefully on SIGINT and SIGTERM, at once on a second SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def _listeners(settings: ServerSettings) -> list[socket.socket]:
    """Bound sockets. Raises `SettingsError` for an address that cannot be had."""
    ports = {"http_port": settings.http_port}
    if settings.otlp_port:
        ports["otlp_port"] = settings.otlp_port
    host = settings.http_host
    listeners = []
    for name, port in ports.items():
        try:
            family = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)[0][0]
            listeners.append(socket.create_server((host, port), family=family, backlog=_BACKLOG))
        except OSError as error:
            raise SettingsError(f"{name}: {host}:{port}: {error.strerror or error}") from None
    return listeners


def _config(app: ASGIApp, settings: ServerSettings) -> Config:
    return Config(
        app,
        http=NewConnection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.stop_seconds,
        ssl_certfile=settings.tls_certificate or None,
        ssl_keyfile=settings.tls_key or None,
    )


def _url(settings: ServerSettings) -> str:
    """Where a process of this machine finds the server."""
    scheme = "https" if settings.tls_certificate else "http"
    host = "127.0.0.1" if settings.http_host in ("", "0.0.0.0", "::") else settings.http_host
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.http_port}"
