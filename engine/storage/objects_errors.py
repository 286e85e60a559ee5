"""What the clients of object stores raise, as errors of ours. No client is imported: they are optional."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Mapping
from types import MappingProxyType

from ...schema.errors import FlameduckError, ObjectExists, ObjectMissing, StorageError, Unavailable


class RangeBeyondEnd(StorageError):
    """A read starts at or after the end of its object."""


class Contended(Unavailable):
    """Another conditional write of the same object is under way."""


class PartsLost(Unavailable):
    """An upload in parts cannot be completed: the store knows it, or a part of it, no more."""


_FOREIGN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "s3": ("botocore.exceptions:BotoCoreError", "botocore.exceptions:ClientError", "aiohttp:ClientError"),
        "gs": ("gcsfs.retry:HttpError", "google.auth.exceptions:GoogleAuthError", "aiohttp:ClientError"),
        "az": ("azure.core.exceptions:AzureError",),
    }
)
"""Per kind of store, what its client raises besides `OSError`."""

_KINDS: tuple[tuple[frozenset[str], type[FlameduckError], str], ...] = (
    (frozenset({"NoSuchKey", "404", "BlobNotFound"}), ObjectMissing, "is not there"),
    (frozenset({"NoSuchBucket", "ContainerNotFound"}), StorageError, "the bucket is not there"),
    (frozenset({"PreconditionFailed", "412", "BlobAlreadyExists"}), ObjectExists, "is there already"),
    (frozenset({"ConditionalRequestConflict", "OperationAborted"}), Contended, "is being written by another"),
    (frozenset({"InvalidRange", "416"}), RangeBeyondEnd, "is shorter than that"),
    (frozenset({"InvalidPart", "InvalidPartOrder", "NoSuchUpload"}), PartsLost, "parts of it do not arrive"),
)
"""Codes of S3 and Azure and statuses of HTTP, with what they mean here."""

_TRANSIENT_CODES = frozenset(
    (
        "SlowDown",
        "ServiceUnavailable",
        "InternalError",
        "RequestTimeout",
        "Throttling",
        "ThrottlingException",
        "ServerBusy",
        "RequestLimitExceeded",
        "TooManyRequests",
        "408",
        "429",
        "500",
        "502",
        "503",
        "504",
    )
)
_TRANSIENT_CLASSES = frozenset(
    (
        "ConnectionError",
        "TimeoutError",
        "HTTPClientError",
        "ClientConnectionError",
        "ClientPayloadError",
        "IncompleteReadError",
        "ResponseStreamingError",
        "ServiceRequestError",
        "ServiceResponseError",
        "TransportError",
    )
)
"""Names of classes, of Python and of the clients, that mean: nobody answered, or not to the end."""

_USERINFO = re.compile(r"//[^/@\s]+@")
_QUERY = re.compile(r"\?[^\s\"')]+")


def foreign_errors(kind: str) -> tuple[type[Exception], ...]:
    """What a client that is installed may raise."""
    return (OSError, *(pkgutil.resolve_name(name) for name in _FOREIGN.get(kind, ())))


def translated(where: str, error: Exception) -> FlameduckError:
    """The error of ours that a client's error is, naming `where`."""
    if isinstance(error, FileExistsError):
        return ObjectExists(f"{where}: is there already")
    code = _code(error)
    for codes, kind, text in _KINDS:
        if code in codes:
            return kind(f"{where}: {text}")
    if isinstance(error, FileNotFoundError | IsADirectoryError):
        return ObjectMissing(f"{where}: is not there")
    names = {cls.__name__ for cls in type(error).__mro__}
    transient = code in _TRANSIENT_CODES or bool(names & _TRANSIENT_CLASSES)
    return (Unavailable if transient else StorageError)(f"{where}: {_reason(error)}")


def _code(error: BaseException) -> str:
    """S3's or Azure's code, else the HTTP status, else nothing."""
    for told in (error, error.__cause__):
        response = getattr(told, "response", None)
        if isinstance(response, Mapping):
            return str(response.get("Error", {}).get("Code", ""))
        for name in ("error_code", "code", "status_code", "status"):
            value = getattr(told, name, None)
            if isinstance(value, int | str) and value:
                return str(value)
    return ""


def _reason(error: Exception) -> str:
    """The error's text on one line, without what may hold credentials."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(_QUERY.sub("", _USERINFO.sub("//", str(text))).split())
