"""Noise of each band, from the scene itself.

Each band is regressed on the others; what the others cannot predict is noise. Robust against voxels that are masked
(left out) and against outliers (the residuals are measured by their median, and the worst pixels leave the second fit).

Source: Bioucas-Dias, Nascimento 2008, IEEE Trans. Geosci. Remote Sens. 46, 2435-2445 (HySime, section II-A); residuals
by way of the inverse correlation matrix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes.cube import Cube

MAD_TO_SIGMA = 1.4826
FEWEST_PIXELS = 24
LARGEST_SAMPLE = 60_000
_RIDGE = 1e-10
_NEIGHBOURS = 8  # of each band, when there are too few pixels for a regression on all of them
_OUTLIER = 6.0


def noise_sigma(cube: Cube, seed: int = 0) -> NDArray[np.float64]:
    """Standard deviation of the noise of each band, stored units, ``(band,)``.

    NaN for bands that are bad or have fewer than 24 usable pixels. A seeded sample of 60,000 pixels serves larger
    scenes. Where pixels are few, each band is regressed on its eight neighbours only.
    """
    values, usable = _sample(cube, seed)
    sigma = np.full(cube.shape.bands, np.nan)
    bands = np.flatnonzero(usable.sum(axis=0) >= FEWEST_PIXELS)
    if not bands.size:
        return sigma
    values, usable = values[:, bands], usable[:, bands]
    whole = np.asarray(usable.all(axis=1))
    if whole.sum() >= max(FEWEST_PIXELS, min(4 * bands.size, 0.5 * len(whole))):
        values, usable = values[whole], usable[whole]
    middle = np.array([np.median(column[good]) for column, good in zip(values.T, usable.T, strict=True)])
    centred = np.where(usable, values - middle, 0.0)
    sigma[bands] = _sigmas(centred, usable)
    return sigma


def _sample(cube: Cube, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values and usability, ``(pixel, band)``."""
    _, rows, cols = cube.shape
    pixels = np.arange(rows * cols)
    if pixels.size > LARGEST_SAMPLE:
        pixels = np.sort(np.random.default_rng(seed).choice(pixels, LARGEST_SAMPLE, replace=False))
    row, col = np.divmod(pixels, cols)
    usable = np.empty((pixels.size, cube.shape.bands), bool)
    values = np.empty(usable.shape)
    for band, reasons in enumerate(band_reasons(cube)):
        usable[:, band] = reasons[row, col] == 0
        values[:, band] = np.asarray(cube.data[band])[row, col]
    values[~usable] = 0.0
    return values, usable


def band_reasons(cube: Cube) -> list[NDArray[np.uint8]]:
    """The voxel reasons, one plane a band; as a list so that callers need not hold two cubes."""
    return list(cube.voxel_reasons())


def _sigmas(centred: NDArray[np.float64], usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    pixels, bands = centred.shape
    spread = np.sqrt(np.square(centred).sum(axis=0) / usable.sum(axis=0))
    alive = spread > 0
    if alive.sum() < 2:
        return np.zeros(bands)
    scaled = centred[:, alive] / spread[alive]
    known = usable[:, alive]
    fit = _residuals_of_all if pixels > 5 * alive.sum() else _residuals_of_neighbours
    residuals, freedom = fit(scaled, np.ones(pixels, bool))
    estimate = _robust(residuals, known)
    odd = np.where(known, np.abs(residuals) / np.maximum(estimate, 1e-300), 0.0).max(axis=1) > _OUTLIER
    if 0 < odd.sum() < 0.3 * pixels:
        residuals, freedom = fit(scaled, ~odd)
        estimate = _robust(residuals, known)
    sigma = np.zeros(bands)
    sigma[alive] = estimate * freedom * spread[alive]
    return sigma


def _robust(residuals: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    if known.all():
        return np.asarray(MAD_TO_SIGMA * np.median(np.abs(residuals), axis=0))
    pairs = zip(np.abs(residuals).T, known.T, strict=True)
    return np.array([MAD_TO_SIGMA * np.median(column[good]) for column, good in pairs])


def _residuals_of_all(scaled: NDArray[np.float64], fitted: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Residual of each band's regression on all others, and the correction for the degrees of freedom."""
    used = scaled[fitted]
    bands = scaled.shape[1]
    gram = used.T @ used / len(used)
    inverse = np.linalg.inv(gram + _RIDGE * np.eye(bands))  # scaled bands: the diagonal is one
    return scaled @ inverse / np.diag(inverse), float(np.sqrt(len(used) / max(len(used) - bands, 1)))


def _residuals_of_neighbours(
    scaled: NDArray[np.float64], fitted: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    pixels, bands = scaled.shape
    count = max(1, min(_NEIGHBOURS, bands - 1, int(fitted.sum()) // 4))
    residuals = np.empty_like(scaled)
    for band in range(bands):
        order = np.argsort(np.abs(np.arange(bands) - band), kind="stable")
        near = order[1 : count + 1]
        gram = scaled[fitted][:, near].T @ scaled[fitted][:, near] + _RIDGE * pixels * np.eye(near.size)
        weights = np.linalg.solve(gram, scaled[fitted][:, near].T @ scaled[fitted, band])
        residuals[:, band] = scaled[:, band] - scaled[:, near] @ weights
    return residuals, float(np.sqrt(fitted.sum() / max(fitted.sum() - count, 1)))
