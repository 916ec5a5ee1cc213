"""The scene's factors where nobody says which voxels are broken: fitted, doubted, fitted again.

The one idea: a voxel is predicted from its pixel's other bands; what differs from that by more than the model expects
leaves the next fit, and a column or a row that differs as a whole is moved back by its median. A detector that drifted
by a constant is then found in the noise of a single voxel, because a line has many.

Source: leave-one-out residuals of a Gaussian model, as in Rasmussen and Williams 2006, section 5.4.2, here of factor
analysis; reweighting after Huber 1981.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from palimpsest.cubes.noise import MAD_TO_SIGMA
from palimpsest.restoration.computing.planes import planes_of, put, runs
from palimpsest.restoration.computing.ranks import ascending
from palimpsest.restoration.computing.side_by_side import done, side_by_side
from palimpsest.restoration.factors.low_rank import CHUNK, LowRank, fit_table, left_out
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
_OFFSET_SIGMAS = 4.5  # of a line's median
_MEDIAN_LOSS = 1.2533  # standard error of a median over that of a mean

A = TypeVar("A", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Lines:
    """Offsets of all columns, or of all rows.

    Args:
        offsets: of each line in each band, scaled, ``(line, band)``; 0 where none stands out of the sampling error.
        error: standard error of these offsets, ``(band,)``.
    """

    offsets: NDArray[np.float32]
    error: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RobustFit:
    """Factors and what does not follow them.

    Args:
        model: of the trusted voxels.
        columns: their offsets.
        rows: those of the rows.
        residual: leave-one-out residual of each voxel, offsets taken off, ``(pixel, band)``.
    """

    model: LowRank
    columns: Lines
    rows: Lines
    residual: NDArray[np.float32]


def whole_view(
    cube: Cube, reasons: NDArray[np.uint8], axis: Axis, unit: float, accepted: tuple[int, ...] = ACCEPTED
) -> View:
    """Every pixel of a cube, row by row; usable where the reason is among ``accepted``."""
    bands, rows, cols = cube.shape
    values = np.empty((rows * cols, bands), np.float32)
    usable = np.empty(values.shape, bool)

    def take(run: slice) -> None:
        here = axis.order[run]
        shown = np.empty((len(here), rows * cols), bool)
        planes = np.empty(shown.shape, np.float32)
        for place, band in enumerate(here):
            shown[place] = np.isin(reasons[band], accepted).ravel()
            plane = np.asarray(cube.data[band]).ravel().astype(np.float64) / unit
            planes[place] = np.where(shown[place], plane, 0.0)
        put(values, run, planes)
        put(usable, run, shown)

    done(side_by_side(take, runs(bands)))
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
    bands = values.shape[1]
    columns, lines = (Lines(np.zeros((n, bands), np.float32), np.full(bands, np.inf)) for n in (cols, rows))
    rng = np.random.default_rng(seed)
    shown = np.flatnonzero(usable.any(1))
    picked = shown if shown.size <= SAMPLE else np.sort(rng.choice(shown, SAMPLE, replace=False))
    row, column = np.divmod(np.arange(rows * cols), cols)
    found = None
    for _ in range(ROUNDS):
        moved = columns.offsets[column[picked]] + lines.offsets[row[picked]]
        model = fit_table(values[picked] - moved, trusted[picked], noise, iterations=_ITERATIONS)
        if model is None:
            return found
        residual, spread = _judged(model, values, trusted, columns, lines)
        shape, known = (rows, cols, bands), (usable & model.known).reshape(rows, cols, bands)
        fresh = _further(columns, residual.reshape(shape), known)
        residual.reshape(shape)[...] += columns.offsets - fresh.offsets
        columns = fresh
        fresh = _further(lines, residual.reshape(shape).swapaxes(0, 1), known.swapaxes(0, 1))
        residual.reshape(shape)[...] += (lines.offsets - fresh.offsets)[:, None]
        lines = fresh
        trusted = _believed(residual, spread, usable)
        # A line that was moved does not predict: its error would leak into the offsets of other bands.
        trusted.reshape(shape)[...] &= (columns.offsets == 0) & (lines.offsets == 0)[:, None]
        noise = np.sqrt(model.noise)
        found = RobustFit(model, columns, lines, residual)
    return found


def _judged(
    model: LowRank, values: NDArray[np.float32], trusted: NDArray[np.bool_], columns: Lines, rows: Lines
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if not columns.offsets.any() and not rows.offsets.any():
        return left_out(model, values, trusted)
    residual, spread = np.empty_like(values), np.empty_like(values)
    cols = len(columns.offsets)
    step = max(1, CHUNK // cols)

    def look(start: int) -> None:
        offsets = columns.offsets + rows.offsets[start : start + step, None]
        part = slice(start * cols, start * cols + offsets.shape[0] * cols)
        moved = values[part] - offsets.reshape(-1, values.shape[1])
        residual[part], spread[part] = left_out(model, moved, trusted[part])

    done(side_by_side(look, range(0, len(rows.offsets), step)))
    return residual, spread


def _believed(
    residual: NDArray[np.float32], spread: NDArray[np.float32], usable: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Voxels within what the model expects, ``(pixel, band)``; each band's median is taken off its residuals.

    A few bands at a time, so that a large scene needs no further array of its size.
    """
    trusted = np.empty(usable.shape, bool)

    def believe(run: slice) -> None:
        rest, wide = planes_of(residual, run), planes_of(spread, run)
        fits = np.empty(rest.shape, bool)
        for plane, expected, fit in zip(rest, wide, fits, strict=True):
            plane -= np.median(plane)
            ratio = np.abs(plane) / expected
            scale = max(MAD_TO_SIGMA * float(np.median(ratio)), 0.3)
            fit[...] = ratio < _OUTLIER * scale
        put(residual, run, rest)
        put(trusted, run, fits & planes_of(usable, run))

    done(side_by_side(believe, runs(residual.shape[1])))
    return trusted


