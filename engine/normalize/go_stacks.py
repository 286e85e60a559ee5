"""Go's truncated stacks made whole again, as Pyroscope does it under its rules.

The Go runtime keeps the 32 leaf-most frames of a heap sample and the 64 of a CPU sample. Where the root of one
truncated stack lies inside another stack of the profile, the frames that the other has further up are what the
first one lost. Stacks are told apart by their 24 root-most locations; the 16 root-most of one are looked for
at the eight places in which another has frames above them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]

_WINDOW = 16
_STEPS = 8
_SUFFIX = _WINDOW + _STEPS
_MOST_ADDED = 24
_ID_BYTES = 8

HEAP_FRAMES, CPU_FRAMES = 32, 64
_NEARLY_FULL = 4
"""Fewer frames than the bound by this many may be truncated too: some were inlined away."""


def may_be_truncated(lengths: IntArray, kept_frames: int) -> bool:
    """Whether stacks of these lengths look like a runtime that keeps `kept_frames` cut some of them."""
    longest = int(lengths.max(initial=0))
    return kept_frames - _NEARLY_FULL <= longest <= kept_frames


def repair_stacks(stacks: Sequence[U64Array], kept_frames: int) -> list[U64Array]:
    """The stacks of one profile (location ids, leaf first) with the root frames that others show they lost.

    A stack that would grow by more than 24 frames is left as it is: that is recursion, not truncation.
    """
    suffixes = [_suffix(stack) if len(stack) >= _SUFFIX else b"" for stack in stacks]
    missing_above = _missing_by_window(sorted(set(suffixes) - {b""}))
    repaired: list[U64Array] = []
    for stack, suffix in zip(stacks, suffixes, strict=True):
        added = b""
        if len(stack) >= kept_frames - _NEARLY_FULL:
            added = _lost_frames(suffix, missing_above)
        more = np.frombuffer(added, np.uint64)
        repaired.append(np.concatenate([stack, more]) if len(more) else stack)
    return repaired


def _suffix(stack: U64Array) -> bytes:
    return stack[-_SUFFIX:].tobytes()


def _missing_by_window(suffixes: Sequence[bytes]) -> Mapping[bytes, tuple[bytes, bytes]]:
    """For each window the suffix that has most frames above it, and those frames; the first of equals."""
    found: dict[bytes, tuple[bytes, bytes]] = {}
    for suffix in suffixes:
        for start in range(_STEPS):
            window = suffix[start * _ID_BYTES : (start + _WINDOW) * _ID_BYTES]
            above = suffix[(start + _WINDOW) * _ID_BYTES :]
            known = found.get(window)
            if known is None or len(known[1]) < len(above):
                found[window] = suffix, above
    return found


def _lost_frames(suffix: bytes, missing_above: Mapping[bytes, tuple[bytes, bytes]]) -> bytes:
    """The frames above a suffix, from one stack to the next until the root; nothing when they go on for ever."""
    added = b""
    seen = {suffix}
    while (step := missing_above.get(suffix[_STEPS * _ID_BYTES :])) is not None and step[0] not in seen:
        suffix, above = step
        seen.add(suffix)
        added += above
        if len(added) > _MOST_ADDED * _ID_BYTES:
            return b""
    return added
