"""What of one tenant goes into a commit: every batch that agrees with the head and with those before it.

A batch must not fail once it is in the log, where the next start finds it.
"""

from __future__ import annotations

from collections.abc import Callable

from ..storage.builder import CollectedSymbols
from .frames import encode_frame
from .generation import Pieces


class Admission:
    """The batches of one tenant in one commit. `lean` takes away the symbols that the head has; `applied` is as its
    frames have it.
    """

    def __init__(self, lean: Callable[[Pieces], Pieces], applied: int) -> None:
        self._lean = lean
        self._applied = applied
        self._admitted: list[Pieces] = []
        self._symbols: CollectedSymbols | None = None
        self._collected = 0

    def admit(self, tenant: str, pieces: Pieces) -> tuple[Pieces, bytes]:
        """A batch without the symbols that came before, and its frame.

        Raises `CorruptBlock` when two different things have one hash, `LimitExceeded` when it is too large.
        """
        lean = self._lean(pieces)
        if self._admitted:
            lean = self._without_admitted(lean)
        payload = encode_frame(tenant, lean, self._applied)
        self._admitted.append(lean)
        return lean, payload

    def _without_admitted(self, pieces: Pieces) -> Pieces:
        """Nothing is collected before the second batch: most commits have one a tenant."""
        self._symbols = symbols = self._symbols or CollectedSymbols()
        for admitted in self._admitted[self._collected :]:
            for piece in admitted:
                symbols.add(piece)
        self._collected = len(self._admitted)
        return [symbols.without_known(piece) for piece in pieces]
