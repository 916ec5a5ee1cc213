"""How far a cube is from its reference: PSNR, SNR, RMSE, largest error, spectral angle, per cube and per band.

Everything is taken over the usable voxels. PSNR's peak is the reference's maximum over them, of all bands together:
never another peak. Values are those of the stored unit. Cubes are gone through band after band, so memory maps are
never brought into memory whole.

Source of the angle: Kruse et al. 1993, Remote Sens. Environ. 44, 145-163.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import Cube
from palimpsest.errors import CubeRefused

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.generic] | Cube  # a cube brings its own mask
    Mask = NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class BandErrors:
    """Sums over the usable voxels of each band.

    Args:
        count: usable voxels, ``(band,)``.
        squared: sum of squared errors, ``(band,)``.
        largest: largest absolute error, ``(band,)``; 0 where nothing is usable.
        peak: largest reference value, ``(band,)``; -inf where nothing is usable.
        sum_reference, sum_squares: of the reference less its first usable value, for the variance, ``(band,)``.
    """

    count: NDArray[np.int64]
    squared: NDArray[np.float64]
    largest: NDArray[np.float64]
    peak: NDArray[np.float64]
    sum_reference: NDArray[np.float64]
    sum_squares: NDArray[np.float64]

    @property
    def mse(self) -> float:
        """Mean squared error over everything usable; NaN when nothing is."""
        total = int(self.count.sum())
        return float(self.squared.sum() / total) if total else float("nan")

    @property
    def variance(self) -> float:
        """Variance of the reference over everything usable."""
        total = int(self.count.sum())
        if not total:
            return float("nan")
        return float(max(self.sum_squares.sum() / total - (self.sum_reference.sum() / total) ** 2, 0.0))


def band_errors(reference: Values, test: Values, usable: Mask = None) -> BandErrors:
    """Sums per band.

    Args:
        reference: ``(band, row, col)``.
        test: the same shape.
        usable: voxels that count, ``(band, row, col)`` or anything that broadcasts to it; None is all.

    Raises:
        CubeRefused: shapes disagree.
    """
    reference, test, usable = arrays(reference, test, usable)
    bands = len(reference)
    mask = None if usable is None else np.broadcast_to(usable, reference.shape)
    table = np.zeros((6, bands))
    table[3] = -np.inf
    origin = None
    for band in range(bands):
        x, y = np.asarray(reference[band], np.float64), np.asarray(test[band], np.float64)
        if mask is not None:
            x, y = x[mask[band]], y[mask[band]]
        if not x.size:
            continue
        origin = float(x.flat[0]) if origin is None else origin  # close to the mean: the squares stay small
        error = np.abs(x - y)
        shifted = x - origin
        table[:, band] = (
            x.size, np.square(error).sum(), error.max(), x.max(), shifted.sum(), np.square(shifted).sum(),
        )
    return BandErrors(table[0].astype(np.int64), *table[1:])


def arrays(
    reference: Values, test: Values, usable: Mask
) -> tuple[NDArray[np.generic], NDArray[np.generic], Mask]:
    """The values of both, and which count: by default those usable in every one of the two that is a :class:`Cube`."""
    if usable is None:
        for side in (reference, test):
            if isinstance(side, Cube):
                usable = side.usable() if usable is None else usable & side.usable()
    a = reference.data if isinstance(reference, Cube) else reference
    b = test.data if isinstance(test, Cube) else test
    check_shapes(a, b)
    return a, b, usable


def check_shapes(reference: NDArray[np.generic], test: NDArray[np.generic]) -> None:
    """Raise :class:`CubeRefused` unless both are cubes of one shape."""
    if reference.ndim != 3 or reference.shape != test.shape:
        raise CubeRefused("cubes of different shape", got=test.shape, wanted=reference.shape)


def psnr_db(reference: Values, test: Values, usable: Mask = None) -> float:
    """Peak signal-to-noise ratio in dB; peak = the reference's maximum over all usable voxels of all bands.

    Infinite when nothing differs. NaN when nothing is usable or the reference's maximum is zero.
    """
    return psnr_from(band_errors(reference, test, usable))


def psnr_from(errors: BandErrors) -> float:
    """PSNR in dB from sums per band."""
    return _decibels(float(errors.peak.max()) ** 2, errors.mse)


def psnr_per_band_db(reference: Values, test: Values, usable: Mask = None) -> NDArray[np.float64]:
    """PSNR of each band in dB, ``(band,)``; the peak is still that of the whole cube. NaN where nothing is usable."""
    errors = band_errors(reference, test, usable)
    peak = float(errors.peak.max()) ** 2
    return np.array([_decibels(peak, mse) for mse in _means(errors)])


def snr_db(reference: Values, test: Values, usable: Mask = None) -> float:
    """Variance of the reference over the mean squared error, in dB."""
    return snr_from(band_errors(reference, test, usable))


def snr_from(errors: BandErrors) -> float:
    """SNR in dB from sums per band."""
    return _decibels(errors.variance, errors.mse)


def rmse(reference: Values, test: Values, usable: Mask = None) -> float:
    """Root mean squared error, stored units; NaN when nothing is usable."""
    return float(np.sqrt(band_errors(reference, test, usable).mse))


def rmse_per_band(reference: Values, test: Values, usable: Mask = None) -> NDArray[np.float64]:
    """Root mean squared error of each band, stored units, ``(band,)``; NaN where nothing is usable."""
    return np.sqrt(_means(band_errors(reference, test, usable)))


def max_error(reference: Values, test: Values, usable: Mask = None) -> float:
    """Largest absolute error, stored units; 0 when nothing is usable."""
    return float(band_errors(reference, test, usable).largest.max())


def max_error_per_band(reference: Values, test: Values, usable: Mask = None) -> NDArray[np.float64]:
    """Largest absolute error of each band, stored units, ``(band,)``."""
    return band_errors(reference, test, usable).largest


def spectral_angles_deg(reference: Values, test: Values, usable: Mask = None) -> NDArray[np.float64]:
    """Angle between the spectra of each pixel, degrees, ``(row, col)``; NaN where either has no length."""
    reference, test, usable = arrays(reference, test, usable)
    mask = None if usable is None else np.broadcast_to(usable, reference.shape)
    product, square_a, square_b = (np.zeros(reference.shape[1:]) for _ in range(3))
    for band in range(len(reference)):
        a, b = np.asarray(reference[band], np.float64), np.asarray(test[band], np.float64)
        if mask is not None:
            a, b = np.where(mask[band], a, 0.0), np.where(mask[band], b, 0.0)
        product += a * b
        square_a += a * a
        square_b += b * b
    norms = np.sqrt(square_a) * np.sqrt(square_b)
    cosine = np.divide(product, norms, out=np.full(norms.shape, np.nan), where=norms > 0)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def sam_deg(reference: Values, test: Values, usable: Mask = None) -> float:
    """Mean spectral angle in degrees over the pixels that have one; NaN when none has."""
    angles = spectral_angles_deg(reference, test, usable)
    known = np.isfinite(angles)
    return float(angles[known].mean()) if known.any() else float("nan")


def _means(errors: BandErrors) -> NDArray[np.float64]:
    nothing = np.full(len(errors.count), np.nan)
    return np.asarray(np.divide(errors.squared, errors.count, out=nothing, where=errors.count > 0))


def _decibels(signal: float, noise: float) -> float:
    if not (np.isfinite(signal) and signal > 0) or np.isnan(noise):
        return float("nan")
    return float(10 * np.log10(signal / noise)) if noise > 0 else float("inf")
