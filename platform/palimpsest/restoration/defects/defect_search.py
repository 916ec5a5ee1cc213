"""Defects that nobody marked, found by what a pixel's other bands say.

The one idea: ground is common to neighbouring bands or to neighbouring pixels, a detector's fault to neither. A voxel's
residual from the scene's factors (:mod:`~palimpsest.restoration.factors.robust_factors`) is held against zero, against
the residuals of the bands around it and against those of the pixels around it; only what all three call odd is a fault.
Impulses come in bands that are ill: in a band with many, weaker ones are believed too, and a number that repeats where
nothing else does is one whatever the noise (:mod:`~palimpsest.restoration.defects.stuck_values`). A column or row that
differs by a constant over its whole length is a stripe: its offset is known far better than any of its voxels, so that
taking the offset off can be worth more than replacing them.

Dead lines, saturation and bands without signal are exact in the stored values: :mod:`palimpsest.cubes.defects` finds
those, and everything in scenes too small for factors. Nothing here overrules a reason that is known already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import Reason
from palimpsest.cubes.defects import Defects, exact_defects, find_defects
from palimpsest.cubes.noise import MAD_TO_SIGMA
from palimpsest.cubes.preprocess import mark_defects
from palimpsest.restoration.computing.one_thread import one_thread
from palimpsest.restoration.computing.planes import planes_of, runs
from palimpsest.restoration.computing.ranks import ascending, ring_median
from palimpsest.restoration.computing.side_by_side import done, side_by_side
from palimpsest.restoration.defects.stuck_values import stuck
from palimpsest.restoration.factors.robust_factors import Lines, fit_robust, whole_view
from palimpsest.restoration.view import ACCEPTED, Axis, unit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.restoration.factors.low_rank import LowRank

SMALLEST_SIDE = 8
FEWEST_BANDS = 12
_SURE, _LIKELY = 6.0, 3.7  # sigmas of an impulse in a sound band, and in an ill one
ILL = 2e-3  # share of sure impulses that makes a band ill
_LEAST = 0.04  # of a bright value: a smaller difference is nothing that needs mending
_STRIPE_SIGMAS = 4.5
_STRIPE_LEAST = 0.03
_NEAR = 2  # bands, or lines, on either side
_CROWD = 4.0  # standard deviations of a count
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Args:
        cube: the same values; band table and mask name the defects, but for the stripes in ``offsets``.
        offsets: of columns that a constant was added to, stored units, ``(band, col)``; 0 where none.
        row_offsets: of rows, ``(band, row)``.
        error: standard deviation of a voxel whose offset was taken off, its own noise included, ``(band,)``.
        is_noisy: bands whose own noise is larger than the error of predicting them from other bands: there marking
            serves better than taking the offset off, unless noise is taken off too, ``(band,)``.
        model: the factors that were searched with, or None where there were too few voxels for any.
    """

    cube: Cube
    offsets: NDArray[np.float64]
    row_offsets: NDArray[np.float64]
    error: NDArray[np.float64]
    is_noisy: NDArray[np.bool_]
    model: LowRank | None = None

    @property
    def striped(self) -> NDArray[np.bool_]:
        """Bands with a stripe, ``(band,)``."""
        return np.asarray(self.offsets.any(axis=1) | self.row_offsets.any(axis=1))

    def shift(self, band: int) -> NDArray[np.float64]:
        """What stripes added to a band, stored units, ``(row, col)``."""
        return self.row_offsets[band][:, None] + self.offsets[band]

    @classmethod
    def without_stripes(cls, cube: Cube) -> Found:
        """A cube whose defects are all in its mask."""
        bands, rows, cols = cube.shape
        return cls(cube, np.zeros((bands, cols)), np.zeros((bands, rows)), np.zeros(bands), np.zeros(bands, bool))

    def marked(self, *, only_noisy: bool = False) -> Found:
        """The stripes as marked voxels, in all bands or only where marking serves better; their offsets are gone."""
        chosen = self.is_noisy if only_noisy else np.ones_like(self.is_noisy)
        bands = chosen & self.striped
        if not bands.any():
            return self
        voxels = np.zeros(self.cube.shape, np.uint8)
        for band in np.flatnonzero(bands):
            voxels[band][self.shift(int(band)) != 0] = Reason.STRIPE
        voxels[~self.cube.usable()] = Reason.GOOD
        marked = mark_defects(self.cube, Defects(np.zeros(self.cube.shape.bands, np.uint8), voxels))
        left = ~bands[:, None]
        return replace(self, cube=marked, offsets=self.offsets * left, row_offsets=self.row_offsets * left)


