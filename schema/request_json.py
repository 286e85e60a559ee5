"""Requests and answers on the wire between a client of ours and a server: JSON with the kind of each in front.

The door of the schema to msgspec, which checks every field on the way in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

import msgspec
import pyarrow as pa

from .errors import RequestError
from .explanation import Explanation
from .request import Answer, ExplainRequest, Exported, Flamegraph, FlamegraphDiff, Request, Rows

_EXPLAIN = ExplainRequest.__name__
_REQUESTS: Mapping[str, type] = {
    kind.__name__: kind for kind in get_args(Request) if kind is not ExplainRequest
}
REQUEST_KINDS = (*_REQUESTS, _EXPLAIN)
"""What the field `kind` of a request may be."""
_GRAPHS: Mapping[str, type] = {kind.__name__: kind for kind in (Flamegraph, FlamegraphDiff)}

JSON_TYPE = "application/json"
ARROW_TYPE = "application/vnd.apache.arrow.stream"
PROFILE_TYPE_HEADER = "flameduck-profile-type"
NOTES_HEADER = "flameduck-notes"


def request_to_json(request: Request) -> bytes:
    """The bytes of a request."""
    return json.dumps(_document(request)).encode()


def _document(request: Request) -> dict[str, Any]:
    """A request that is to be explained stands in its explanation's as it would stand alone."""
    inner = (
        _document(request.request) if isinstance(request, ExplainRequest) else msgspec.to_builtins(request)
    )
    return {"kind": type(request).__name__, "request": inner}


def request_from_json(raw: bytes) -> Request:
    """The request in some bytes. Raises `RequestError` that names the field."""
    try:
        document = msgspec.json.decode(raw)
        if document["kind"] == _EXPLAIN:
            return ExplainRequest(_request(document["request"]))
        return _request(document)
    except (msgspec.MsgspecError, KeyError, TypeError, RecursionError) as error:
        raise RequestError(f"not a request: {error}") from None


def _request(document: Any) -> Request:
    kind = _REQUESTS.get(document["kind"])
    if kind is None:
        raise RequestError(f"kind {document['kind']!r}: expected one of {', '.join(REQUEST_KINDS)}")
    found: Request = msgspec.convert(document["request"], kind)
    return found


def answer_to_wire(answer: Answer) -> tuple[bytes, Mapping[str, str]]:
    """The body of an answer and its headers."""
    headers = {PROFILE_TYPE_HEADER: answer.profile_type, NOTES_HEADER: json.dumps(answer.notes)}
    if isinstance(answer, Exported):
        return answer.data, headers | {"content-type": answer.media_type, "flameduck-kind": "Exported"}
    if isinstance(answer, Rows):
        return table_to_arrow(answer.table), headers | {"content-type": ARROW_TYPE, "flameduck-kind": "Rows"}
    if isinstance(answer, Explanation):
        return msgspec.json.encode(answer), headers | {
            "content-type": JSON_TYPE,
            "flameduck-kind": "Explanation",
        }
    body = {"names": list(answer.names), "levels": [list(level) for level in answer.levels]}
    for name in ("total", "max_self", "left_ticks", "right_ticks"):
        if hasattr(answer, name):
            body[name] = getattr(answer, name)
    kind = type(answer).__name__
    return json.dumps(body).encode(), headers | {"content-type": JSON_TYPE, "flameduck-kind": kind}


def answer_from_wire(body: bytes, headers: Mapping[str, str]) -> Answer:
    """The inverse of `answer_to_wire`; header names are in lower case. Raises `RequestError` for another's answer."""
    profile_type = headers.get(PROFILE_TYPE_HEADER, "")
    try:
        notes = tuple(json.loads(headers.get(NOTES_HEADER, "[]")))
        kind = headers.get("flameduck-kind", "")
        if kind == "Exported":
            return Exported(body, headers.get("content-type", ""), profile_type, notes)
        if kind == "Rows":
            return Rows(table_from_arrow(body), profile_type, notes)
        if kind == "Explanation":
            return msgspec.json.decode(body, type=Explanation)
        fields: dict[str, Any] = json.loads(body)
        graph: Answer = _GRAPHS[kind](**fields, profile_type=profile_type, notes=notes)
        return graph
    except (ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise RequestError(f"not an answer of a flameduck server: {error}") from None


def table_to_arrow(table: pa.Table) -> bytes:
    """A table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def table_from_arrow(data: bytes) -> pa.Table:
    """The table in an Arrow stream. Raises `ValueError`."""
    return pa.ipc.open_stream(data).read_all()
