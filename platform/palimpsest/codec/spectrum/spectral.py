"""Level 0: a knowledge-weighted linear autoencoder along the spectrum, fitted to the cube, its basis sent.

Bands are scaled by the square root of what an error in them costs, then decorrelated by the eigenvectors of their
covariance (Karhunen-Loeve). The basis is quantised just finely enough for the distortion aimed at and the number of
pixels that share it. The decoder's half is int64 arithmetic on quantised numbers: equal on every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from palimpsest.codec.space.tiling import in_order
from palimpsest.errors import StreamCorrupt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import DTypeLike, NDArray

WEIGHT_UNIT = 256  # band weights are whole multiples of 1/256
BASIS_SHARE, LEAST_SHARE, MOST_SHARE = 1.5, 0.001, 1.0  # of bands over pixels, between these
MEAN_SHARE, LEAST_MEAN = 64, 0.8  # of a step, the least that a mean is told to; of it, times the root of the pixels
FRACTION_BITS = 6  # of a component sample, in units of the quantiser step, where int32 allows
LARGEST_COMPONENT = 1 << 25
_SMALLEST_COST = 1e-9
_ENTRY_BITS = 25  # of a basis number
_GUARD_BITS = 12
_MULTIPLIER_BITS = 20
_BLOCK = 1024  # pixels whose sums are held at a time
_EXACT = 2.0**52


@dataclass(frozen=True, slots=True)
class Statistics:
    """First and second moments of the usable spectra.

    Args:
        count: number of spectra.
        mean: ``(band,)`` float64.
        covariance: ``(band, band)`` float64.
        largest: largest absolute deviation from the mean seen.
    """

    count: int
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    largest: float


def gather(blocks: Iterable[NDArray[np.generic]], bands: int, workers: int = 1) -> Statistics:
    """Moments of blocks of spectra, each ``(n, band)``, in one pass, float64; the same for any number of workers."""
    count, total, square = 0, np.zeros(bands), np.zeros((bands, bands))
    low, high = np.full(bands, np.inf), np.full(bands, -np.inf)
    filled = (block for block in blocks if len(block))
    first = next(filled, None)
    if first is None:
        return Statistics(0, np.zeros(bands), np.zeros((bands, bands)), 0.0)
    # Moments about a spectrum of the cube itself: large offsets would otherwise eat the digits.
    origin = first.mean(axis=0, dtype=np.float64)

    def moments(block: NDArray[np.generic]) -> tuple[NDArray[np.float64], ...]:
        shifted = block - origin
        return shifted.sum(axis=0), shifted.T @ shifted, block.min(axis=0), block.max(axis=0)

    def counted() -> Iterator[NDArray[np.generic]]:
        nonlocal count
        for block in chain((first,), filled):
            count += len(block)
            yield block

    for sums, squares, least, most in in_order(moments, counted(), workers):
        total += sums
        square += squares
        low, high = np.minimum(low, least), np.maximum(high, most)
    mean = total / count
    covariance = square / count - np.outer(mean, mean)
    centre = origin + mean
    return Statistics(count, centre, covariance, float(np.maximum(high - centre, centre - low).max()))


@dataclass(frozen=True, slots=True)
class SpectralLevel:
    """The decoder's half of level 0.

    Args:
        mean: per band, stored integer units, ``(band,)`` int64.
        weights: per band in 1/256, ``(band,)`` int64, positive.
        basis: quantised, ``(band, component)`` int64.
        shifts: a basis number of component k is a multiple of 2^-shift, ``(component,)`` int64.
        step: quantiser step in weighted units.
        fraction_bits: binary digits of a component sample below one step.
        inverse: the encoder's own, kept once it is known.
    """

    mean: NDArray[np.int64]
    weights: NDArray[np.int64]
    basis: NDArray[np.int64]
    shifts: NDArray[np.int64]
    step: float
    fraction_bits: int
    inverse: list[NDArray[np.floating]] = field(default_factory=list, repr=False, compare=False)

    @property
    def components(self) -> int:
        """How many components are kept."""
        return int(self.basis.shape[1])

    @property
    def band_rmse(self) -> NDArray[np.float64]:
        """Expected root mean square error of each band in rate mode, stored integer units, ``(band,)``."""
        # A uniform quantiser errs by step^2 / 12 a component; what was not kept errs by less than that each.
        return np.asarray(np.sqrt(self.step**2 / 12) * WEIGHT_UNIT / self.weights)

    def decoded_basis(self) -> NDArray[np.float64]:
        """The basis as the decoder has it, ``(band, component)`` float64."""
        return self.basis.astype(np.float64) * np.exp2(-self.shifts.astype(np.float64))

    def analyse(self, values: NDArray[np.generic], real: type[np.floating] = np.float64) -> NDArray[np.int32]:
        """Component planes of spectra; the encoder's half, in floating point.

        Args:
            values: ``(band, ...)`` stored integer units.
            real: type of number to compute with.

        Returns:
            ``(component, ...)`` int32 in units of step / 2^fraction_bits.
        """
        bands = len(self.mean)
        flat = values.reshape(bands, -1)
        centred = np.subtract(flat, self.mean[:, None].astype(real), dtype=real, casting="same_kind")
        scale = self.weights / (WEIGHT_UNIT * self.step) * 2.0**self.fraction_bits
        fixed = (self._inverse() * scale).astype(real) @ centred
        np.rint(fixed, out=fixed)
        limited = np.clip(fixed, -LARGEST_COMPONENT, LARGEST_COMPONENT, out=fixed).astype(np.int32)
        return limited.reshape(self.components, *values.shape[1:])

    def variances(self, covariance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Variance of each component of spectra with this covariance, in squared steps."""
        scale = self.weights / WEIGHT_UNIT
        inverse = self._inverse() * (scale / self.step)
        found: NDArray[np.float64] = ((inverse @ covariance) * inverse).sum(axis=1)
        return found

    def _inverse(self) -> NDArray[np.floating]:
        if not self.inverse:  # spectra come in strips
            self.inverse.append(np.linalg.pinv(self.decoded_basis()))
        return self.inverse[-1]

    def synthesise(
        self, planes: NDArray[np.int32], bands: NDArray[np.intp] | None = None,
        limits: tuple[int, int] | None = None, dtype: DTypeLike = np.int64,
    ) -> NDArray[Any]:
        """Values of component planes, integer arithmetic.

        Args:
            planes: ``(component, ...)`` int32.
            bands: which bands to compute; None is all.
            limits: smallest and largest value to give; None does not clip.
            dtype: of the values, an integer type that holds them.

        Returns:
            ``(band, ...)`` stored integer units.
        """
        chosen = np.arange(len(self.mean)) if bands is None else bands
        shape = planes.shape[1:]
        out = np.empty((chosen.size, math.prod(shape)), dtype)
        flat = np.ascontiguousarray(planes.reshape(self.components, out.shape[1]))
        deepest = int(self.shifts.max(initial=0))
        raised = np.ascontiguousarray(self.basis[chosen] << (deepest - self.shifts)[None, :])
        down = max(0, deepest - _GUARD_BITS)
        multipliers, exponents = self._multipliers(deepest - down, chosen)
        mean, real = self.mean[chosen], raised.astype(np.float64)
        for start in range(0, out.shape[1], _BLOCK):
            part = flat[:, start : start + _BLOCK]
            sums = _exact_product(raised, real, part)
            values = np.empty(sums.shape, np.int64)
            scale = _scale_real_sums if sums.dtype.kind == "f" else _scale_sums
            scale(sums, mean, down, multipliers, exponents, values)
            if limits is not None:
                np.clip(values, *limits, out=values)
            out[:, start : start + _BLOCK] = values
        return out.reshape(chosen.size, *shape)

    def _multipliers(
        self, kept_bits: int, chosen: NDArray[np.intp]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Per band the integers m, e with m / 2^e = one unit of the reduced sum in stored units."""
        # frexp, division and multiplication by powers of two are exact or correctly rounded in IEEE 754.
        unit = self.step * WEIGHT_UNIT / self.weights[chosen].astype(np.float64)
        mantissa, exponent = np.frexp(unit)
        multipliers = np.rint(mantissa * (1 << _MULTIPLIER_BITS)).astype(np.int64)
        return multipliers, _MULTIPLIER_BITS - exponent.astype(np.int64) + self.fraction_bits + kept_bits


def fit(
    statistics: Statistics, weights: NDArray[np.float64], step: float, *, least: float = 1.0,
    chosen: NDArray[np.bool_] | None = None,
) -> SpectralLevel:
    """The spectral level for a quantiser step.

    A metric is more than a weight a band: components are the eigenvectors of the covariance under it, so that one step
    is finer along the directions that cost. The decoder needs to know no more than the basis that comes of it.

    Args:
        statistics: of the usable spectra.
        weights: what an error in a band weighs, ``(band,)``, mean square 1; or a metric, what errors along the spectrum
            cost together, ``(band, band)``, symmetric, mean of the diagonal 1.
        step: quantiser step in weighted units.
        least: of the distortion, the variance from which a component is kept; 0 keeps all.
        chosen: which components to keep, by falling variance, ``(component,)``; ``least`` then plays no part.
    """
    bands = len(weights)
    by_band = weights if weights.ndim == 1 else np.sqrt(np.maximum(np.diag(weights), 0))
    fixed_weights = np.clip(np.rint(by_band * WEIGHT_UNIT), 1, 1 << 15).astype(np.int64)
    scale = fixed_weights / WEIGHT_UNIT
    if weights.ndim == 1:
        reach = float(scale.max())
        weighed = statistics.covariance * np.outer(scale, scale)
    else:
        costs, along = np.linalg.eigh(weights)
        costs = np.sqrt(np.maximum(costs, _SMALLEST_COST))
        root, back = (along * costs) @ along.T, (along / costs) @ along.T
        reach = float(costs[-1])
        weighed = root @ statistics.covariance @ root
    values, vectors = np.linalg.eigh(weighed)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    distortion = step * step / 12
    kept = np.flatnonzero(values > least * distortion if chosen is None else chosen)
    if least == 0 or not kept.size:
        kept = np.arange(bands if least == 0 else 1)
    # A bit more for every number of the basis earns as much as one more for every sample.
    share = min(max(BASIS_SHARE * bands / max(statistics.count, 1), LEAST_SHARE), MOST_SHARE)
    wanted = np.sqrt(12 * share * distortion / (bands * np.maximum(values[kept], distortion)))
    # In weighted bands a plain basis is orthonormal; one under a metric is not, and its entries may be larger than 1.
    exact = vectors[:, kept] if weights.ndim == 1 else scale[:, None] * (back @ vectors[:, kept])
    room = _ENTRY_BITS - np.ceil(np.log2(np.maximum(np.abs(exact).max(axis=0), 1.0)))
    shifts = np.clip(np.rint(-np.log2(wanted)), 2, np.minimum(24, room)).astype(np.int64)
    basis = np.rint(exact * np.exp2(shifts.astype(np.float64))).astype(np.int64)
    largest = max(1.0, statistics.largest * reach * math.sqrt(bands))
    fraction = math.floor(math.log2(LARGEST_COMPONENT * step / largest))
    # No finer than matters: what the mean is off by adds 1/4096 to the distortion at most, or as much as its bits earn.
    finest = min(MEAN_SHARE, LEAST_MEAN * math.sqrt(max(statistics.count, 1)))
    unit = 2.0 ** max(0, math.floor(math.log2(step / (finest * float(scale.max())))))
    level = SpectralLevel(
        (np.rint(statistics.mean / unit) * unit).astype(np.int64), fixed_weights, basis, shifts, step,
        min(FRACTION_BITS, max(0, fraction)),
    )
    if weights.ndim == 2:  # the components of least cost, not of least squares
        level.inverse.append(np.linalg.pinv(root @ (level.decoded_basis() / scale[:, None])) @ (root / scale))
    return level


def _exact_product(
    basis: NDArray[np.int64], real: NDArray[np.float64], planes: NDArray[np.int32]
) -> NDArray[np.int64] | NDArray[np.float64]:
    """``basis @ planes`` in integers, which may be floating-point numbers; ``real`` is the basis as such.

    Floating point does it many times faster, and where no sum of magnitudes reaches 2^53 it gives the same integers in
    whatever order it adds.
    """
    wide = planes.astype(np.float64)
    reach = np.abs(wide).max(axis=1, initial=0.0)
    if float((np.abs(real) @ reach).max(initial=0.0)) < _EXACT:
        product: NDArray[np.float64] = real @ wide
        return product
    out = np.zeros((len(basis), planes.shape[1]), np.int64)
    _product(basis, np.ascontiguousarray(planes), out)
    return out


@numba.njit("void(int64[:,::1],int32[:,::1],int64[:,::1])", cache=True, nogil=True)
def _product(basis: NDArray[np.int64], planes: NDArray[np.int32], out: NDArray[np.int64]) -> None:
    for b in range(basis.shape[0]):
        for k in range(basis.shape[1]):
            for i in range(planes.shape[1]):
                out[b, i] += basis[b, k] * planes[k, i]


@numba.njit("void(int64[:,::1],int64[::1],int64,int64[::1],int64[::1],int64[:,:])", cache=True, nogil=True)
def _scale_sums(
    sums: NDArray[np.int64], mean: NDArray[np.int64], down: int, multipliers: NDArray[np.int64],
    exponents: NDArray[np.int64], out: NDArray[np.int64],
) -> None:
    half_down = (np.int64(1) << down) >> 1
    for b in range(sums.shape[0]):
        exponent, middle, multiplier = exponents[b], mean[b], multipliers[b]
        half = np.int64(1) << (exponent - 1) if exponent > 0 else np.int64(0)
        for i in range(sums.shape[1]):
            product = ((sums[b, i] + half_down) >> down) * multiplier
            if exponent > 0:
                out[b, i] = middle + ((product + half) >> exponent)
            else:
                out[b, i] = middle + (product << -exponent)


@numba.njit("void(float64[:,::1],int64[::1],int64,int64[::1],int64[::1],int64[:,::1])", cache=True, nogil=True)
def _scale_real_sums(
    sums: NDArray[np.float64], mean: NDArray[np.int64], down: int, multipliers: NDArray[np.int64],
    exponents: NDArray[np.int64], out: NDArray[np.int64],
) -> None:
    """As :func:`_scale_sums`, of integers that are held as floating point."""
    half_down = (np.int64(1) << down) >> 1
    for b in range(sums.shape[0]):
        exponent, middle, multiplier = exponents[b], mean[b], multipliers[b]
        half = np.int64(1) << (exponent - 1) if exponent > 0 else np.int64(0)
        for i in range(sums.shape[1]):
            product = ((np.int64(sums[b, i]) + half_down) >> down) * multiplier
            if exponent > 0:
                out[b, i] = middle + ((product + half) >> exponent)
            else:
                out[b, i] = middle + (product << -exponent)


def check_loaded(level: SpectralLevel) -> SpectralLevel:
    """The level itself, if its numbers can be computed with in int64.

    Raises:
        StreamCorrupt: numbers that no encoder writes.
    """
    sane = (
        0 < level.step < 2.0**40 and math.isfinite(level.step) and 0 <= level.fraction_bits <= 16
        and (level.weights > 0).all() and (level.weights <= 1 << 15).all()
        and (level.shifts >= 0).all() and (level.shifts <= 24).all()
        and np.abs(level.basis).max(initial=0) <= 1 << 26
    )
    if not sane:
        raise StreamCorrupt("a spectral level that no encoder writes")
    return level
