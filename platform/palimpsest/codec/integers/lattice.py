"""Floating-point bands that are counts in disguise: integers that were divided, or multiplied, by one number.

Reflectance is mostly stored as counts over 10,000, radiance as counts times a gain, and a band scaled to its range as
counts over its largest. Where every value is the rounded quotient or product of a count, that count is what has to be
coded: 24 bits become those that the instrument measured. The codec's integers are twice the counts, so that what it
rebuilds under an error bound may lie between two of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LARGEST = 1 << 16  # integer that may stand for a value: below it, rounding stays under a 64th of a count
ROUNDING = 1 / 64  # of a count: what two rounded values may differ by beyond their counts
DIGITS = range(1, 8)  # significant ones of the numbers that are tried


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """What each band's counts were divided or multiplied by.

    Args:
        numbers: ``(band,)``: a positive one divides, a negative one multiplies by its size.
    """

    numbers: NDArray[np.float64]

    @property
    def units(self) -> NDArray[np.float64]:
        """One integer, half a count, in stored units, ``(band,)``."""
        units: NDArray[np.float64] = np.where(self.numbers > 0, 1 / self.numbers, -self.numbers) / 2
        return units

    def of(self, chosen: NDArray[np.intp]) -> Lattice:
        """That of some bands."""
        return Lattice(self.numbers[chosen])

    def integers(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Twice the count nearest to each value, ``(band, ...)``."""
        numbers = self._beside(values)
        counts = np.rint(np.where(numbers > 0, values * numbers, values / -numbers))
        return 2 * counts.astype(np.int64)

    def stored(self, integers: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values that integers stand for, before they are rounded to the stored type, ``(band, ...)``."""
        numbers = self._beside(integers)
        found: NDArray[np.float64] = np.where(numbers > 0, integers / (2 * numbers), integers / 2 * -numbers)
        return found

    def _beside(self, values: NDArray[np.generic]) -> NDArray[np.float64]:
        return self.numbers.reshape(-1, *[1] * (values.ndim - 1))


def number_of(values: NDArray[np.generic]) -> float | None:
    """The number that a band's integers were divided by (multiplied: negative), or None.

    Args:
        values: finite ones of the band, ``(n,)`` floating point; a sample, the caller checks the rest.
    """
    distinct = np.unique(values).astype(np.float64)
    if distinct.size < 2:
        return -abs(float(distinct[0])) if distinct.size and distinct[0] else 1.0
    unit = _unit(distinct)
    if unit is None or np.abs(distinct).max() / unit > LARGEST:
        return None
    exact = values.ravel()
    for number in _candidates(unit, values.dtype):
        lattice = Lattice(np.array([number]))
        again = lattice.stored(lattice.integers(exact[None].astype(np.float64)))[0].astype(values.dtype)
        if np.array_equal(again, exact):
            return number
    return None


def _unit(distinct: NDArray[np.float64]) -> float | None:
    """About what all values are multiples of: from differences of neighbours, which are small multiples."""
    gaps = np.diff(distinct)
    smallest = float(gaps.min())
    counts = np.rint(gaps / smallest)
    if counts.sum() > LARGEST or smallest < 1e-6 * np.abs(distinct).max():
        return None
    unit = float(gaps.sum() / counts.sum())
    places = np.concatenate([[0.0], np.cumsum(np.rint(gaps / unit))])
    slope = float(np.polyfit(places, distinct, 1)[0])
    return slope if slope > 0 else None


def _candidates(unit: float, dtype: np.dtype[np.generic]) -> Sequence[float]:
    """Numbers that a program may have divided or multiplied by, the likely ones first."""
    divisors = [float(np.rint(1 / unit))] if unit < 0.5 else []
    divisors += [float(f"{1 / unit:.{digits}g}") for digits in DIGITS]
    factors = [float(f"{unit:.{digits}g}") for digits in DIGITS]
    if dtype == np.float32:
        nearest = np.float32(unit)
        rounded = [np.float32(factor) for factor in factors]
        beside = [nearest, np.nextafter(nearest, np.float32(math.inf)), np.nextafter(nearest, np.float32(0))]
        factors = [float(one) for one in (*rounded, *beside)] + factors
    else:
        factors.append(unit)
    return [*dict.fromkeys(one for one in divisors if one > 0), *dict.fromkeys(-one for one in factors if one > 0)]
