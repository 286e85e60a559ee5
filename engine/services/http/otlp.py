"""OTLP profiles: over plain HTTP, and as the gRPC service of OpenTelemetry's collectors."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from connectrpc.codec import Codec
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from ....schema.errors import CorruptProfile, InputError, LimitExceeded, Overloaded, RequestError
from ...formats.inflate import GZIP_MAGIC, inflate
from ..distributor import Distributor, Pushed
from .body import BodyTooLarge, read_body
from .push import refusal
from .rpc import RETRY_AFTER_S, RpcErrors
from .tenancy import tenant_of

SERVICE = "opentelemetry.proto.collector.profiles.v1development.ProfilesService"
_FORMATS = {"application/json": "otlp-json", "application/x-protobuf": "otlp", "application/protobuf": "otlp"}


class OtlpReceiver:
    """Takes export requests, whatever they come over."""

    def __init__(self, distributor: Distributor, multitenancy: bool, body_limit_bytes: int) -> None:
        self._distributor = distributor
        self._multitenancy = multitenancy
        self._limit = body_limit_bytes

    async def export(self, raw: bytes, input_format: str, headers: Mapping[str, str]) -> None:
        """Store every profile of a request; returns once they are durable. Raises `FlameduckError`."""
        tenant = tenant_of(headers, self._multitenancy)
        pushed = Pushed(raw=raw, labels=(), origin="request", input_format=input_format)
        refused = await asyncio.wrap_future(self._distributor.push(tenant, [pushed]))
        if refused:
            raise refusal(refused, 1)

    async def http(self, request: Request) -> Response:
        """The plain HTTP route; errors are texts."""
        input_format = _FORMATS.get(request.headers.get("content-type", ""), "")
        if not input_format:
            return PlainTextResponse("unsupported content type\n", 415)
        tenant = tenant_of(request.headers, self._multitenancy)
        try:
            body = await self._body(request)
            await self.export(body, input_format, request.headers)
        except BodyTooLarge as error:
            self._distributor.count_too_large(tenant, self._limit)
            return PlainTextResponse(f"{error}\n", 413)
        except Overloaded as error:
            return PlainTextResponse(f"{error}\n", 429, headers={"Retry-After": str(RETRY_AFTER_S)})
        except (InputError, RequestError) as error:
            return PlainTextResponse(f"{error}\n", 400)
        return Response(b"", media_type="application/x-protobuf")

    async def _body(self, request: Request) -> bytes:
        """The inflated body. Raises `BodyTooLarge`, `CorruptProfile` for what is no gzip, `RequestError`."""
        body = await read_body(request, self._limit)
        if request.headers.get("content-encoding", "").lower() != "gzip":
            return body
        if not body.startswith(GZIP_MAGIC):
            raise CorruptProfile("the request body is not gzip, as its content-encoding says")
        try:
            return await asyncio.to_thread(inflate, body, self._limit)
        except LimitExceeded as error:
            raise BodyTooLarge(f"uncompressed profile payload: {error}") from None


class _Body(Codec[Any, Any]):
    """The bytes of a message as they are: a reader of ours takes them."""

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        """What content types call it."""
        return self._name

    def encode(self, message: object) -> bytes:
        """An empty message."""
        return b"" if self._name == "proto" else b"{}"

    def decode(self, data: bytes | bytearray, message_class: type[Any]) -> tuple[str, bytes]:
        """The format's name and the bytes."""
        return "otlp" if self._name == "proto" else "otlp-json", bytes(data)


class OtlpService(ConnectASGIApplication[object]):
    """The gRPC service, which Connect clients may call too."""

    def __init__(self, receiver: OtlpReceiver, read_max_bytes: int) -> None:
        method: MethodInfo[Any, Any] = MethodInfo(
            name="Export",
            service_name=SERVICE,
            input=tuple,
            output=object,
            idempotency_level=IdempotencyLevel.UNKNOWN,
            stream_type=StreamType.UNARY,
        )

        async def export(message: tuple[str, bytes], context: RequestContext[Any, Any]) -> object:
            headers = {key.lower(): value for key, value in context.request_headers.allitems()}
            await receiver.export(message[1], message[0], headers)
            return object()

        endpoints = {f"/{SERVICE}/Export": Endpoint.unary(method, export)}
        self.paths = tuple(endpoints)
        super().__init__(
            service=self,
            endpoints=lambda _: endpoints,
            interceptors=[RpcErrors()],
            read_max_bytes=read_max_bytes,
            codecs=[_Body("proto"), _Body("json")],
        )

    @property
    def path(self) -> str:
        """Where the service is mounted."""
        return f"/{SERVICE}"
