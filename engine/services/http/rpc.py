"""RPC services over ASGI, from their descriptors: Connect with protobuf or JSON, gRPC and gRPC-Web on one path.

The door to connectrpc. Pyroscope's paths are `/<package>.<Service>/<Method>`, whatever our packages are called.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgspec
from connectrpc.code import Code
from connectrpc.codec import Codec
from connectrpc.compat import google_protobuf_binary_codec
from connectrpc.compression.gzip import GzipCompression
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from ....schema.errors import (
    FlameduckError,
    InputError,
    LimitExceeded,
    ObjectMissing,
    Overloaded,
    RequestError,
    Unavailable,
)

log = logging.getLogger(__name__)

Answer = TypeVar("Answer", bound=Message)
Handler = Callable[[Any, Mapping[str, str]], Awaitable[Message]]
"""Answers a request message; the headers have lower-case names."""

RETRY_AFTER_S = 1

_GZIP_LEVEL = 1
"""Answers are compressed in the event loop: a flame graph takes 3 ms so, 15 at level 6 for a seventh less."""

_CODES: tuple[tuple[type[FlameduckError], Code], ...] = (
    (LimitExceeded, Code.INVALID_ARGUMENT),
    (InputError, Code.INVALID_ARGUMENT),
    (RequestError, Code.INVALID_ARGUMENT),
    (ObjectMissing, Code.NOT_FOUND),
    (Overloaded, Code.RESOURCE_EXHAUSTED),
    (Unavailable, Code.UNAVAILABLE),
    (FlameduckError, Code.INTERNAL),
)


class Unauthenticated(FlameduckError):
    """Nobody said who asks, or what was said is wrong."""


class Forbidden(FlameduckError):
    """Who asks may not."""


class AlreadyThere(FlameduckError):
    """What is to be written is older than what is there."""


def code_of(error: FlameduckError) -> Code:
    """The code of an error on the wire; the first class that fits decides."""
    if isinstance(error, Unauthenticated):
        return Code.UNAUTHENTICATED
    if isinstance(error, Forbidden):
        return Code.PERMISSION_DENIED
    if isinstance(error, AlreadyThere):
        return Code.ALREADY_EXISTS
    return next(code for kind, code in _CODES if isinstance(error, kind))


class RpcService(ConnectASGIApplication[object]):
    """One service. `name` is the one on the wire, with its package."""

    def __init__(
        self, name: str, described: ServiceDescriptor, handlers: Mapping[str, Handler], read_max_bytes: int
    ) -> None:
        """`handlers` has one for every method of the descriptor; more is a mistake."""
        assert set(handlers) == set(described.methods_by_name), sorted(handlers)
        self._name = name
        self.paths = tuple(f"/{name}/{method}" for method in handlers)
        endpoints = {
            f"/{name}/{method}": _endpoint(name, described, method, handler)
            for method, handler in handlers.items()
        }
        super().__init__(
            service=self,
            endpoints=lambda _: endpoints,
            interceptors=[RpcErrors()],
            read_max_bytes=read_max_bytes,
            codecs=[google_protobuf_binary_codec(), _JsonCodec()],
            compressions=[GzipCompression(_GZIP_LEVEL)],
        )

    @property
    def path(self) -> str:
        """Where the service is mounted."""
        return f"/{self._name}"


def _endpoint(name: str, described: ServiceDescriptor, method: str, handler: Handler) -> Any:
    found = described.methods_by_name[method]
    info: MethodInfo[Any, Any] = MethodInfo(
        name=method,
        service_name=name,
        input=message_factory.GetMessageClass(found.input_type),
        output=message_factory.GetMessageClass(found.output_type),
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.UNARY,
    )

    async def answer(request: Any, context: RequestContext[Any, Any]) -> Message:
        return await handler(
            request, {key.lower(): value for key, value in context.request_headers.allitems()}
        )

    return Endpoint.unary(info, answer)


class RpcErrors:
    """Turns every exception into a code: what is not ours says nothing of itself to the client."""

    async def intercept_unary(
        self,
        call_next: Callable[[Any, RequestContext[Any, Any]], Awaitable[Any]],
        request: Any,
        ctx: RequestContext[Any, Any],
        /,
    ) -> Any:
        """Answer, or raise `ConnectError`."""
        try:
            return await call_next(request, ctx)
        except ConnectError:
            raise
        except FlameduckError as error:
            if isinstance(error, Overloaded):
                ctx.response_headers["retry-after"] = str(RETRY_AFTER_S)
            raise ConnectError(code_of(error), str(error)) from None
        except Exception:  # a process boundary: a bug is logged and answered without its text
            log.exception("%s failed", ctx.method.name)
            raise ConnectError(Code.INTERNAL, "internal error") from None


@dataclass(frozen=True)
class JsonText:
    """An answer that is JSON already: what is large is written where it was made, and not in the event loop."""

    text: bytes


def as_asked(message: Answer, headers: Mapping[str, str]) -> Answer:
    """An answer for a client that sent these headers: as `JsonText`, which a handler may return as it may return the
    message, where the client speaks JSON.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return cast(Answer, JsonText(_json_of(message))) if kind == "application/json" else message


