"""A server of ours as a `Database`: the same questions and answers over HTTP, by way of urllib3.

A URL may carry a user and a password, or a token in the environment (`FLAMEDUCK_TOKEN`); neither is ever shown.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import urllib3
from urllib3.util import Timeout, Url, make_headers, parse_url

from ..schema.deletion import DeleteAnswer, DeleteRequest, Touched
from ..schema.errors import (
    FlameduckError,
    InputError,
    InvalidSql,
    ObjectMissing,
    Overloaded,
    RequestError,
    StorageError,
    Unavailable,
)
from ..schema.profile import Upload
from ..schema.request import DEFAULT_INGEST, Answer, IngestOptions, IngestReport, Refused, Request, SqlRequest
from ..schema.request_json import answer_from_wire, request_to_json, table_from_arrow
from ..schema.tombstone import Tombstone, tombstone_from_fields
from .ingest.decode import group_uploads
from .ingest.push_request import push_request

TOKEN_VARIABLE = "FLAMEDUCK_TOKEN"
TIMEOUT_S = 300
READY_S = 5
PUSH_PATH = "/push.v1.PusherService/Push"
PAUSES_S = (0.5, 1.0, 2.0)
"""Between the attempts of a push."""
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
TENANT_HEADER = "X-Scope-OrgID"

_ERRORS: dict[int, type[FlameduckError]] = {
    400: RequestError,
    401: RequestError,
    403: RequestError,
    404: ObjectMissing,
    413: InputError,
    429: Overloaded,
    503: Unavailable,
}


class ClientDatabase:
    """One tenant of a running server."""

    def __init__(self, url: str, tenant: str) -> None:
        """Raises `RequestError` for what is no URL."""
        parsed = _parsed(url)
        headers = dict(make_headers(basic_auth=parsed.auth)) if parsed.auth else {}
        token = os.environ.get(TOKEN_VARIABLE, "")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if tenant:
            headers[TENANT_HEADER] = tenant
        self._url = _without_password(parsed)
        self._headers = headers
        self._http = urllib3.PoolManager(timeout=Timeout(TIMEOUT_S), retries=False)

    def ask(self, request: Request) -> Answer:
        """Answer a request. Raises `RequestError`, `StorageError` or `Unavailable`."""
        reply = self._post("/api/v1/ask", body=request_to_json(request))
        return answer_from_wire(reply.data, {name.lower(): value for name, value in reply.headers.items()})

    def sql(self, request: SqlRequest) -> pa.Table:
        """Run one SQL query. Raises `InvalidSql`."""
        body = {"query": request.text, "parameters": dict(request.parameters), "format": "arrow"}
        try:
            reply = self._post("/api/v1/sql", json=body)
        except RequestError as error:
            raise InvalidSql(str(error)) from None
        return table_from_arrow(reply.data)

    def ingest(self, uploads: Iterable[Upload], options: IngestOptions = DEFAULT_INGEST) -> IngestReport:
        """Store uploads, durably when it returns; a bad one is refused and the others are stored."""
        new = known = done = 0
        refused: list[Refused] = []
        warnings: list[str] = []
        for group in group_uploads(uploads):
            reply = self._post("/api/v1/ingest", fields=_parts(group)).json()
            new, known = new + reply["new"], known + reply["known"]
            refused += [Refused(**one) for one in reply["refused"]]
            warnings += reply["warnings"]
            done += len(group)
            if options.progress is not None:
                options.progress(done)
        return IngestReport(new, known, tuple(refused), (), tuple(dict.fromkeys(warnings)))

    def delete(self, request: DeleteRequest) -> DeleteAnswer:
        """Delete profiles, or say what would go. Raises `RequestError`, `StorageError`."""
        reply = self._send("POST", "/api/v1/delete", json=asdict(request)).json()
        return DeleteAnswer(**{**reply, "touched": tuple(Touched(**one) for one in reply["touched"])})

    def deletions_in_force(self) -> list[Tombstone]:
        """The deletions that are not carried out in every block yet."""
        reply = self._send("GET", "/api/v1/deletions").json()
        return [tombstone_from_fields(fields) for fields in reply["in_force"]]

    def deletion(self, tombstone: str) -> Mapping[str, Any]:
        """The manifest of a deletion. Raises `ObjectMissing`."""
        found: Mapping[str, Any] = self._send("GET", "/api/v1/deletions", fields={"id": tombstone}).json()
        return found

    def push(self, upload: Upload, time_ns: int = 0) -> None:
        """Push one pprof as an agent does, durable when it returns; `time_ns`, unless 0, replaces its time.

        A server that is busy or starts is asked again. Raises `InputError`, `RequestError` when it is refused,
        `Unavailable`.
        """
        body = gzip.compress(push_request(upload, time_ns).SerializeToString(), 6)
        headers = {"Content-Type": "application/proto", "Content-Encoding": "gzip"}
        for pause_s in PAUSES_S:
            try:
                self._post(PUSH_PATH, headers, body=body)
                return
            except Unavailable:
                time.sleep(pause_s)
        self._post(PUSH_PATH, headers, body=body)

    def close(self) -> None:
        """Close the connections."""
        self._http.clear()

    def jobs(self, all_tenants: bool = False, ulid: str = "") -> Mapping[str, Any]:
        """What is done to the tenant's blocks, or to all: `jobs`, the newest first, and `left_alone`, as
        `GET /api/v1/jobs` tells them; of one job, its steps too. Raises `RequestError`, `StorageError` or `Unavailable`.
        """
        path = "/api/v1/status/jobs" if all_tenants else "/api/v1/jobs"
        asked = {"fields": {"id": ulid}} if ulid else {}
        listed: Mapping[str, Any] = self._send("GET", path, **asked).json()
        return listed

    def compact(self) -> Mapping[str, Any] | None:
        """Have the tenant's blocks compacted: the job, new or not; None where there is nothing to do."""
        job: Mapping[str, Any] | None = self._post("/api/v1/jobs/compact").json()["job"]
        return job

    def _post(
        self, path: str, headers: Mapping[str, str] = NO_HEADERS, **body: Any
    ) -> urllib3.BaseHTTPResponse:
        return self._send("POST", path, headers, **body)

    def _send(
        self, method: str, path: str, headers: Mapping[str, str] = NO_HEADERS, **body: Any
    ) -> urllib3.BaseHTTPResponse:
        try:
            said = {**self._headers, **headers}
            reply = self._http.request(method, self._url + path, headers=said, **body)
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(f"{self._url}: {error}") from None
        if reply.status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            return reply
        kind = _ERRORS.get(reply.status, StorageError)
        raise kind(f"{self._url}: {_reason(reply)}")


