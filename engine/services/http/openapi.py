"""What our own routes take and answer, as an OpenAPI document and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from .... import __version__
from ....schema.request_json import REQUEST_KINDS
from ...query.outputs import OUTPUTS

Json = Mapping[str, Any]

_TEXT: Json = {"type": "string"}
_NUMBER: Json = {"type": "integer", "minimum": 0}
_ERROR: Json = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {"code": _TEXT, "message": _TEXT},
}
_ERRORS = {
    "400": "What is asked cannot be answered; the message names the field.",
    "401": "Nobody said who asks, or what was said is wrong.",
    "403": "Who asks may not.",
    "429": "Too much waits already; try again after `Retry-After` seconds.",
    "503": "Not now; try again.",
}
_SELECTION = (
    ("query", _TEXT, 'A label selector, `{service_name="checkout"}`; without it, everything.'),
    ("type", _TEXT, "A profile type or its short name; without it, the only one there is."),
    ("from", _TEXT, "Begin: RFC 3339, `now-1h`, or seconds, ms, us or ns since 1970."),
    ("until", _TEXT, "End, which is not part of the range."),
)
_JOB = ("id", _TEXT, "One job alone, with its steps.")
_TENANT: Json = {
    "name": "X-Scope-OrgID",
    "in": "header",
    "schema": _TEXT,
    "description": "Whose profiles, where there are several tenants.",
}


def openapi_document() -> Json:
    """The document, of OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "flameduck",
            "version": __version__,
            "description": "Routes of flameduck's own. Those of Pyroscope are there too, as its clients know them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {path: {method: _operation(path, **said)} for path, (method, said) in _ROUTES.items()},
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
        "security": [{}, {"bearer": []}, {"basic": []}],
    }


def _operation(
    path: str,
    summary: str,
    answer: tuple[str, Sequence[str]],
    parameters: Sequence[tuple[str, Json, str]] = (),
    body: Json | None = None,
    begun: str = "",
) -> Json:
    described = [
        {"name": name, "in": "query", "schema": schema, "description": text}
        for name, schema, text in parameters
    ]
    text, media_types = answer
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    operation: dict[str, Any] = {
        "operationId": path.strip("/").replace("/", "_").replace(".", "_"),
        "summary": summary,
        "parameters": [_TENANT, *described],
        "responses": {
            "200" if media_types else "204": {
                "description": text,
                **({"content": {media_type: {} for media_type in media_types}} if media_types else {}),
            },
            **{status: {"description": why, "content": error} for status, why in _ERRORS.items()},
        },
    }
    if begun:
        operation["responses"]["202"] = {"description": begun, "content": {"application/json": {}}}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": body}
    return operation


_ASK_BODY: Json = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["kind", "request"],
            "properties": {"kind": {"enum": list(REQUEST_KINDS)}, "request": {"type": "object"}},
        }
    }
}
_SQL_BODY: Json = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["query"],
            "properties": {
                "query": _TEXT,
                "parameters": {"type": "object", "description": "Values of `$name` in the query."},
                "format": {"enum": ["json", "csv", "arrow"], "default": "json"},
            },
        }
    }
}
_DELETE_BODY: Json = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["selector"],
            "properties": {
                "selector": {"type": "string", "description": "Which series, as in `query` elsewhere."},
                "profile_type": {"type": "string", "description": "Only of this type."},
                "start_ns": {"type": "integer", "description": "From this time on, ns since 1970."},
                "end_ns": {"type": "integer", "description": "Before this time, ns since 1970."},
                "everything": {"type": "boolean", "description": "Needed where the selector is empty."},
                "act": {"type": "boolean", "description": "Delete them."},
                "author": {"type": "string", "description": "Who, where the server asks for no credentials."},
            },
        }
    }
}
_INGEST_BODY: Json = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {
                "upload": {
                    "type": "array",
                    "items": _TEXT,
                    "description": "What is said of a file, as JSON.",
                },
                "data": {"type": "array", "items": {"type": "string", "format": "binary"}},
            },
        }
    }
}
_JSON, _TABLES = (
    ("application/json",),
    ("application/json", "text/csv", "application/vnd.apache.arrow.stream"),
)
_PLAIN = ("text/plain",)
_FORMAT = ("format", {"enum": ["json", "csv", "arrow"], "default": "json"}, "How the table is written.")

