"""Numbers of JSON documents as exact integers of a smaller unit: seconds as nanoseconds, say.

What stands in the text counts: 0.3 is three tenths, not the nearest binary fraction. Halves go to the even number.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal

import numpy as np
import numpy.typing as npt

from ...schema.errors import CorruptProfile

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_LIMIT = 2.0**63
_EXACT = 2.0**53
"""From here on not every integer is a float."""
_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)


def scaled(numbers: Sequence[int | float], scale: int, where: str) -> IntArray:
    """Each number times `scale`, rounded to an integer. Raises `CorruptProfile` for what does not fit 64 bits."""
    if not len(numbers):
        return np.zeros(0, np.int64)
    found = np.array(numbers)
    if found.dtype.kind == "f":
        if (np.abs(found) >= _EXACT).any():
            return _one_by_one(numbers, scale, where)
        return _scaled_floats(found, scale, where)
    if found.dtype != np.int64:
        raise CorruptProfile(f"{where}: {max(numbers, key=abs)} does not fit 64 bits")
    _check_size(found, scale, where)
    return found * scale


def scaled_number(number: Decimal | int | float, scale: int, where: str) -> int:
    """One number times `scale`, rounded to an integer. Raises `CorruptProfile` for what does not fit 64 bits."""
    exact = number if isinstance(number, Decimal) else Decimal(repr(number))
    if not exact.is_finite() or exact.adjusted() > 20:
        raise CorruptProfile(f"{where}: {number} does not fit 64 bits")
    found = int(_CONTEXT.multiply(exact, Decimal(scale)).to_integral_value(ROUND_HALF_EVEN))
    if not -(2**63) <= found < 2**63:
        raise CorruptProfile(f"{where}: {number} times {scale} does not fit 64 bits")
    return found


def _one_by_one(numbers: Sequence[int | float], scale: int, where: str) -> IntArray:
    return np.array([scaled_number(number, scale, where) for number in numbers], np.int64)


def _scaled_floats(numbers: FloatArray, scale: int, where: str) -> IntArray:
    _check_size(numbers, scale, where)
    whole = numbers == np.rint(numbers)
    found = np.where(whole, numbers, 0).astype(np.int64) * scale
    if whole.all():
        return found
    product = numbers * scale
    rounded = np.rint(product)
    # A product is off by a little: near a half, that decides where it goes.
    doubtful = ~whole & (np.abs(np.abs(product - rounded) - 0.5) <= np.abs(product) * 2.0**-50)
    doubtful |= ~whole & (np.abs(product) >= 2.0**50)
    found = np.where(whole, found, rounded.astype(np.int64))
    if doubtful.any():
        found[doubtful] = _one_by_one(numbers[doubtful].tolist(), scale, where)
    return found


def _check_size(numbers: npt.NDArray[np.float64] | IntArray, scale: int, where: str) -> None:
    sizes = np.abs(numbers.astype(np.float64)) * scale
    # Not a number is not below the limit either.
    bad = np.flatnonzero(~(sizes < _LIMIT))
    if len(bad):
        raise CorruptProfile(f"{where}[{bad[0]}]: {numbers[bad[0]]} times {scale} does not fit 64 bits")


def check_sum(values: IntArray, where: str) -> None:
    """Raises `CorruptProfile` when values add up to more than 64 bits hold."""
    if np.abs(values.astype(np.float64)).sum() >= _LIMIT:
        raise CorruptProfile(f"{where}: the sum does not fit 64 bits")
