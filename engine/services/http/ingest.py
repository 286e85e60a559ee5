"""POST /ingest: how old agents, and some new ones, upload what they recorded."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import QueryParams, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ....schema.errors import CorruptProfile, LimitExceeded
from ....schema.labels import SERVICE_NAME, SPY
from ..discards import MALFORMED, discard_reason
from ..distributor import Distributor, Pushed
from .app_label import parse_app_name
from .attime import parse_attime_ns
from .body import BodyTooLarge, read_body
from .plain import error_response
from .tenancy import tenant_of

DEFAULT_RATE_HZ = 100
_UNPROCESSABLE = 422
_TEXTS = ("groups", "lines", "trie", "tree")
_NAMED_BY_APP = (*_TEXTS, "speedscope")
_IN_PARTS = ("multipart", "jfr")
_MAX_PARTS = 16
_KEPT = "__session_id__"
_SILENT = "profile_id"
"""Under the label that spans had once, agents sent again what they had sent without it."""


@dataclass(frozen=True)
class Said:
    """What the query string says of an upload."""

    app: str
    labels: Mapping[str, str]
    start_ns: int
    end_ns: int
    rate_hz: int
    spy: str
    format: str = ""


class IngestRoute:
    """The handler of /ingest and /pyroscope/ingest."""

    def __init__(self, distributor: Distributor, multitenancy: bool, body_limit_bytes: int) -> None:
        self._distributor = distributor
        self._multitenancy = multitenancy
        self._limit = body_limit_bytes

    async def ingest(self, request: Request) -> Response:
        """Store one upload; answered with nothing once it is durable."""
        tenant = tenant_of(request.headers, self._multitenancy)
        said = said_of(request.query_params, request.headers.get("content-type", ""), time.time_ns())
        try:
            parts = await _parts(request, said, self._limit)
        except BodyTooLarge as error:
            self._distributor.count_too_large(tenant, self._limit)
            return error_response(error, 413)
        except CorruptProfile as error:
            return error_response(error, _UNPROCESSABLE, "unknown")
        try:
            pushed = pushed_of(said, parts)
        except CorruptProfile as error:
            return error_response(error, _UNPROCESSABLE, "unknown")
        if pushed is None:
            return Response()
        refused = await asyncio.wrap_future(self._distributor.push(tenant, [pushed]))
        if refused:
            return _refusal(refused[0].reason, said)
        return Response()


def _refusal(reason: str, said: Said) -> Response:
    """What old agents are told: 422 for what cannot be read, 400 for texts that may not be stored."""
    is_read = discard_reason(reason) != MALFORMED or reason.startswith("unknown profile type")
    if said.format in _TEXTS and is_read:
        return error_response(LimitExceeded(reason), 400)
    return error_response(CorruptProfile(reason), _UNPROCESSABLE, "unknown")


def said_of(params: QueryParams, content_type: str, now_ns: int) -> Said:
    """The query string's meaning. Raises `RequestError` for a name that is none."""
    app, labels = parse_app_name(params.get("name", ""))
    rate = params.get("sampleRate", "")
    return Said(
        app=app,
        labels=labels,
        start_ns=parse_attime_ns(params.get("from", ""), now_ns),
        end_ns=parse_attime_ns(params.get("until", ""), now_ns),
        # What is no number is replaced, as agents expect.
        rate_hz=int(rate) if rate.isdecimal() and len(rate) < 10 else DEFAULT_RATE_HZ,
        spy=params.get("spyName", "") or "unknown",
        format=_format(params.get("format", ""), content_type),
    )


def _format(asked: str, content_type: str) -> str:
    """Which format the body is in; the first rule that fits."""
    for name in ("trie", "tree"):
        if asked == name or content_type == f"binary/octet-stream+{name}":
            return name
    if asked in ("lines", "jfr", "pprof", "speedscope"):
        return asked
    return "multipart" if "multipart/form-data" in content_type else "groups"


async def _parts(request: Request, said: Said, limit_bytes: int) -> Mapping[str, bytes]:
    """The files of a multipart body by their names; any other body is the one named nothing.

    Raises `BodyTooLarge`, and `CorruptProfile` for a multipart body that is none.
    """
    body = await read_body(request, limit_bytes)
    if said.format not in _IN_PARTS or "multipart/form-data" not in request.headers.get("content-type", ""):
        return {"": body}
    request._body = body
    try:
        form = await request.form(max_files=_MAX_PARTS, max_fields=_MAX_PARTS, max_part_size=limit_bytes)
    except HTTPException as error:
        raise CorruptProfile(f"multipart body: {error.detail}") from None
    try:
        return {
            name: await part.read() for name, part in form.items() if name and isinstance(part, UploadFile)
        }
    finally:
        await form.close()


def pushed_of(said: Said, parts: Mapping[str, bytes]) -> Pushed | None:
    """What to store; None for an upload without a profile. Raises `CorruptProfile`."""
    if said.format in ("multipart", "pprof"):
        return _pprof(said, parts)
    if said.format == "jfr":
        raw = parts.get("jfr", parts.get(""))
        if raw is None:
            raise CorruptProfile("jfr field is required")
        attachments = {"labels": parts["labels"]} if parts.get("labels") else {}
        return _pushed(said, raw, "jfr", attachments)
    if said.format in _NAMED_BY_APP and _SILENT in said.labels:
        return None
    return _pushed(said, parts[""], said.format, {})


def _pprof(said: Said, parts: Mapping[str, bytes]) -> Pushed | None:
    raw = parts.get("profile", parts.get("", b""))
    if parts.get("prev_profile"):
        raise CorruptProfile("prev_profile: this server takes no pairs of profiles; update the agent")
    if not raw:
        return None
    return _pushed(said, raw, "pprof", {}, _display_names(parts.get("sample_type_config", b"")))


def _pushed(
    said: Said,
    raw: bytes,
    input_format: str,
    attachments: Mapping[str, bytes],
    display_names: Mapping[str, str] | None = None,
) -> Pushed:
    labels = {
        name: value for name, value in said.labels.items() if not name.startswith("__") or name == _KEPT
    }
    labels |= {"__delta__": "false", SPY: said.spy}
    labels.setdefault(SERVICE_NAME, said.app)
    return Pushed(
        raw=raw,
        labels=list(labels.items()),
        origin=said.app,
        input_format=input_format,
        time_ns=said.start_ns,
        duration_ns=max(said.end_ns - said.start_ns, 0),
        sample_rate_hz=said.rate_hz,
        app_name=said.app,
        display_names=display_names or {},
        attachments=attachments,
    )


def _display_names(config: bytes) -> Mapping[str, str]:
    """What the agent calls its sample types. Raises `CorruptProfile`."""
    if not config:
        return {}
    try:
        document = json.loads(config)
        return {name: str(one.get("display-name", "")) for name, one in document.items()}
    except (ValueError, AttributeError) as error:
        raise CorruptProfile(f"sample_type_config is not an object of objects: {error}") from None
