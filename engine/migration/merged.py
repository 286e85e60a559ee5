"""The pprof that a source merged: what it adds up to, less what does not belong to the slice, and what is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from google.protobuf.message import DecodeError

from ...schema.errors import CorruptProfile
from ...schema.profile_type import ProfileType
from ...schema.proto import profile_pb2
from .slices import NS_PER_MS, Slice


class Merged:
    """One merged profile of one sample type."""

    def __init__(self, data: bytes) -> None:
        """Raises `CorruptProfile` when the bytes are no pprof, or one whose samples have several values."""
        try:
            self._message = profile_pb2.Profile.FromString(data)
        except DecodeError as error:
            raise CorruptProfile(f"the merged profile is no pprof: {error}") from None
        for sample in self._message.sample:
            if len(sample.value) != 1:
                raise CorruptProfile(
                    f"the merged profile has a sample of {len(sample.value)} values: expected one"
                )

    @property
    def total(self) -> int:
        """The sum of its values."""
        return sum(sample.value[0] for sample in self._message.sample)

    def subtract(self, other: Merged) -> None:
        """Take away the samples of a profile that is merged in here.

        Raises `CorruptProfile` when it is not: when a stack of it is missing here, or has a smaller value.
        """
        left = other._values()
        for sample, stack in zip(self._message.sample, self._stacks(), strict=True):
            taken = min(left[stack], sample.value[0])
            sample.value[0] -= taken
            left[stack] -= taken
        if any(left.values()):
            raise CorruptProfile(
                f"the profiles at the slice's end hold {sum(left.values())} that the merged profile does not hold"
            )

    def stored(self, kind: ProfileType, taken: Slice, comment: str) -> bytes:
        """The profile as it is stored: of this type, in the middle of its slice, with a comment that says whence."""
        message = self._message
        del message.sample_type[:]
        message.sample_type.add(type=self._text(kind.sample_type), unit=self._text(kind.sample_unit))
        message.period_type.type = self._text(kind.period_type)
        message.period_type.unit = self._text(kind.period_unit)
        message.default_sample_type = self._text(kind.sample_type)
        message.time_nanos = taken.middle_ns
        message.duration_nanos = (taken.end_ms - taken.start_ms) * NS_PER_MS
        comments = [self._text(comment), *message.comment]
        del message.comment[:]
        message.comment.extend(comments)
        return bytes(message.SerializeToString())

    def _text(self, text: str) -> int:
        table = self._message.string_table
        if not table:
            table.append(b"")
        if not text:
            return 0
        table.append(text.encode())
        return len(table) - 1

    def _values(self) -> Counter[Hashable]:
        values: Counter[Hashable] = Counter()
        for sample, stack in zip(self._message.sample, self._stacks(), strict=True):
            values[stack] += sample.value[0]
        return values

    def _stacks(self) -> list[Hashable]:
        """Each sample's stack by content, since two answers number it differently. Raises `CorruptProfile`."""
        message = self._message
        try:
            texts = message.string_table
            functions = {
                one.id: (texts[one.name], texts[one.system_name], texts[one.filename], one.start_line)
                for one in message.function
            }
            mappings = {one.id: (texts[one.filename], texts[one.build_id]) for one in message.mapping}
            locations = {
                one.id: (
                    mappings.get(one.mapping_id),
                    one.address,
                    tuple((functions[line.function_id], line.line) for line in one.line),
                )
                for one in message.location
            }
            return [tuple(locations[number] for number in sample.location_id) for sample in message.sample]
        except (IndexError, KeyError) as error:
            raise CorruptProfile(f"the merged profile refers to what it does not hold: {error}") from None
