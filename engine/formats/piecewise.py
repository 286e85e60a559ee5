"""A profile that is built sample by sample and handed over in pieces, so that its length does not matter."""

from __future__ import annotations

from collections.abc import Sequence

from . import Decoded, Row
from .profile_builder import Labels, ProfileBuilder

PIECE_FRAMES = 2_000_000
"""Frames of distinct stacks that one piece holds."""

_FRAMES_OF_A_SAMPLE = 10
"""What a sample costs beside its frames."""


class Piecewise:
    """One profile of one input."""

    def __init__(self, builder: ProfileBuilder, row: Row) -> None:
        self.builder = builder
        self._row = row
        self._frames = 0
        self._continues = False

    @property
    def full(self) -> bool:
        """Whether it is time to `cut`."""
        return self._frames >= PIECE_FRAMES

    def add(self, stack: Sequence[int], values: Sequence[int], labels: Labels = ()) -> None:
        """Add a sample, as `ProfileBuilder.add`."""
        known = self.builder.samples
        self.builder.add(stack, values, labels)
        if self.builder.samples > known:
            self._frames += len(stack) + _FRAMES_OF_A_SAMPLE

    def cut(self, warnings: Sequence[str] = ()) -> Decoded:
        """What was added since the last cut. Raises `CorruptProfile` when a value does not fit 64 bits."""
        batch = self.builder.to_batch()
        self.builder.drop_samples()
        self._frames = 0
        continues, self._continues = self._continues, True
        return Decoded(batch, [self._row], continues, tuple(warnings))
