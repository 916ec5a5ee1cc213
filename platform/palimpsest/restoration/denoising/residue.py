"""What in a denoiser's residual is no noise, and goes back into its answer.

That is what stands out beyond chance in a pixel or a small square, in one band or a run of them: a narrow feature of
few pixels is what a scientist looks for. And what is alike in neighbouring pixels: a Wiener filter by the residual's
own correlation. All in units of each band's noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter, uniform_filter1d

from palimpsest.restoration.computing.planes import planes_of, put, runs
from palimpsest.restoration.computing.side_by_side import done, side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Table = NDArray[np.float32]  # (pixel, band), or (row, col, band)

BLOCK_PIXELS = 4096
STANDS_OUT = 5.5  # sigmas
_RUNS = (1, 3, 7)  # bands; single ones first, or a strong one would be spread over its neighbours
_RADIUS = 2  # pixels, of the residual's Wiener filter
_CORRELATED = 3.0  # standard errors of a correlation that is not there


def give_back(
    out: Table, spread: Table, residual: Table, trusted: NDArray[np.bool_], plane: tuple[int, int]
) -> None:
    """Add to ``out`` what in the residual is no noise: first what stands out, then what neighbours share.

    Args:
        out: whitened values, ``(pixel, band)``, pixels row by row; changed in place.
        spread: variance of what may still be wrong, the same shape; changed in place.
        residual: what was taken off, the same shape; less what was given back.
        trusted: voxels that were believed, the same shape.
        plane: rows and columns.
    """
    rows, cols = plane
    cube = residual.reshape(rows, cols, -1)
    step = max(1, BLOCK_PIXELS // max(cols, 1))

    def blocks() -> Iterator[tuple[slice, slice, Table]]:
        above = cube[:0]  # the row before a block as it was: its own part may have been given back
        for start in range(0, rows, step):
            stop = min(rows, start + step)
            block = np.concatenate([above, cube[start : min(rows, stop + 1)]])
            above = cube[stop - 1 : stop].copy()
            yield slice(start * cols, stop * cols), slice(min(start, 1), min(start, 1) + stop - start), block

    def keep(given: tuple[slice, slice, Table]) -> None:
        part, inside, block = given
        kept = _standing_out(block)[inside].reshape(-1, out.shape[1]) * trusted[part]
        out[part] += kept
        residual[part] -= kept

    done(side_by_side(keep, blocks()))

    def share(run: slice) -> None:
        planes, added, wider = planes_of(residual, run), planes_of(out, run), planes_of(spread, run)
        seen = planes_of(trusted, run)
        for number in range(len(planes)):
            found, doubt = _shared_by_neighbours(
                planes[number].astype(np.float64).reshape(plane), seen[number].reshape(plane)
            )
            added[number] += found.ravel().astype(np.float32)
            wider[number] += np.float32(doubt)
        put(out, run, added)
        put(spread, run, np.maximum(wider, 1e-6))

    done(side_by_side(share, runs(out.shape[1])))


def _standing_out(residual: NDArray[np.float32]) -> NDArray[np.float32]:
    """The part of whitened residuals ``(row, col, band)`` that chance does not make."""
    kept = np.zeros_like(residual)
    left = residual.copy()
    for square in (1, 3):
        for run in _RUNS:
            mean = uniform_filter1d(left, run, axis=2, mode="reflect") if run > 1 else left
            if square > 1:
                mean = uniform_filter(mean, (square, square, 1), mode="reflect")
            found = np.where(np.abs(mean) * square * np.sqrt(run) > STANDS_OUT, mean, np.float32(0))
            kept += found
            left = residual - kept
    return kept


def _shared_by_neighbours(
    plane: NDArray[np.float64], trusted: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """The stationary Wiener filter of a residual by its own correlation, and the variance that it leaves."""
    rows, cols = plane.shape
    nothing = np.zeros_like(plane), 0.0
    if min(rows, cols) < 4 * _RADIUS or not trusted.any():
        return nothing
    reach = 2 * _RADIUS
    lags = np.empty((2 * reach + 1, 2 * reach + 1))
    for down in range(reach + 1):
        for right in range(-reach, reach + 1):
            a = plane[down:, max(right, 0) : cols + min(right, 0)]
            b = plane[: rows - down, max(-right, 0) : cols - max(right, 0)]
            number = max(1.0, float(trusted.mean()) * a.size)
            lags[reach + down, reach + right] = lags[reach - down, reach - right] = float((a * b).sum()) / number
    whole = lags[reach, reach]
    near = (lags[reach, reach + 1] + lags[reach + 1, reach]) / 2
    far = (lags[reach, reach + 2] + lags[reach + 2, reach]) / 2
    if whole < 1e-9 or near < _CORRELATED * whole / np.sqrt(2 * trusted.sum()):
        return nothing
    # Noise has no neighbours: the signal's own variance is what the nearer lags lead to.
    signal = min(0.999 * whole, near * float(np.clip(near / max(far, 1e-12), 1.0, 1.6)))
    steps = np.arange(-_RADIUS, _RADIUS + 1)
    places = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
    apart = places[:, None] - places[None] + reach
    cover = lags[apart[..., 0], apart[..., 1]]
    wanted = lags[places[:, 0] + reach, places[:, 1] + reach].copy()
    wanted[len(places) // 2] = signal
    weights = np.linalg.solve(cover + 1e-3 * whole * np.eye(len(places)), wanted)
    wide = np.pad(plane, _RADIUS, mode="reflect")
    found = np.zeros_like(plane)
    for (down, right), weight in zip(places + _RADIUS, weights, strict=True):
        found += weight * wide[down : down + rows, right : right + cols]
    return found, max(0.0, signal - float(weights @ wanted))
