"""Serve the application until a signal says stop: the door to hypercorn, which speaks HTTP/1.1 and cleartext HTTP/2 on
one port, as collectors and agents need.
"""

from __future__ import annotations

from typing import cast

import uvloop
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config
from hypercorn.typing import Framework

from ....schema.errors import SettingsError
from ...settings import ServerSettings, Settings
from ..logs import configure_logging
from ..server import Server
from .app import make_app

KEEP_ALIVE_S = 120
"""Agents push every 10 to 60 seconds over one connection."""


def serve(store: str, settings: Settings, server_settings: ServerSettings) -> None:
    """Run the server in this process. Raises `SettingsError`, `StorageError` when it cannot start."""
    configure_logging(server_settings.log_level)
    if bool(server_settings.tls_certificate) != bool(server_settings.tls_key):
        raise SettingsError("tls_certificate and tls_key go together")
    server = Server(store, settings, server_settings)
    app = make_app(server, settings, server_settings, _url(server_settings))
    uvloop.run(hypercorn_serve(cast("Framework", app), _config(server_settings)))


def _config(settings: ServerSettings) -> Config:
    config = Config()
    ports = [settings.http_port, *([settings.otlp_port] if settings.otlp_port else [])]
    config.bind = [f"{settings.http_host}:{port}" for port in ports]
    config.certfile = settings.tls_certificate or None
    config.keyfile = settings.tls_key or None
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.keep_alive_max_requests = 1_000_000
    config.graceful_timeout = settings.stop_seconds
    config.include_date_header = False
    config.include_server_header = False
    config.accesslog = None
    config.loglevel = "WARNING"
    return config


def _url(settings: ServerSettings) -> str:
    """Where a process of this machine finds the server."""
    scheme = "https" if settings.tls_certificate else "http"
    host = "127.0.0.1" if settings.http_host in ("", "0.0.0.0", "::") else settings.http_host
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.http_port}"
