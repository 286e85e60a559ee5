"""OTLP profiles (`v1development`): ProfilesData and ExportProfilesServiceRequest, in protobuf and in JSON.

The tables of a request are shared by all of its profiles; each becomes one decoded profile with what it uses of
them. Times at which a sample was seen count and are not kept; the original payload is passed over.

Source: https://github.com/open-telemetry/opentelemetry-proto, `profiles/v1development/profiles.proto`
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...schema.errors import InputError
from . import Decoded, Failed, Input
from .json_head import json_paths
from .otlp_columns import BatchMaker
from .otlp_json import Document
from .otlp_message import Message
from .otlp_shape import is_otlp
from .otlp_strings import Budget
from .otlp_tables import NO_DICTIONARY

NO_PROFILES = "there is no profile in this OTLP request"


class Otlp:
    """In protobuf."""

    name = "otlp"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether its fields, and those in them, have the shape of a request."""
        return is_otlp(head)

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is a request of any number of profiles."""
        for number, one in enumerate(inputs):
            yield from _decode(number, one, Message)


class OtlpJson:
    """In JSON, with the names of its fields in either spelling and ids in hexadecimal, or as protobuf's JSON has it."""

    name = "otlp-json"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it begins with the fields of a request."""
        return not _JSON_FIELDS.isdisjoint(json_paths(head))

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is a request of any number of profiles."""
        for number, one in enumerate(inputs):
            yield from _decode(number, one, Document)


_JSON_FIELDS = frozenset(
    ("resourceProfiles", "resource_profiles", "dictionary.stringTable", "dictionary.string_table")
)


def _decode(number: int, one: Input, kind: type[Message | Document]) -> Iterator[Decoded | Failed]:
    pushed = one.rules == "pyroscope"
    budget = Budget(len(one.raw))
    try:
        request = kind(one.raw, budget)
    except InputError as error:
        yield Failed(number, f"malformed OTLP: {error}")
        return
    if request.dictionary is None:
        yield Failed(number, "missing profile metadata dictionary" if pushed else NO_DICTIONARY)
    elif not request.has_resources:
        yield Failed(number, "missing resource profiles" if pushed else NO_PROFILES)
    else:
        try:
            maker = BatchMaker(number, one, request.dictionary, budget)
            yield from _profiles(number, one, request, maker)
        except InputError as error:
            yield Failed(
                number, f"{'failed to convert otel profile' if pushed else 'malformed OTLP'}: {error}"
            )


def _profiles(
    number: int, one: Input, request: Message | Document, maker: BatchMaker
) -> Iterator[Decoded | Failed]:
    profiles = 0
    for piece in request.pieces():
        profiles += len(piece.heads)
        yield from maker.batches(piece)
    if not profiles and one.rules == "verbatim":
        yield Failed(number, NO_PROFILES)
