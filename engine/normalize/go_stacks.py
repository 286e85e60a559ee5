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
import pyarrow as pa
import pyarrow.compute as pc

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


def mend_go_samples(
    decoded: pa.RecordBatch, sample_types: Sequence[Sequence[tuple[str, str]]]
) -> pa.RecordBatch:
    """The batch with the truncated stacks of its Go profiles completed; `sample_types` is by profile."""
    samples = decoded.column("sample")
    stacks = samples.values.field("location_id")
    lengths = np.diff(stacks.offsets.to_numpy()).astype(np.int64)
    bounds = samples.offsets.to_numpy()
    mended: dict[int, list[U64Array]] = {}
    for number, kinds in enumerate(sample_types):
        first, last = int(bounds[number]), int(bounds[number + 1])
        kept_frames = _kept_frames([name for name, _ in kinds])
        if kept_frames and may_be_truncated(lengths[first:last], kept_frames) and _is_go(decoded, number):
            mended[number] = repair_stacks(
                [stacks[row].values.to_numpy() for row in range(first, last)], kept_frames
            )
    return _with_stacks(decoded, stacks, bounds, mended) if mended else decoded


def _kept_frames(types: Sequence[str]) -> int:
    """How many frames the runtime keeps in a profile with these sample types; 0: nothing is known."""
    if any(name.startswith(("alloc_", "inuse_")) for name in types):
        return HEAP_FRAMES
    return CPU_FRAMES if "cpu" in types else 0


def _is_go(decoded: pa.RecordBatch, number: int) -> bool:
    """Whether a profile names Go source files."""
    return bool(pc.any(pc.ends_with(decoded.column("string_table")[number].values, ".go")).as_py())


def _with_stacks(
    decoded: pa.RecordBatch, stacks: pa.ListArray, bounds: IntArray, mended: Mapping[int, list[U64Array]]
) -> pa.RecordBatch:
    """The batch with the stacks of some profiles replaced."""
    pieces: list[pa.Array] = []
    for number in range(decoded.num_rows):
        if number in mended:
            pieces.append(pa.array(mended[number], stacks.type))
        else:
            pieces.append(stacks.slice(bounds[number], bounds[number + 1] - bounds[number]))
    samples = decoded.column("sample")
    kind = samples.type.value_type
    fields = [kind.field(i) for i in range(kind.num_fields)]
    columns = [
        pa.concat_arrays(pieces) if f.name == "location_id" else samples.values.field(f.name) for f in fields
    ]
    replaced = pa.ListArray.from_arrays(
        samples.offsets, pa.StructArray.from_arrays(columns, fields=fields), type=samples.type
    )
    return decoded.set_column(
        decoded.schema.get_field_index("sample"), decoded.schema.field("sample"), replaced
    )
