"""The scene's factors where nobody says which voxels are broken: fitted, doubted, fitted again.

The one idea: a voxel is predicted from its pixel's other bands; what differs from that by more than the model expects
leaves the next fit, and a column that differs as a whole is moved back by its median. A detector that drifted by a
constant is then found in the noise of a single voxel, because a column has many.

Source: leave-one-out residuals of a Gaussian model, as in Rasmussen and Williams 2006, section 5.4.2, here of factor
analysis; reweighting after Huber 1981.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes.noise import MAD_TO_SIGMA
from palimpsest.restoration.low_rank import LowRank, fit_table, left_out
from palimpsest.restoration.view import ACCEPTED, View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.restoration.view import Axis

SAMPLE = 5000
ROUNDS = 3
_ITERATIONS = 6  # of a round: the next one begins from a better mask
_OUTLIER = 3.5  # sigmas: a voxel beyond takes no part in the fit
_FIRST_OUTLIER = 4.0
_OFFSET_SIGMAS = 4.5  # of a column's median
_MEDIAN_LOSS = 1.2533  # standard error of a median over that of a mean


@dataclass(frozen=True, slots=True)
class RobustFit:
    """Factors and what does not follow them.

    Args:
        model: of the trusted voxels.
        offsets: of each column in each band, scaled, ``(col, band)``; 0 where none stands out of the sampling error.
        error: standard error of these offsets, ``(band,)``.
        residual: leave-one-out residual of each voxel, offset taken off, ``(pixel, band)``.
    """

    model: LowRank
    offsets: NDArray[np.float32]
    error: NDArray[np.float64]
    residual: NDArray[np.float32]


def whole_view(
    cube: Cube, reasons: NDArray[np.uint8], axis: Axis, unit: float, accepted: tuple[int, ...] = ACCEPTED
) -> View:
    """Every pixel of a cube, row by row; usable where the reason is among ``accepted``."""
    bands, rows, cols = cube.shape
    values = np.empty((rows * cols, bands), np.float32)
    usable = np.empty(values.shape, bool)
    for place, band in enumerate(axis.order):
        usable[:, place] = np.isin(reasons[band], accepted).ravel()
        plane = np.asarray(cube.data[band]).ravel().astype(np.float64) / unit
        values[:, place] = np.where(usable[:, place], plane, 0.0)
    return View(axis, np.arange(rows * cols), values, usable, unit)


def fit_robust(
    values: NDArray[np.float32], usable: NDArray[np.bool_], rows: int, cols: int, *, seed: int = 0
) -> RobustFit | None:
    """Factors of a whole scene; None where it is too small for any.

    Args:
        values: scaled, ``(pixel, band)``, pixels row by row.
        usable: voxels that nothing is known against, the same shape.
        rows: of the scene.
        cols: of the scene.
        seed: of the sample that the factors are fitted on.
    """
    calm, noise = _calm(values, usable, rows, cols)
    trusted = usable & calm
    offsets = np.zeros((cols, values.shape[1]), np.float32)
    rng = np.random.default_rng(seed)
    shown = np.flatnonzero(usable.any(1))
    picked = shown if shown.size <= SAMPLE else np.sort(rng.choice(shown, SAMPLE, replace=False))
    column = np.tile(np.arange(cols), rows)
    found = None
    for _ in range(ROUNDS):
        model = fit_table(values[picked] - offsets[column[picked]], trusted[picked], noise, iterations=_ITERATIONS)
        if model is None:
            return found
        residual, spread = _judged(model, values, trusted, offsets)
        moved, error = _column_medians(residual, usable & model.known, rows, cols)
        total = offsets + moved
        total[np.abs(total) <= _OFFSET_SIGMAS * error] = 0.0
        residual += (offsets - total)[column].reshape(residual.shape)
        offsets = total
        middle = np.median(residual, axis=0)
        residual -= middle
        ratio = np.abs(residual) / spread
        scale = np.maximum(MAD_TO_SIGMA * np.median(ratio, axis=0), 0.3)
        # A column that was moved does not predict: its error would leak into the offsets of other bands.
        trusted = usable & (ratio < _OUTLIER * scale) & (offsets == 0)[column]
        noise = np.sqrt(model.noise)
        found = RobustFit(model, offsets, error, residual)
    return found


def _judged(
    model: LowRank, values: NDArray[np.float32], trusted: NDArray[np.bool_], offsets: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    cols, bands = offsets.shape
    moved = values.reshape(-1, cols, bands) - offsets if offsets.any() else values
    return left_out(model, moved.reshape(values.shape), trusted)


def _calm(
    values: NDArray[np.float32], usable: NDArray[np.bool_], rows: int, cols: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Voxels like their four neighbours, and a first guess of the noise: where the first fit begins."""
    calm = np.empty(values.shape, bool)
    noise = np.full(values.shape[1], 1e-4)
    for band in range(values.shape[1]):
        known = usable[:, band]
        plane = values[:, band]
        filled = np.where(known, plane, np.median(plane[known]) if known.any() else 0.0).reshape(rows, cols)
        wide = np.pad(filled, 1, mode="reflect" if min(rows, cols) > 1 else "edge")
        four = np.sort(np.stack([wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]]), axis=0)
        apart = np.abs(filled - (four[1] + four[2]) / 2).ravel()
        if known.any():
            noise[band] += 1.1 * MAD_TO_SIGMA * float(np.median(apart[known]))
        calm[:, band] = apart < _FIRST_OUTLIER * noise[band]
    return calm, noise


def _column_medians(
    residual: NDArray[np.float32], usable: NDArray[np.bool_], rows: int, cols: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Median of each column beyond that of the band, ``(col, band)``, and its standard error, ``(band,)``.

    Columns that show fewer than half of their voxels are not judged.
    """
    bands = residual.shape[1]
    middle = np.zeros((cols, bands), np.float32)
    error = np.full(bands, np.inf)
    for band in range(bands):
        known = usable[:, band].reshape(rows, cols)
        enough = known.mean(0) > 0.5
        if enough.sum() < 3 or rows < 8:
            continue
        plane = np.where(known, residual[:, band].reshape(rows, cols), np.nan)[:, enough]
        columns = np.nanmedian(plane, axis=0)
        apart = np.abs(plane - columns)
        error[band] = MAD_TO_SIGMA * _MEDIAN_LOSS * float(np.nanmedian(apart)) / np.sqrt(rows)
        middle[enough, band] = columns - np.median(columns)
    return middle, error
