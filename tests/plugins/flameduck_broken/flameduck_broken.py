"""Formats and outputs that break what they promise, each in its own way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class Lacking:
    """No `decode`."""

    def matches(self, head: bytes, filename: str) -> bool:
        """Everything."""
        return True


class Failing:
    """Recognises some bytes, and falls over them."""

    def matches(self, head: bytes, filename: str) -> bool:
        """Falls over others already."""
        if head.startswith(b"fall at once"):
            raise ZeroDivisionError("a head of nothing")
        return head.startswith((b"fall", b"lie"))

    def decode(self, inputs: Sequence[object]) -> Iterator[object]:
        """Raise, or yield what is no profile."""
        for one in inputs:
            if getattr(one, "raw", b"").startswith(b"fall"):
                raise IndexError("off the end")
            yield "a profile, trust me"


def write_failing(export: object) -> bytes:
    """An output that raises."""
    raise OSError("no ink")
