"""Content hashes: the stable 64-bit and 128-bit identities of everything that is stored.

Identity is content, so ids agree across batches, processes, machines and years. Strings are hashed with
xxh3; compound things mix the hashes of their parts. All functions are vectorised over uint64 arrays and
wrap around modulo 2**64. The constants are part of the format: changing one is a new format version.

The finaliser is the "moremur" family of xor-shift-multiply mixers (Stafford, 2011).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

U64Array = npt.NDArray[np.uint64]

NO_ID = 0xFFFFFFFF
"""A dense 32-bit id that points at nothing: the location of a root, the mapping of a bare address."""

ROOT_PATH = np.uint64(0x9E3779B97F4A7C15)
"""Path hash of the empty path, where every chain starts."""

_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S32 = np.uint64(32)
_FIELD = tuple(
    np.uint64(k)
    for k in (
        0x9E3779B97F4A7C15,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0xD6E8FEB86659FD93,
        0xA0761D6478BD642F,
        0xE7037ED1A0B428DB,
        0x8EBC6AF09C88C6E3,
        0x589965CC75374CC3,
    )
)


def hash_text(text: bytes) -> int:
    """xxh3-64 of a string's UTF-8 bytes."""
    return xxhash.xxh3_64_intdigest(text)


def hash_texts(texts: pa.Array) -> U64Array:
    """xxh3-64 of each string of an array."""
    return np.fromiter(
        map(xxhash.xxh3_64_intdigest, texts.cast(pa.binary()).to_pylist()), np.uint64, len(texts)
    )


def mix(x: U64Array) -> U64Array:
    """Finalise in place: every input bit reaches every output bit. Returns `x`."""
    x ^= x >> _S32
    x *= _M1
    x ^= x >> np.uint64(29)
    x *= _M2
    x ^= x >> _S32
    return x


def combine(*fields: U64Array) -> U64Array:
    """Hash of rows whose columns are `fields`, in that order; at most eight columns."""
    total = fields[0] * _FIELD[0]
    for constant, field in zip(_FIELD[1:], fields[1:], strict=False):
        mix(total)
        total += field * constant
    return mix(total)


def extend_paths(paths: U64Array, symbol: U64Array) -> U64Array:
    """Path hashes of children, in place of their parents' path hashes, from their own symbols' hashes.

    Chained from `ROOT_PATH`, root first, this is the identity of a stack (symbols are locations) and of a
    node in a function-level tree (symbols are names). Not linear in either argument. Returns `paths`.
    """
    paths ^= symbol
    paths *= _M1
    paths ^= paths >> _S32
    paths += symbol
    paths *= _M2
    paths ^= paths >> np.uint64(31)
    return paths


def series_id(labels: Mapping[str, str]) -> int:
    """Identity of a label set: xxh3-64 over `name 0xff value 0xff` in name order."""
    joined = b"".join(
        name.encode() + b"\xff" + value.encode() + b"\xff" for name, value in sorted(labels.items())
    )
    return xxhash.xxh3_64_intdigest(joined)


def profile_id(sample_id: str, labels: Mapping[str, str], uploaded: bytes) -> bytes:
    """Identity of one upload: xxh3-128 over the client's sample id, the request's labels and the inflated bytes.

    Returns 16 bytes, big endian.
    """
    state = xxhash.xxh3_128()
    parts: Sequence[str] = [sample_id, *(text for pair in sorted(labels.items()) for text in pair)]
    for part in parts:
        encoded = part.encode()
        state.update(len(encoded).to_bytes(4, "little") + encoded)
    state.update(uploaded)
    return state.digest()