def _parsed(url: str) -> Url:
    try:
        return parse_url(url)
    except urllib3.exceptions.LocationParseError as error:
        raise RequestError(str(error)) from None


def _without_password(url: Url) -> str:
    """The URL as messages show it, without a slash at its end."""
    return url._replace(auth=None).url.rstrip("/")


def is_ready(url: str) -> str:
    """Why the server at a URL does not take requests; empty when it does."""
    try:
        reply = urllib3.request("GET", f"{url.rstrip('/')}/ready", timeout=READY_S, retries=False)
    except urllib3.exceptions.HTTPError as error:
        return f"not ready: {error}"
    return "" if reply.status == HTTPStatus.OK else f"not ready: {reply.data.decode(errors='replace')[:200]}"


def _reason(reply: urllib3.BaseHTTPResponse) -> str:
    try:
        return str(reply.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"answered {reply.status} {reply.reason}"


def _parts(group: Sequence[Upload]) -> list[tuple[str, tuple[str, bytes, str]]]:
    """Uploads as the parts of a form: what is said of each, then its bytes."""
    parts = []
    for upload in group:
        said = {name: value for name, value in asdict(upload).items() if name not in ("data", "attachments")}
        parts.append(("upload", ("upload", json.dumps(said).encode(), "application/json")))
        parts.append(("data", ("data", upload.data, "application/octet-stream")))
    return parts