@one_thread()
def search(cube: Cube) -> Found:
    """Look for everything in a cube that was read and not decoded.

    Scenes under eight pixels on a side, or with fewer than twelve usable bands, are judged by the contrast of
    neighbouring bands alone.
    """
    marked = mark_defects(cube, exact_defects(cube))
    reasons = _searched(cube, marked)
    usable = np.isin(reasons, ACCEPTED)
    sound = usable.reshape(len(usable), -1).mean(1) > 0.05
    if min(cube.shape[1:]) < SMALLEST_SIDE or sound.sum() < FEWEST_BANDS:
        return Found.without_stripes(mark_defects(cube, find_defects(cube)))
    axis, unit = Axis.of(cube.bands), unit_of(marked, reasons)
    view = whole_view(marked, reasons, axis, unit)
    fitted = fit_robust(view.values, view.usable, *cube.shape[1:])
    if fitted is None:
        return Found.without_stripes(mark_defects(cube, find_defects(cube)))
    residual = fitted.residual.reshape(*cube.shape[1:], -1)
    known = view.usable.reshape(residual.shape) & fitted.model.known
    values = view.values.reshape(residual.shape)
    struck = _struck(values, residual, known)
    voxels = np.zeros(cube.shape, np.uint8)
    voxels[axis.order] = np.where(struck & ~crowded(struck), np.uint8(Reason.IMPULSE), np.uint8(Reason.GOOD))
    marked = mark_defects(marked, Defects(np.zeros(cube.shape.bands, np.uint8), voxels))
    found = Found.without_stripes(marked)
    found.offsets[axis.order] = stripes(fitted.columns).T.astype(np.float64) * unit
    found.row_offsets[axis.order] = stripes(fitted.rows).T.astype(np.float64) * unit
    found.error[axis.order] = np.sqrt(fitted.model.noise + np.square(fitted.columns.error)) * unit
    found.is_noisy[axis.order] = noisier_than_its_prediction(values, residual, known)
    return replace(found, model=fitted.model)


def _searched(cube: Cube, marked: Cube) -> NDArray[np.uint8]:
    """Reasons to search under: a band that was only now found noisy or opaque is searched, unless it is constant."""
    reasons = marked.voxel_reasons()
    newly = cube.bands.good & ~marked.bands.good
    for band in np.flatnonzero(newly & np.isin(marked.bands.reasons, (Reason.NOISY, Reason.OPAQUE))):
        if np.ptp(np.asarray(cube.data[band])) > 0:
            own = reasons[band] == marked.bands.reasons[band]
            reasons[band][own] = Reason.GOOD
    return reasons


def impulses(residual: NDArray[np.float32], known: NDArray[np.bool_], band: int) -> NDArray[np.bool_]:
    """Impulses of one band, ``(row, col)``.

    Args:
        residual: of every voxel, scaled, ``(row, col, band)``.
        known: voxels that were judged, the same shape.
        band: the band.
    """
    plane, seen = residual[:, :, band], known[:, :, band]
    if seen.sum() < SMALLEST_SIDE**2:
        return np.zeros(plane.shape, bool)
    near = [b for b in range(band - _NEAR, band + _NEAR + 1) if b != band and 0 <= b < residual.shape[2]]
    along = ascending([residual[:, :, other] for other in near])
    around = ring_median(np.where(seen, plane, 0))
    odd, sigmas = _all_agree(plane, (_calmer(along), around), seen)
    odd &= np.abs(plane) > _LEAST
    sure = odd & (sigmas > _SURE)
    is_ill = sure.sum() > max(ILL * seen.sum(), 3)
    return odd & seen & (sigmas > (_LIKELY if is_ill else _SURE))


