"""The labels snapshot: what the Java agent sends beside a recording to say which labels an event's context has."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import DecodeError

from ...schema.errors import CorruptProfile
from ...schema.proto import jfr_labels_pb2

ATTACHMENT = "labels"
Pairs = tuple[tuple[str, str], ...]


class ContextLabels:
    """Labels by context, and texts by number."""

    def __init__(self, contexts: Mapping[int, Pairs], texts: Mapping[int, str]) -> None:
        self._contexts = contexts
        self._texts = texts

    def pairs(self, context: int) -> Pairs:
        """Names and values of a context's labels, by name; none where it is not known."""
        return self._contexts.get(context, ())

    def text(self, number: int) -> str:
        """A text, empty where it is not known."""
        return self._texts.get(number, "")


def read_labels(raw: bytes) -> ContextLabels:
    """A `LabelsSnapshot` of schema/proto/jfr_labels.proto. Raises `CorruptProfile`."""
    snapshot = jfr_labels_pb2.LabelsSnapshot()
    try:
        snapshot.ParseFromString(raw)
    except DecodeError as error:
        raise CorruptProfile(f"labels: {error}") from None
    texts = {number: text.decode("utf-8", "replace") for number, text in snapshot.strings.items()}
    contexts = {
        number: tuple(
            sorted((texts.get(name, ""), texts.get(value, "")) for name, value in one.labels.items())
        )
        for number, one in snapshot.contexts.items()
    }
    return ContextLabels(contexts, texts)
