"""The query API of a Pyroscope, as far as a migration asks it: the door to urllib3.

Calls are Connect's unary POSTs (https://connectrpc.com/docs/protocol): JSON both ways, or protobuf where the answer
is a pprof. They read and change nothing, so that each may be sent again. Times are ms since 1970, both ends
included.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, NoReturn, TypeVar
from urllib.parse import urlsplit

import msgspec

from ...schema.errors import InputError, LimitExceeded, RequestError, Unavailable
from ...schema.proto import querier_pb2
from .source import Source

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, HTTPConnectionPool
    from urllib3.exceptions import HTTPError

SERVICE = "querier.v1.QuerierService"
JSON, PROTOBUF = "application/json", "application/proto"
LONGEST_COMPLAINT = 300
LONGEST_BODY = 64 << 10
"""Characters of an error that are shown, and bytes of it that are read."""
_TRY_AGAIN = (429, 502, 503, 504)
_HINTS: Mapping[int, str] = {
    401: "give a user in the URL, or a header with --header",
    403: "these credentials, or this tenant, may not read there",
    404: f"no {SERVICE} there: is it a Pyroscope, and is the path right?",
}

Labels = frozenset[tuple[str, str]]
T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long to wait for a connection and for bytes, how often to try again, and after how long.

    The wait doubles each time, unless the server says how long, to which it is held up to `longest_wait_s`.
    """

    connect_s: float = 10
    read_s: float = 120
    retries: int = 4
    first_wait_s: float = 0.5
    longest_wait_s: int = 60
    max_bytes: int = 1 << 30


PATIENT = Patience()


class _Pair(msgspec.Struct):
    name: str
    value: str = ""


class _LabelSet(msgspec.Struct):
    labels: list[_Pair] = []


class _SeriesAnswer(msgspec.Struct):
    labels_set: list[_LabelSet] = msgspec.field(name="labelsSet", default_factory=list)


class _Point(msgspec.Struct):
    value: float = 0


class _Totals(msgspec.Struct):
    labels: list[_Pair] = []
    points: list[_Point] = []


class _TotalsAnswer(msgspec.Struct):
    series: list[_Totals] = []


class _Complaint(msgspec.Struct):
    message: str = ""


class _StatsAnswer(msgspec.Struct):
    data_ingested: bool = msgspec.field(name="dataIngested", default=False)
    oldest_profile_time: int = msgspec.field(name="oldestProfileTime", default=0)
    newest_profile_time: int = msgspec.field(name="newestProfileTime", default=0)