def _struck(
    values: NDArray[np.float32], residual: NDArray[np.float32], known: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Impulses and stuck values of all bands, ``(band, row, col)``; the arguments are ``(row, col, band)``."""
    rows, cols, bands = values.shape
    struck = np.empty((bands, rows, cols), bool)

    def look(run: slice) -> None:
        # Bands lie plane by plane here; those beside the run are asked too.
        wide = slice(max(0, run.start - _NEAR), min(bands, run.stop + _NEAR))
        level = planes_of(values.reshape(-1, bands), run).reshape(-1, rows, cols)
        rest = np.moveaxis(planes_of(residual.reshape(-1, bands), wide).reshape(-1, rows, cols), 0, 2)
        shown = np.moveaxis(planes_of(known.reshape(-1, bands), wide).reshape(-1, rows, cols), 0, 2)
        for band in range(run.start, run.stop):
            at = band - wide.start
            found = _stuck(level[band - run.start], rest[:, :, at], shown[:, :, at])
            struck[band] = impulses(rest, shown, at) | found

    done(side_by_side(look, runs(bands)))
    return struck


def _stuck(
    values: NDArray[np.float32], plane: NDArray[np.float32], seen: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    if seen.sum() < SMALLEST_SIDE**2:
        return np.zeros(plane.shape, bool)
    return stuck(values, seen, plane, max(MAD_TO_SIGMA * float(np.median(np.abs(plane[seen]))), _TINY))


def crowded(struck: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels that are struck in more bands than chance shares out, ``(row, col)``: things unlike the rest of the scene.

    Args:
        struck: ``(band, row, col)``.
    """
    count = struck.sum(axis=0)
    usual = float(np.minimum(count, np.percentile(count, 95)).mean())
    return count > usual + _CROWD * np.sqrt(usual) + 2


def _all_agree(
    plane: NDArray[np.float32], others: tuple[NDArray[np.floating], ...], seen: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
    """Where a residual, alone and against each of the others, has one sign and is large; and by how many sigmas."""
    sign = np.sign(plane)
    odd = np.ones(plane.shape, bool)
    sigmas = np.full(plane.shape, np.inf)
    for against in (np.zeros_like(plane), *others):
        apart = sign * (plane - against)
        odd &= apart > _LEAST
        scale = MAD_TO_SIGMA * float(np.median(np.abs(apart[seen])))
        sigmas = np.minimum(sigmas, apart / max(scale, _TINY))
    return odd, sigmas


def _calmer(ordered: Sequence[NDArray[np.floating]]) -> NDArray[np.floating]:
    """What three quarters of the neighbours, in ascending order, share in sign and at least in size; else 0.

    Some of the neighbours may be struck themselves: they must not make this one pass for ground.
    """
    low, high = ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4]
    return np.where(low > 0, low, np.where(high < 0, high, 0.0))


def stripes(lines: Lines) -> NDArray[np.float32]:
    """Offsets of lines that are a detector's and not the ground's, scaled, ``(line, band)``; 0 elsewhere."""
    offsets = lines.offsets
    sure = np.abs(offsets) > np.maximum(_STRIPE_LEAST, _STRIPE_SIGMAS * lines.error)
    for axis in (0, 1):
        wide = np.pad(offsets, [(_NEAR, _NEAR) if k == axis else (0, 0) for k in (0, 1)])
        beside = [np.roll(wide, shift, axis) for shift in range(-_NEAR, _NEAR + 1) if shift]
        inner = tuple(slice(_NEAR, -_NEAR) if k == axis else slice(None) for k in (0, 1))
        common = _calmer(ascending(beside))[inner]
        apart = np.sign(offsets) * (offsets - common)
        sure &= apart > np.maximum(_STRIPE_LEAST, 0.5 * np.abs(offsets))
    return np.where(sure, offsets, np.float32(0))


def noisier_than_its_prediction(
    values: NDArray[np.float32], residual: NDArray[np.float32], known: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Bands whose own noise makes more than half of the variance of the leave-one-out residual, ``(band,)``.

    The noise is taken from second differences over squares of four pixels, all ``(row, col, band)``.
    """
    rows, cols, bands = values.shape
    noisy = np.zeros(bands, bool)

    def look(run: slice) -> None:
        tables = values, residual, known
        planes = (planes_of(table.reshape(-1, bands), run).reshape(-1, rows, cols) for table in tables)
        for band, plane, rest, seen in zip(range(bands)[run], *planes, strict=True):
            whole = seen[:-1, :-1] & seen[1:, :-1] & seen[:-1, 1:] & seen[1:, 1:]
            if whole.any():
                twist = 0.5 * (plane[:-1, :-1] - plane[1:, :-1] - plane[:-1, 1:] + plane[1:, 1:])[whole]
                noise, apart = float(np.median(np.abs(twist))), float(np.median(np.abs(rest[seen])))
                noisy[band] = noise**2 > 0.5 * apart**2

    done(side_by_side(look, runs(bands)))
    return noisy
