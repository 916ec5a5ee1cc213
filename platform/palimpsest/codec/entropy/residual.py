"""The layer that makes a lossy reconstruction exact, or as exact as was promised.

Above the reconstruction of the spatial levels every voxel is predicted from what the decoder already has: the exact
neighbours before it in its own band, the exact bands before it at the same pixel, and the lossy reconstruction all
round. The prediction is linear, with coefficients fitted per band by the encoder and sent; the quantised difference is
what the range coder stores. Where a band may be off by d the difference is quantised in cells 2d + 1 wide, so that no
voxel is off by more than d; d = 0 is lossless. Values known to be even numbers may also share cells of an even width,
2n for n of them, if predictions are odd where n is even and even where it is odd: then no two cells meet at a value,
and none is off by more than n - 1. Where the reconstruction is nearly good enough, prediction is not worth
its coefficients: then the difference from the reconstruction itself is stored, zero for most voxels.

Everything the decoder computes is int64 arithmetic in a fixed order: the same on every machine.

Source: clustered DPCM with transmitted coefficients (Mielikainen & Toivanen 2003, IEEE TGRS 41, 2943-2946), here with
the lossy reconstruction among the regressors; quantisation in the loop as in CCSDS 123.0-B-2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Cells = NDArray[np.int64]

SPATIAL = 4  # W, N, NW, NE of the same band
NEAR_BANDS = 2  # previous bands whose spatial neighbours take part
BASE = 5  # reconstruction here, W, E, N, S
FRACTION_BITS = 14
LARGEST_COEFFICIENT = (1 << 18) - 1
FIT_SAMPLES = 60_000
NOISE = 2.0  # times the variance of a uniform error: what neighbours are off by, and what that does to later ones


@dataclass(frozen=True, slots=True)
class Predictor:
    """Coefficients of one tile.

    Args:
        coefficients: ``(band, tap)`` int32 in units of 2^-14; taps in the order of :func:`_gather`.
        offsets: value subtracted from each band before predicting, ``(band,)`` int64.
        previous: how many previous bands take part.
        shifts: low bits that are zero in all coefficients of a band, ``(band,)`` int64.
    """

    coefficients: NDArray[np.int32]
    offsets: NDArray[np.int64]
    previous: int
    shifts: NDArray[np.int64]


def taps(previous: int) -> int:
    """Number of regressors for ``previous`` previous bands."""
    return SPATIAL + previous + NEAR_BANDS * SPATIAL + BASE


def fit(
    exact: NDArray[np.int64], base: NDArray[np.int64], usable: NDArray[np.bool_], previous: int,
    widths: NDArray[np.int64],
) -> Predictor:
    """Least-squares coefficients of every band.

    Args:
        exact: the values to predict, ``(band, row, col)`` int64.
        base: the lossy reconstruction, the same shape.
        usable: True where a voxel is coded; the others teach nothing.
        previous: how many previous bands take part.
        widths: of the cells of each band, ``(band,)``: the decoder's neighbours are off by up to half of it.
    """
    bands, rows, cols = exact.shape
    offsets = np.rint(base.reshape(bands, -1).mean(axis=1)).astype(np.int64)
    count = taps(previous)
    variance = (widths.astype(np.float64) ** 2 - np.where(widths % 2, 1, 4)) / 12  # uniform within a cell
    coefficients, shifts = np.zeros((bands, count), np.int32), np.zeros(bands, np.int64)
    stride = max(1, rows * cols // FIT_SAMPLES)
    gathered = np.empty((rows * cols, count), np.int64)
    for band in range(bands):
        _gather_band(exact, base, offsets, band, previous, gathered)
        chosen = np.flatnonzero(usable[band].ravel())[::stride]
        if chosen.size < 2:
            coefficients[band, -BASE], shifts[band] = 1 << FRACTION_BITS, FRACTION_BITS
            continue
        regressors = gathered[chosen].astype(np.float64)
        target = (exact[band].ravel()[chosen] - offsets[band]).astype(np.float64)
        noise = NOISE * _error_variance(variance, band, previous)
        solved = _solve(regressors, target, noise)
        left = float(((target - regressors @ solved) ** 2).mean()) + float(variance[band])
        shifts[band] = _shift(float((regressors**2).mean(axis=0).sum()), left, int(usable[band].sum()))
        unit = 1 << int(shifts[band])
        fixed = np.rint(solved * (1 << FRACTION_BITS) / unit).astype(np.int64)
        most = LARGEST_COEFFICIENT // unit
        coefficients[band] = np.clip(fixed, -most, most) * unit
    return Predictor(coefficients, offsets, previous, shifts)


def _error_variance(variance: NDArray[np.float64], band: int, previous: int) -> NDArray[np.float64]:
    """Variance of the quantisation error in each regressor of a band, ``(tap,)``, from that of each band."""
    others = [band - back if band >= back else -1 for back in range(max(NEAR_BANDS, previous) + 1)]
    each = [0.0 if other < 0 else float(variance[other]) for other in others]
    spatial = np.repeat(each[: NEAR_BANDS + 1], SPATIAL)
    return np.concatenate([spatial, each[1 : previous + 1], np.zeros(BASE)])


def _solve(
    regressors: NDArray[np.float64], target: NDArray[np.float64], noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    # Ridge towards 'the reconstruction is right', in units of each regressor, so that few pixels cannot overfit.
    prior = np.zeros(regressors.shape[1])
    prior[-BASE] = 1.0
    scale = np.sqrt((regressors**2).mean(axis=0))
    scale[scale == 0] = 1.0
    scaled = regressors / scale
    gram = scaled.T @ scaled
    gram[np.diag_indices_from(gram)] += 1e-7 * len(target) + 1e-3 + len(target) * noise / scale**2
    solved: NDArray[np.float64] = prior + np.linalg.solve(gram, scaled.T @ (target - regressors @ prior)) / scale
    return solved


def _shift(power: float, left: float, pixels: int) -> int:
    """Low bits that a band's coefficients can do without.

    Coefficients rounded to a unit u add u^2 / 12 times the regressors' ``power`` to the ``left`` error variance, hence
    0.72 times their ratio in bits a pixel; each further bit dropped saves about one a coefficient and costs three
    times that. Where the two meet is best.
    """
    ratio = (SPATIAL * (NEAR_BANDS + 1) + BASE) / (2.16 * max(pixels, 1))
    if not (power > 0 and left > 0):
        return 0
    unit = math.sqrt(12 * ratio * left / power) * (1 << FRACTION_BITS)
    return min(FRACTION_BITS, max(0, math.floor(math.log2(max(unit, 1.0)))))


def plain_residuals(
    exact: NDArray[np.int64], base: NDArray[np.int64], usable: NDArray[np.bool_], widths: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Quantised differences from the reconstruction itself, ``(band, row, col)``; 0 where not usable."""
    width = widths[:, None, None]
    error = np.where(usable, exact - _between(base, width), 0)
    residuals: NDArray[np.int64] = np.sign(error) * ((np.abs(error) + width // 2) // width)
    return residuals


def plainly_rebuilt(
    residuals: NDArray[np.int64], base: NDArray[np.int64], widths: NDArray[np.int64], limits: tuple[int, int]
) -> NDArray[np.int64]:
    """Values from the differences of :func:`plain_residuals`, within ``limits``, ``(band, row, col)``."""
    width = widths[:, None, None]
    return np.clip(_between(base, width) + residuals * width, *limits)


def _between(values: NDArray[np.int64], width: NDArray[np.int64]) -> NDArray[np.int64]:
    """Centres of cells: of an even width they are moved by one where cells would meet at an even number."""
    return values + np.where(width % 2, 0, (values + width // 2 + 1) & 1)


def encode_residuals(
    exact: NDArray[np.int64], base: NDArray[np.int64], usable: NDArray[np.bool_], predictor: Predictor,
    widths: NDArray[np.int64], limits: tuple[int, int],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Quantised prediction errors and what the decoder will reconstruct.

    Args:
        exact: the values to keep, ``(band, row, col)`` int64.
        base: the lossy reconstruction, the same shape.
        usable: True where a voxel is coded.
        predictor: the coefficients.
        widths: of the cells of each band, ``(band,)``; 1 (2 for even values) is lossless.
        limits: smallest and largest stored value.

    Returns:
        Residuals ``(band, row, col)`` int64, zero where not usable, and the reconstruction, which keeps the bound.
    """
    residuals = np.zeros(exact.shape, np.int64)
    rebuilt = np.zeros(exact.shape, np.int64)
    _run(
        exact, base, usable, predictor.coefficients, predictor.offsets, predictor.previous, widths,
        limits[0], limits[1], residuals, rebuilt, True,
    )
    return residuals, rebuilt


def decode_residuals(
    residuals: NDArray[np.int64], base: NDArray[np.int64], usable: NDArray[np.bool_], predictor: Predictor,
    widths: NDArray[np.int64], limits: tuple[int, int],
) -> NDArray[np.int64]:
    """The reconstruction that :func:`encode_residuals` returned, ``(band, row, col)`` int64."""
    rebuilt = np.zeros(base.shape, np.int64)
    _run(
        base, base, usable, predictor.coefficients, predictor.offsets, predictor.previous, widths,
        limits[0], limits[1], residuals, rebuilt, False,
    )
    return rebuilt


@numba.njit("void(int64[:,:,::1],int64[:,:,::1],int64[::1],int64,int64,int64,int64,int64[::1])", cache=True)
def _gather(
    x: Cells, base: Cells, offsets: Cells, band: int, row: int, col: int, previous: int, out: Cells
) -> None:
    """Regressors of one voxel, in the order of the taps; ``x`` holds exact values of all that precedes it."""
    rows, cols = x.shape[1], x.shape[2]
    at = 0
    for back in range(NEAR_BANDS + 1):
        other = band - back
        if other < 0:
            for _ in range(SPATIAL):
                out[at] = 0
                at += 1
            continue
        shift = offsets[other]
        if col > 0:
            west = x[other, row, col - 1] - shift
        elif row > 0:
            west = x[other, row - 1, col] - shift
        else:
            west = base[other, row, col] - shift
        north = x[other, row - 1, col] - shift if row > 0 else west
        out[at] = west
        out[at + 1] = north
        out[at + 2] = x[other, row - 1, col - 1] - shift if row > 0 and col > 0 else north
        out[at + 3] = x[other, row - 1, col + 1] - shift if row > 0 and col < cols - 1 else north
        at += SPATIAL
    for back in range(1, previous + 1):
        other = band - back
        out[at] = x[other, row, col] - offsets[other] if other >= 0 else 0
        at += 1
    shift = offsets[band]
    here = base[band, row, col] - shift
    out[at] = here
    out[at + 1] = base[band, row, col - 1] - shift if col > 0 else here
    out[at + 2] = base[band, row, col + 1] - shift if col < cols - 1 else here
    out[at + 3] = base[band, row - 1, col] - shift if row > 0 else here
    out[at + 4] = base[band, row + 1, col] - shift if row < rows - 1 else here


@numba.njit("void(int64[:,:,::1],int64[:,:,::1],int64[::1],int64,int64,int64[:,::1])", cache=True)
def _gather_band(x: Cells, base: Cells, offsets: Cells, band: int, previous: int, out: Cells) -> None:
    rows, cols = x.shape[1], x.shape[2]
    for row in range(rows):
        for col in range(cols):
            _gather(x, base, offsets, band, row, col, previous, out[row * cols + col])


@numba.njit(
    "void(int64[:,:,::1],int64[:,:,::1],boolean[:,:,::1],int32[:,::1],int64[::1],"
    "int64,int64[::1],int64,int64,int64[:,:,::1],int64[:,:,::1],boolean)",
    cache=True, nogil=True,
)
def _run(
    exact: Cells, base: Cells, usable: NDArray[np.bool_], coefficients: NDArray[np.int32], offsets: Cells,
    previous: int, widths: Cells, low: int, high: int, residuals: Cells, rebuilt: Cells, encoding: bool,
) -> None:
    """Predict, quantise (or dequantise) and rebuild, voxel by voxel, bands outermost."""
    bands, rows, cols = base.shape
    half = np.int64(1) << (FRACTION_BITS - 1)
    regressors = np.zeros(coefficients.shape[1], np.int64)
    for band in range(bands):
        width = widths[band]
        half_width = width // 2
        is_even = width % 2 == 0
        for row in range(rows):
            for col in range(cols):
                if not usable[band, row, col]:
                    rebuilt[band, row, col] = base[band, row, col]
                    continue
                _gather(rebuilt, base, offsets, band, row, col, previous, regressors)
                total = half
                for tap in range(regressors.size):
                    total += np.int64(coefficients[band, tap]) * regressors[tap]
                predicted = min(max((total >> FRACTION_BITS) + offsets[band], low), high)
                if is_even:
                    predicted += (predicted + half_width + 1) & 1
                if encoding:
                    error = exact[band, row, col] - predicted
                    size = (abs(error) + half_width) // width
                    residuals[band, row, col] = size if error >= 0 else -size
                value = predicted + residuals[band, row, col] * width
                rebuilt[band, row, col] = min(max(value, low), high)