class Querier:
    """Asks one source, over a connection that is kept. Raises `Unavailable`, `RequestError` or `InputError`."""

    def __init__(self, source: Source, patience: Patience = PATIENT) -> None:
        """Raises `RequestError` when urllib3 is not installed. Nothing is sent yet."""
        self.source = source
        self._patience = patience
        self._pool = _open_pool(source, patience)
        self._prefix = urlsplit(source.url).path

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()

    def bounds_ms(self) -> tuple[int, int] | None:
        """The times of the oldest and the newest profile that are kept; None when there is none."""
        answer = self._ask_json("GetProfileStats", {}, _StatsAnswer)
        return (answer.oldest_profile_time, answer.newest_profile_time) if answer.data_ingested else None

    def series(self, selector: str, start_ms: int, end_ms: int) -> list[Labels]:
        """The label sets that match; some may have no profile in the range, which the source looks at roughly."""
        body = {"matchers": [selector], "labelNames": [], "start": start_ms, "end": end_ms}
        answer = self._ask_json("Series", body, _SeriesAnswer)
        return [_labels(one.labels) for one in answer.labels_set]

    def totals(
        self, profile_type: str, selector: str, names: Sequence[str], start_ms: int, end_ms: int
    ) -> dict[Labels, float]:
        """The sum of all profiles from `start_ms` to `end_ms`, by their labels of these `names`."""
        body = {
            "profileTypeID": profile_type,
            "labelSelector": selector,
            "groupBy": list(names),
            # One bucket that ends at `end` and takes both of its ends; the step is cut off to whole ms.
            "start": end_ms,
            "end": end_ms,
            "step": (end_ms - start_ms + 0.25) / 1000,
        }
        answer = self._ask_json("SelectSeries", body, _TotalsAnswer)
        return {_labels(one.labels): sum(point.value for point in one.points) for one in answer.series}

    def merged(self, profile_type: str, selector: str, start_ms: int, end_ms: int) -> bytes:
        """All profiles of a range as one pprof, not compressed; empty when there are none."""
        message = querier_pb2.SelectMergeProfileRequest(
            profile_typeID=profile_type, label_selector=selector, start=start_ms, end=end_ms
        )
        return self._ask("SelectMergeProfile", message.SerializeToString(), PROTOBUF)

    def _ask_json(self, method: str, body: Mapping[str, object], kind: type[T]) -> T:
        raw = self._ask(method, json.dumps(body).encode(), JSON)
        try:
            # Not strict: protobuf's 64-bit integers are strings in JSON.
            return msgspec.json.decode(raw, type=kind, strict=False)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InputError(f"{self.source.name}: the answer of {method} cannot be read: {error}") from None

    def _ask(self, method: str, body: bytes, content_type: str) -> bytes:
        from urllib3.exceptions import HTTPError

        failures: list[HTTPError] = []
        # What breaks while the answer is read is not sent again by urllib3.
        for _ in range(self._patience.retries + 1):
            try:
                return self._ask_once(method, body, content_type)
            except HTTPError as error:
                failures.append(error)
                if not _broke_off(error):
                    break
        raise Unavailable(f"{self.source.name}: {method}: {_cause(failures[-1])}")

    def _ask_once(self, method: str, body: bytes, content_type: str) -> bytes:
        headers = {
            # Without the capability, label names with dots are left out.
            "Accept": "*/*;allow-utf8-labelnames=true",
            "Accept-Encoding": "gzip",
            "Connect-Protocol-Version": "1",
            "Content-Type": content_type,
            **self.source.headers,
        }
        reply = self._pool.urlopen(
            "POST",
            f"{self._prefix}/{SERVICE}/{method}",
            body=body,
            headers=headers,
            redirect=False,
            preload_content=False,
        )
        try:
            if reply.status != 200:
                self._refuse(method, reply)
            data: bytes = reply.read(self._patience.max_bytes + 1)
        finally:
            # After an answer that was read to its end this does nothing: the connection is free for the next.
            reply.close()
        said = str(reply.headers.get("Content-Type", ""))
        if said.partition(";")[0].strip() != content_type:
            raise RequestError(f"{self.source.name}: {method}: answered {said[:80]!r}, not {content_type}")
        if len(data) > self._patience.max_bytes:
            limit = self._patience.max_bytes
            raise LimitExceeded(f"{self.source.name}: {method}: the answer has more than {limit} bytes")
        return data

    def _refuse(self, method: str, reply: BaseHTTPResponse) -> NoReturn:
        """Raise what an answer that is no answer says: status, message, and what may help."""
        status = f"{reply.status} {HTTP_NAMES.get(reply.status, '')}".strip()
        parts = [self.source.name, method, status, _complaint(reply.read(LONGEST_BODY))]
        wait = reply.headers.get("Retry-After")
        if wait and reply.status in _TRY_AGAIN:
            parts.append(f"it asks to wait {wait[:20]} s")
        parts.append(_HINTS.get(reply.status, ""))
        again = reply.status in _TRY_AGAIN or reply.status >= 500
        raise (Unavailable if again else RequestError)(": ".join(filter(None, parts)))


HTTP_NAMES: Mapping[int, str] = {status.value: status.phrase for status in HTTPStatus}


def _open_pool(source: Source, patience: Patience) -> HTTPConnectionPool:
    import urllib3

    retries = urllib3.Retry(
        total=patience.retries,
        redirect=False,
        # They are POSTs, but change nothing.
        allowed_methods=None,
        status_forcelist=_TRY_AGAIN,
        raise_on_status=False,
        backoff_factor=patience.first_wait_s / 2,
        backoff_max=patience.longest_wait_s,
        backoff_jitter=patience.first_wait_s / 2,
        retry_after_max=patience.longest_wait_s,
    )
    timeout = urllib3.Timeout(connect=patience.connect_s, read=patience.read_s)
    return urllib3.connection_from_url(source.url, timeout=timeout, retries=retries)


def _labels(pairs: Sequence[_Pair]) -> Labels:
    return frozenset((pair.name, pair.value) for pair in pairs)


def _complaint(body: bytes) -> str:
    """What an error says: the message of Connect's JSON, else the text."""
    text = body.decode("utf-8", "replace")
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        text = msgspec.json.decode(body, type=_Complaint).message or text
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_COMPLAINT else text[: LONGEST_COMPLAINT - 1] + "…"


def _broke_off(error: HTTPError) -> bool:
    """Whether an answer broke off in the middle, so that it is worth to ask again."""
    from urllib3.exceptions import IncompleteRead, ProtocolError, ReadTimeoutError

    return isinstance(error, (IncompleteRead, ProtocolError, ReadTimeoutError))


def _cause(error: BaseException) -> str:
    """The innermost reason in words, without the objects that urllib3 wraps around it."""
    reason: BaseException | None = error
    while reason is not None:
        if isinstance(reason, OSError) and reason.strerror:
            return reason.strerror.lower()
        error, reason = reason, getattr(reason, "reason", None) or reason.__cause__ or reason.__context__
        if not isinstance(reason, BaseException):
            break
    # Messages such as "<…object at 0x…>: what happened" and "HTTPConnectionPool(…): what happened".
    return str(error).rpartition("): ")[2].rpartition(">: ")[2]
