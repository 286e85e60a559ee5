"""Deletion over HTTP: `POST /api/v1/delete` and `GET /api/v1/deletions`."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict, replace

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ....schema.deletion import DeleteRequest
from ....schema.errors import ObjectMissing, RequestError
from ..deleter import Deleter
from .body import read_body
from .gate import GRANTED
from .tenancy import tenant_of

_MAX_REQUEST_BYTES = 1 << 20
_ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


class DeletionRoutes:
    """Handlers of both."""

    def __init__(self, deleter: Deleter, multitenancy: bool) -> None:
        self._deleter = deleter
        self._multitenancy = multitenancy

    async def delete(self, request: Request) -> Response:
        """The fields of a `DeleteRequest` as JSON; answered once the tombstone is in force, if it is to be."""
        tenant = tenant_of(request.headers, self._multitenancy)
        body = await read_body(request, _MAX_REQUEST_BYTES)
        try:
            asked = msgspec.json.decode(body, type=DeleteRequest)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise RequestError(f"body: {error}") from None
        # Who it is says the gate, where there is one.
        asked = replace(asked, author=request.scope.get(GRANTED, asked.author))
        answer = await asyncio.to_thread(self._deleter.ask, tenant, asked)
        return JSONResponse(asdict(answer))

    async def deletions(self, request: Request) -> Response:
        """The tombstones in force; with `id` the manifest of one, in force or not."""
        tenant = tenant_of(request.headers, self._multitenancy)
        tombstone = request.query_params.get("id", "")
        if not tombstone:
            found = await asyncio.to_thread(self._deleter.in_force, tenant)
            return JSONResponse({"in_force": [one.to_fields() for one in found]})
        if not _ULID.fullmatch(tombstone):
            raise RequestError(f"id {tombstone[:64]!r}: expected a ULID")
        manifest = await asyncio.to_thread(self._deleter.manifest, tenant, tombstone)
        if manifest is None:
            raise ObjectMissing(f"no deletion {tombstone}")
        return JSONResponse(manifest)