def _further(lines: Lines, residual: NDArray[np.float32], known: NDArray[np.bool_]) -> Lines:
    """The lines with what ``residual`` ``(place, line, band)`` still shows of them; what chance makes is dropped."""
    moved, error = _line_medians(residual, known)
    total = lines.offsets + moved
    total[np.abs(total) <= _OFFSET_SIGMAS * error] = 0.0
    return Lines(total, error)


def _calm(
    values: NDArray[np.float32], usable: NDArray[np.bool_], rows: int, cols: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Voxels like their four neighbours, and a first guess of the noise: where the first fit begins."""
    calm = np.empty(values.shape, bool)
    noise = np.empty(values.shape[1])

    def look(run: slice) -> None:
        planes, shown = planes_of(values, run), planes_of(usable, run)
        like = np.empty(shown.shape, bool)
        for place, (plane, known) in enumerate(zip(planes, shown, strict=True)):
            filled = np.where(known, plane, np.median(plane[known]) if known.any() else 0.0).reshape(rows, cols)
            wide = np.pad(filled, 1, mode="reflect" if min(rows, cols) > 1 else "edge")
            four = ascending([wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]])
            apart = np.abs(filled - (four[1] + four[2]) / 2).ravel()
            sigma = 1e-4
            if known.any():
                sigma += 1.1 * MAD_TO_SIGMA * float(np.median(apart[known]))
            noise[run.start + place] = sigma
            like[place] = apart < _FIRST_OUTLIER * noise[run.start + place]
        put(calm, run, like)

    done(side_by_side(look, runs(values.shape[1])))
    return calm, noise


def _line_medians(
    residual: NDArray[np.float32], known: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Median of each line beyond that of the band, ``(line, band)``, and its standard error, ``(band,)``.

    Lines that show fewer than half of their voxels are not judged.

    Args:
        residual: ``(place, line, band)``.
        known: the same shape.
    """
    places, lines, bands = residual.shape
    middle = np.zeros((lines, bands), np.float32)
    error = np.full(bands, np.inf)

    def look(run: slice) -> None:
        for band, rest, shown in zip(range(bands)[run], _lines_of(residual, run), _lines_of(known, run), strict=True):
            enough = shown.mean(1) > 0.5
            if enough.sum() < 3 or places < 8:
                continue
            told = np.where(shown, rest, np.nan)[enough]
            medians = _medians(told)
            apart = np.abs(told - medians[:, None])[shown[enough]]
            error[band] = MAD_TO_SIGMA * _MEDIAN_LOSS * float(np.median(apart)) / np.sqrt(places)
            middle[enough, band] = medians - np.median(medians)

    done(side_by_side(look, runs(bands)))
    return middle, error


def _lines_of(table: NDArray[A], run: slice) -> NDArray[A]:
    """Some bands of ``(place, line, band)``, a copy: ``(band, line, place)``."""
    out = np.empty((len(range(*run.indices(table.shape[2]))), table.shape[1], table.shape[0]), table.dtype)
    for line in range(table.shape[1]):
        out[:, line] = table[:, line, run].T
    return out


def _medians(lines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of each line ``(line, place)``, what is NaN left out; every line has a number."""
    ordered = np.sort(lines, axis=1)  # what is NaN comes last
    count = lines.shape[1] - np.isnan(ordered).sum(1)
    every = np.arange(len(lines))
    low, high = ordered[every, (count - 1) // 2], ordered[every, count // 2]
    return np.asarray((low + high) / 2)