class _JsonCodec(Codec[Message, Message]):
    """Protobuf's JSON as Pyroscope reads and writes it; bytes that are no base64 are an error."""

    def name(self) -> str:
        """What content types call it."""
        return "json"

    def encode(self, message: Message | JsonText) -> bytes:
        """Compact JSON: 64-bit integers as texts, zeros left out."""
        return message.text if isinstance(message, JsonText) else _json_of(message)

    def decode(self, data: bytes | bytearray, message_class: type[Message]) -> Message:
        """A message. Raises `ConnectError`."""
        message = message_class()
        try:
            document = json.loads(data)
            if not isinstance(document, dict):
                raise ConnectError(Code.INVALID_ARGUMENT, "the body is not a JSON object")
            _check_base64(document, message.DESCRIPTOR)
            json_format.ParseDict(document, message, ignore_unknown_fields=True)
        except (ValueError, RecursionError, json_format.ParseError) as error:
            raise ConnectError(Code.INVALID_ARGUMENT, f"invalid JSON: {error}") from None
        return message


def _json_of(message: Any) -> bytes:
    """The JSON of a message. Flame graphs and pprofs have tens of thousands of numbers, which the library takes one by
    one: their lists are put in beside it."""
    fields = message.DESCRIPTOR.fields_by_name
    if "flamegraph" in fields and message.HasField("flamegraph"):
        return _flame_graph_json(message)
    if message.DESCRIPTOR.full_name.endswith(".Profile"):
        return _profile_json(message)
    return msgspec.json.encode(json_format.MessageToDict(message))


def _flame_graph_json(message: Any) -> bytes:
    rest = type(message)()
    rest.CopyFrom(message)
    rest.flamegraph.ClearField("levels")
    rest.flamegraph.ClearField("names")
    document = json_format.MessageToDict(rest)
    many = {
        "names": list(message.flamegraph.names),
        "levels": [{"values": list(map(str, level.values))} for level in message.flamegraph.levels],
    }
    document["flamegraph"] |= {name: found for name, found in many.items() if found}
    return msgspec.json.encode(document)


def _profile_json(message: Any) -> bytes:
    rest = type(message)()
    rest.CopyFrom(message)
    for sample in rest.sample:
        sample.ClearField("location_id")
        sample.ClearField("value")
    rest.ClearField("location")
    rest.ClearField("function")
    document = json_format.MessageToDict(rest)
    for written, sample in zip(document.get("sample", ()), message.sample, strict=True):
        lists = {"locationId": sample.location_id, "value": sample.value}
        written |= {name: list(map(str, numbers)) for name, numbers in lists.items() if numbers}
    if message.location:
        document["location"] = [_location_document(location) for location in message.location]
    if message.function:
        document["function"] = [_function_document(function) for function in message.function]
    return msgspec.json.encode(document)


def _location_document(location: Any) -> Mapping[str, Any]:
    document: dict[str, Any] = _as_texts(
        id=location.id, mappingId=location.mapping_id, address=location.address
    )
    if location.line:
        document["line"] = [_line_document(line) for line in location.line]
    if location.is_folded:
        document["isFolded"] = True
    return document


def _line_document(line: Any) -> Mapping[str, str]:
    return _as_texts(functionId=line.function_id, line=line.line, column=line.column)


def _function_document(one: Any) -> Mapping[str, str]:
    return _as_texts(
        id=one.id,
        name=one.name,
        systemName=one.system_name,
        filename=one.filename,
        startLine=one.start_line,
    )


def _as_texts(**numbers: int) -> dict[str, str]:
    return {name: str(number) for name, number in numbers.items() if number}


def _check_base64(document: Mapping[str, Any], kind: Descriptor) -> None:
    """Raises `ValueError` for a field of bytes that is not base64, which the parser would take as empty."""
    for field in kind.fields:
        for name in {field.name, field.json_name} & document.keys():
            found = document[name]
            for value in found if isinstance(found, list) else [found]:
                if field.type == FieldDescriptor.TYPE_BYTES and isinstance(value, str):
                    _check_text(value, name)
                elif field.type == FieldDescriptor.TYPE_MESSAGE and isinstance(value, dict):
                    _check_base64(value, field.message_type)


def _check_text(value: str, name: str) -> None:
    try:
        padded = value.translate(_URL_SAFE) + "=" * (-len(value) % 4)
        base64.b64decode(padded, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{name} is not base64: {error}") from None


_URL_SAFE = str.maketrans("-_", "+/")