_ROUTES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "/api/v1/profiles": (
        "get",
        {
            "summary": "Single profiles, newest first.",
            "parameters": (
                *_SELECTION,
                ("limit", _NUMBER, "So many at most; 0: all; without it, 100."),
                _FORMAT,
            ),
            "answer": ("A table.", _TABLES),
        },
    ),
    "/api/v1/export": (
        "get",
        {
            "summary": "Profiles merged into one, in any output format.",
            "parameters": (
                *_SELECTION,
                ("format", {"enum": list(OUTPUTS)}, "Which one; it must be given."),
                ("max_nodes", _NUMBER, "Nodes of formats that show a call tree; 0: all."),
            ),
            "answer": ("The bytes.", tuple(sorted({output.media_type for output in OUTPUTS.values()}))),
        },
    ),
    "/api/v1/sql": (
        "post",
        {
            "summary": "One SQL statement over the documented views.",
            "body": _SQL_BODY,
            "answer": ("A table.", _TABLES),
        },
    ),
    "/api/v1/ask": (
        "post",
        {
            "summary": "Any question of the library; an ExplainRequest about another tells what answering it reads.",
            "body": _ASK_BODY,
            "answer": (
                "The header `flameduck-kind` says what: a graph, a table, the bytes of a format, an explanation.",
                ("application/json", "application/vnd.apache.arrow.stream", "application/octet-stream"),
            ),
        },
    ),
    "/api/v1/ingest": (
        "post",
        {
            "summary": "Uploads in any format: for each a part `upload`, then a part `data`.",
            "body": _INGEST_BODY,
            "answer": ("What became of them, once they are durable.", _JSON),
        },
    ),
    "/api/v1/jobs": (
        "get",
        {
            "summary": "What is done to the tenant's blocks in the background: what waits, runs, and was done.",
            "parameters": (_JOB,),
            "answer": ("`jobs`, the newest first, and `left_alone`: blocks that do not hold.", _JSON),
        },
    ),
    "/api/v1/jobs/compact": (
        "post",
        {
            "summary": "Compact the tenant's blocks now.",
            "answer": ("The job that is there already, or null: there is nothing to do.", _JSON),
            "begun": "The job, which waits.",
        },
    ),
    "/api/v1/status/jobs": (
        "get",
        {"summary": "The jobs of all tenants.", "parameters": (_JOB,), "answer": ("As /api/v1/jobs.", _JSON)},
    ),
    "/api/v1/delete": (
        "post",
        {
            "summary": "Delete profiles, at once and for good; without `act` only say what would go.",
            "body": _DELETE_BODY,
            "answer": ("What goes of each block and of the head; `id` where it is done.", _JSON),
        },
    ),
    "/api/v1/deletions": (
        "get",
        {
            "summary": "The deletions that are not carried out in every block yet; with `id` all about one.",
            "parameters": (("id", {"type": "string"}, "One deletion: its manifest."),),
            "answer": ("The deletions.", _JSON),
        },
    ),
    "/flush": ("post", {"summary": "Store what was pushed as blocks now.", "answer": ("It is stored.", ())}),
    "/ready": ("get", {"summary": "Whether the server takes requests.", "answer": ("It does.", _PLAIN)}),
    "/metrics": ("get", {"summary": "Metrics for Prometheus.", "answer": ("The metrics.", _PLAIN)}),
    "/api/v1/status/buildinfo": (
        "get",
        {"summary": "The version.", "answer": ("As Prometheus says it.", _JSON)},
    ),
    "/api/v1/status/config": ("get", {"summary": "Every setting.", "answer": ("YAML.", _PLAIN)}),
    "/api/v1/status/config/diff": (
        "get",
        {"summary": "Settings that are not at their defaults.", "answer": ("YAML.", _PLAIN)},
    ),
    "/api/v1/status/config/default": (
        "get",
        {"summary": "Every setting's default.", "answer": ("YAML.", _PLAIN)},
    ),
    "/api/v1/openapi.json": ("get", {"summary": "This document.", "answer": ("OpenAPI 3.1.", _JSON)}),
    "/api/v1/docs": ("get", {"summary": "This document as a page.", "answer": ("A page.", ("text/html",))}),
}


async def openapi(_: Request) -> Response:
    """The document."""
    return JSONResponse(openapi_document())


async def docs(_: Request) -> Response:
    """The document as a page without scripts, which loads nothing."""
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(_page(openapi_document()), headers=headers)


def _page(document: Json) -> str:
    info = document["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>",
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(_section(path, method, operation))
    return "".join([*parts, "</html>"])


def _section(path: str, method: str, operation: Json) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(one['name'])}</code><td>{escape(_choices(one['schema']))}"
        f"<td>{escape(one['description'])}"
        for one in operation["parameters"]
    )
    fields = "".join(
        f"<tr><td><code>{escape(name)}</code><td>{escape(_choices(schema))}<td>{escape(schema.get('description', ''))}"
        for content in operation.get("requestBody", {}).get("content", {}).values()
        for name, schema in content["schema"]["properties"].items()
    )
    answers = "".join(
        f"<tr><td>{status}<td>{escape(', '.join(said.get('content', {})))}<td>{escape(said['description'])}"
        for status, said in operation["responses"].items()
    )
    tables = [("Parameters", rows), ("Body", fields), ("Answers", answers)]
    shown = "".join(f"<h3>{title}</h3><table>{body}</table>" for title, body in tables if body)
    return (
        f"<h2>{method.upper()} <code>{escape(path)}</code></h2><p>{escape(operation['summary'])}</p>{shown}"
    )


def _choices(schema: Json) -> str:
    """What values a schema allows."""
    return ", ".join(map(str, schema["enum"])) if "enum" in schema else str(schema.get("type", ""))


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "h2{border-top:1px solid #ddd;padding-top:1rem}h3{font-size:1rem;margin:.5rem 0}"
    "td{padding:.15rem 1rem .15rem 0;vertical-align:top}code{background:#f3f3f3;padding:0 .2rem}"
    "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}code{background:#2a2a2a}}"
)
