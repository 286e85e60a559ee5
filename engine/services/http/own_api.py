"""Our own routes under /api/v1: any question of the library, SQL, uploads in any format, exports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import msgspec
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ....schema.errors import RequestError
from ....schema.profile import RULES, Upload
from ....schema.request import (
    Exported,
    ExportRequest,
    ProfilesRequest,
    Rows,
    Selection,
    SqlRequest,
    TreeQuery,
)
from ....schema.request_json import answer_to_wire, request_from_json
from ....schema.times import parse_time_ns
from ..ingester import Ingester
from ..querier import Querier
from ..table_formats import MEDIA_TYPES, checked_format, table_bytes
from .body import read_body
from .tenancy import tenant_of

_MAX_REQUEST_BYTES = 1 << 20
_MAX_PARTS = 256


class OwnApi:
    """Handlers of /api/v1."""

    def __init__(
        self, querier: Querier, ingester: Ingester, multitenancy: bool, body_limit_bytes: int
    ) -> None:
        self._querier = querier
        self._ingester = ingester
        self._multitenancy = multitenancy
        self._limit = body_limit_bytes

    async def ask(self, request: Request) -> Response:
        """Any question of `schema/request.py`, as JSON; its answer as Arrow, JSON or the bytes of a format."""
        tenant = tenant_of(request.headers, self._multitenancy)
        asked = request_from_json(await read_body(request, _MAX_REQUEST_BYTES))
        body, headers = await asyncio.wrap_future(self._querier.submit(tenant, asked, answer_to_wire))
        return Response(body, headers=dict(headers))

    async def sql(self, request: Request) -> Response:
        """One SQL statement over the documented views: `{"query", "parameters", "format": json | csv | arrow}`."""
        tenant = tenant_of(request.headers, self._multitenancy)
        asked = _SqlBody.read(await read_body(request, _MAX_REQUEST_BYTES))
        statement = SqlRequest(asked.query, asked.parameters)
        body = await asyncio.wrap_future(self._querier.sql(tenant, statement, asked.format))
        return Response(body, media_type=MEDIA_TYPES[asked.format])

    async def profiles(self, request: Request) -> Response:
        """Single profiles, newest first: `query`, `type`, `from`, `until`, `limit`, `format`."""
        tenant = tenant_of(request.headers, self._multitenancy)
        params = request.query_params
        name = checked_format(params.get("format", "json"))
        asked = ProfilesRequest(_selection(params), _number(params.get("limit", "100"), "limit"))
        later = self._querier.submit(tenant, asked, lambda rows: table_bytes(cast(Rows, rows).table, name))
        body = await asyncio.wrap_future(later)
        return Response(body, media_type=MEDIA_TYPES[name])

    async def export(self, request: Request) -> Response:
        """Profiles merged into one, in any output format: `query`, `type`, `from`, `until`, `format`, `max_nodes`."""
        tenant = tenant_of(request.headers, self._multitenancy)
        params = request.query_params
        if not params.get("format"):
            raise RequestError("format is required: pprof, folded, speedscope …")
        nodes = _number(params.get("max_nodes", "0"), "max_nodes")
        asked = ExportRequest(TreeQuery(_selection(params)), params["format"], max_nodes=nodes)
        later = self._querier.submit(tenant, asked, lambda answer: cast(Exported, answer))
        exported = await asyncio.wrap_future(later)
        return Response(exported.data, media_type=exported.media_type)

    async def ingest(self, request: Request) -> Response:
        """Uploads in any format: for each a part `upload`, what is said of it as JSON, and a part `data`."""
        tenant = tenant_of(request.headers, self._multitenancy)
        uploads = await self._uploads(request)
        refused = await asyncio.wrap_future(self._ingester.push(tenant, uploads)) if uploads else ()
        new = len(uploads) - len(refused)
        listed = [{"origin": one.origin, "reason": one.reason} for one in refused]
        return JSONResponse({"new": new, "known": 0, "refused": listed, "warnings": []})

    async def _uploads(self, request: Request) -> list[Upload]:
        request._body = await read_body(request, self._limit)
        try:
            form = await request.form(max_files=_MAX_PARTS, max_part_size=self._limit)
        except HTTPException as error:
            raise RequestError(f"multipart body: {error.detail}") from None
        try:
            parts = [(name, part) for name, part in form.multi_items() if isinstance(part, UploadFile)]
            if [name for name, _ in parts] != ["upload", "data"] * (len(parts) // 2) or not parts:
                raise RequestError("expected parts `upload` and `data` by turns")
            pairs = zip(parts[0::2], parts[1::2], strict=True)
            return [_upload(await said.read(), await data.read()) for (_, said), (_, data) in pairs]
        finally:
            await form.close()


class _SqlBody(msgspec.Struct):
    """The body of a statement."""

    query: str
    parameters: dict[str, Any] = {}
    format: str = "json"

    @classmethod
    def read(cls, raw: bytes) -> _SqlBody:
        """Raises `RequestError`."""
        try:
            return msgspec.json.decode(raw, type=cls)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise RequestError(f"body: {error}") from None


def _selection(params: Mapping[str, str]) -> Selection:
    now_ns = time.time_ns()
    start, end = (
        parse_time_ns(params[name], now_ns) if params.get(name) else None for name in ("from", "until")
    )
    return Selection(params.get("query", "{}"), params.get("type", ""), start, end)


def _number(text: str, name: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise RequestError(f"{name} must be a number of 0 or more, got {text[:20]!r}")
    return int(text)


def _upload(said: bytes, data: bytes) -> Upload:
    """One upload. Raises `RequestError` that names the field."""
    try:
        fields = msgspec.json.decode(said, type=dict[str, Any])
        upload = msgspec.convert({**fields, "data": b""}, Upload)
    except (msgspec.MsgspecError, TypeError) as error:
        raise RequestError(f"upload: {error}") from None
    if upload.rules not in RULES:
        raise RequestError(f"upload: rules {upload.rules!r}")
    return replace(upload, data=data, time_ns=upload.time_ns or time.time_ns())
