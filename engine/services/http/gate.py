"""The gate before every route: who asks, for which tenant, and whether they may.

Works on the ASGI scope, so that every protocol passes through it. Behind it, `X-Scope-OrgID` can be trusted.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from ....schema.errors import FlameduckError, Overloaded, RequestError
from ....schema.tenant import ANONYMOUS, checked_tenant
from ..access import Access, Grant
from .plain import error_response
from .rpc import Forbidden, Unauthenticated
from .tenancy import HEADER

_OPEN = ("/ready",)
_WRITES = (
    "/push.v1.",
    "/ingest",
    "/pyroscope/ingest",
    "/v1development/",
    "/opentelemetry.",
    "/api/v1/ingest",
    "/api/v1/jobs/compact",
    "/settings.v1.SettingsService/Set",
    "/settings.v1.SettingsService/Delete",
    "/adhocprofiles.v1.AdHocProfileService/Upload",
)
_SERVER_WIDE = ("/metrics", "/flush", "/api/v1/status/config", "/api/v1/status/jobs")
"""About every tenant: for admins of all."""

GRANTED = "flameduck.granted"
"""Key in the ASGI scope of the name of who was let through."""

_DELETES = "/api/v1/delete"
"""About one tenant, and not for those that only write: for its admins."""

PASSWORDS = 2
"""Passwords that are checked at a time: each takes 64 MB."""

WAITING_PASSWORDS = 64


def scope_of(path: str) -> str:
    """What a path needs: write, read or admin; empty where anybody may."""
    if path in _OPEN:
        return ""
    if path.startswith((*_SERVER_WIDE, _DELETES)):
        return "admin"
    return "write" if path.startswith(_WRITES) else "read"


class Gate:
    """ASGI middleware that lets through what the credentials allow."""

    def __init__(self, app: ASGIApp, access: Access, multitenancy: bool) -> None:
        self._app = app
        self._access = access
        self._multitenancy = multitenancy
        self._passwords = ThreadPoolExecutor(PASSWORDS, "password")
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 or 403."""
        needed = scope_of(scope["path"]) if scope["type"] == "http" else ""
        if not needed:
            await self._app(scope, receive, send)
            return
        try:
            grant = await self._grant(Headers(scope=scope).get("authorization", ""))
            self._admit(scope, grant, needed)
        except FlameduckError as error:
            response = error_response(error)
            if isinstance(error, Unauthenticated):
                response.headers["WWW-Authenticate"] = "Basic, Bearer"
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _grant(self, authorization: str) -> Grant:
        """What the header allows. Raises `Unauthenticated`."""
        kind, _, value = authorization.partition(" ")
        grant = None
        if kind.lower() == "bearer":
            grant = self._access.of_token(value.strip())
        elif kind.lower() == "basic":
            user, password = _user_and_password(value.strip())
            # Agents that know only passwords may send a token as one.
            grant = self._access.of_token(password) or await self._of_password(user, password)
        if grant is None:
            raise Unauthenticated("credentials are missing or wrong")
        return grant

    async def _of_password(self, user: str, password: str) -> Grant | None:
        """What a user may; behind a bounded queue, so that guessing slows only guessers. Raises `Overloaded`."""
        if self._waiting >= WAITING_PASSWORDS:
            raise Overloaded(f"{WAITING_PASSWORDS} passwords wait to be checked")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._passwords, self._access.of_password, user, password)
        finally:
            self._waiting -= 1

    def _admit(self, scope: MutableMapping[str, Any], grant: Grant, needed: str) -> None:
        """Settle the tenant. Raises `Forbidden`."""
        headers = MutableHeaders(scope=scope)
        tenant = headers.get(HEADER, "") or grant.only_tenant
        if not self._multitenancy:
            tenant = ANONYMOUS
        try:
            checked_tenant(tenant or ANONYMOUS)
        except RequestError as error:
            raise Forbidden(str(error)) from None
        if scope["path"].startswith(_SERVER_WIDE) and not grant.any_tenant:
            raise Forbidden(f"{grant.name} may not {needed} the whole server")
        if not grant.may(needed, tenant):
            raise Forbidden(f"{grant.name} may not {needed} data of tenant {tenant or '(none named)'}")
        if tenant:
            headers[HEADER] = tenant
        scope[GRANTED] = grant.name


def _user_and_password(value: str) -> tuple[str, str]:
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password
