"""A cube as the sources see it: pixels by ascending bands, scaled so that a bright pixel is one, with its mask.

Sources never touch stored units or stored order: a view carries both ways back. Voxels that overlap between detectors
or that the mission filled itself are evidence like any other; every other reason makes a voxel damaged. Opaque windows
and noisy bands are not believed, but what was stored there stays unless their inference is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import Reason
from palimpsest.errors import CubeRefused

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes import BandTable, Cube

ACCEPTED = (Reason.GOOD, Reason.OVERLAP, Reason.INTERPOLATED)
HIDDEN = (Reason.CLOUD,)  # measured, and not of the ground: neither evidence nor ever replaced
LEFT_ALONE = (Reason.OPAQUE, Reason.NOISY, *HIDDEN)  # no evidence, and no loss either: inferred only when asked for
FEWEST_BANDS = 4
BRIGHT_PERCENTILE = 99.9
_FEWEST_TO_BE_MUTE, _NEARLY_ALL = 16, 0.98  # pixels that show a band, and the share of them with one value


@dataclass(frozen=True, slots=True)
class Axis:
    """The band axis in ascending order of wavelength (stored order where none is known).

    Args:
        order: stored band of each ascending one, ``(band,)``.
        along: strictly increasing coordinate for interpolation, ``(band,)``: nm, or band numbers.
        centre_nm: ascending centres, ``(band,)``, or None.
        fwhm_nm: their widths, or None.
    """

    order: NDArray[np.intp]
    along: NDArray[np.float64]
    centre_nm: NDArray[np.float64] | None
    fwhm_nm: NDArray[np.float64] | None

    @property
    def count(self) -> int:
        """Number of bands."""
        return int(self.order.size)

    @classmethod
    def of(cls, bands: BandTable) -> Axis:
        """The axis of a band table."""
        order = bands.ascending()
        if bands.centre_nm is None:
            return cls(order, np.arange(bands.count, dtype=float), None, None)
        widths = bands.with_assumed_fwhm().fwhm_nm
        centre = bands.centre_nm[order]
        steps = np.diff(centre)
        # Overlapping detectors put two bands almost at one place; their calibration differs, so that a slope between
        # them would be noise. Steps of less than half the usual one count as usual, which keeps interpolation calm.
        usual = max(float(np.median(steps)) if steps.size else 1.0, 1e-3)
        along = centre[0] + np.concatenate([[0.0], np.cumsum(np.where(steps < usual / 2, usual, steps))])
        return cls(order, along, centre, None if widths is None else widths[order])


@dataclass(frozen=True, slots=True)
class View:
    """Some pixels of a cube.

    Args:
        axis: the band axis.
        pixels: flat indices of the pixels into ``(row, col)``, ``(pixel,)``.
        values: ``(pixel, band)`` float32, scaled; 0 where not usable.
        usable: ``(pixel, band)``.
        unit: stored units of one.
    """

    axis: Axis
    pixels: NDArray[np.int64]
    values: NDArray[np.float32]
    usable: NDArray[np.bool_]
    unit: float

    def rows(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> View:
        """The view of a subset of its pixels."""
        return View(self.axis, self.pixels[index], self.values[index], self.usable[index], self.unit)

    def hiding(self, hidden: NDArray[np.bool_]) -> View:
        """The same pixels with the voxels of ``hidden`` ``(pixel, band)`` taken away."""
        usable = self.usable & ~hidden
        return View(self.axis, self.pixels, np.where(usable, self.values, np.float32(0)), usable, self.unit)


def view_of(
    cube: Cube, reasons: NDArray[np.uint8], axis: Axis, pixels: NDArray[np.int64], unit: float
) -> View:
    """The view of ``pixels`` of a cube under ``reasons`` ``(band, row, col)``."""
    bands = cube.shape.bands
    flat = cube.data.reshape(bands, -1)
    usable = np.isin(reasons.reshape(bands, -1)[:, pixels], ACCEPTED)[axis.order].T
    values = np.asarray(flat[:, pixels])[axis.order].T.astype(np.float64) / unit
    return View(axis, pixels, np.where(usable, values, 0.0).astype(np.float32), np.ascontiguousarray(usable), unit)


def to_repair(reasons: NDArray[np.uint8], *, infer_opaque: bool = False) -> NDArray[np.bool_]:
    """Voxels that a restoration is to change, of the shape of ``reasons``."""
    kept = (*ACCEPTED, *HIDDEN) if infer_opaque else (*ACCEPTED, *LEFT_ALONE)
    return ~np.isin(reasons, kept)


def unit_of(cube: Cube, reasons: NDArray[np.uint8]) -> float:
    """Stored units of 'bright': the 99.9th percentile of at most a million usable voxels.

    Raises:
        CubeRefused: no usable voxel at all.
    """
    stride = max(1, cube.shape.voxels // 1_000_000)
    values = np.asarray(cube.data.reshape(-1)[::stride])
    values = values[np.isin(reasons.reshape(-1)[::stride], ACCEPTED)]
    if not values.size:
        values = np.asarray(cube.data)[np.isin(reasons, ACCEPTED)]
    if not values.size:
        raise CubeRefused("nothing to restore from: no voxel is usable", where=cube.name)
    bright = float(np.percentile(np.abs(values.astype(np.float64)), BRIGHT_PERCENTILE))
    return bright if bright > 0 else 1.0


def repairable(usable_bands: NDArray[np.int64], bands: int) -> NDArray[np.bool_]:
    """Pixels with enough of a spectrum left to restore the rest from, by their number of usable bands.

    Pixels outside the swath have none: they stay what they are.
    """
    return usable_bands >= min(max(FEWEST_BANDS, bands // 20), max(1, bands - 1))


def noise_per_band(cube: Cube, reasons: NDArray[np.uint8], axis: Axis, unit: float) -> NDArray[np.float64]:
    """Standard deviation of the noise of each ascending band, scaled, ``(band,)``.

    From second differences over squares of four usable pixels (their median absolute deviation), which edges of fields
    hardly touch. A band without such a square gets the median of the others.
    """
    sigma = np.full(axis.count, np.nan)
    for place, band in enumerate(axis.order):
        good = np.isin(reasons[band], ACCEPTED)
        whole = good[:-1, :-1] & good[1:, :-1] & good[:-1, 1:] & good[1:, 1:]
        if whole.sum() < 16:
            continue
        plane = np.asarray(cube.data[band]).astype(np.float64) / unit
        plane = np.where(good, plane, 0.0)
        twist = 0.5 * (plane[:-1, :-1] - plane[1:, :-1] - plane[:-1, 1:] + plane[1:, 1:])[whole]
        sigma[place] = 1.4826 * float(np.median(np.abs(twist)))
    known = np.isfinite(sigma)
    sigma[~known] = float(np.median(sigma[known])) if known.any() else 1e-2
    return np.maximum(sigma, 1e-5)


def mute_bands(sample: View, lost: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bands that hold a fill and no measurement, ``(band,)``.

    A processor that writes zeros, or any other number, where the air is opaque often says so nowhere. A band in which
    nearly every pixel holds the same value tells nothing of the ground or of other bands; nor does a lost one between
    two such. Nothing is mute where too few pixels are seen, or where a scene is all of one value.

    Args:
        sample: pixels of the scene.
        lost: bands that hardly any pixel shows, ``(band,)``.
    """
    mute = np.zeros(lost.size, bool)
    for band in np.flatnonzero(~lost):
        values = sample.values[sample.usable[:, band], band]
        mute[band] = values.size >= _FEWEST_TO_BE_MUTE and bool((values == np.median(values)).mean() >= _NEARLY_ALL)
    shown = np.flatnonzero(~lost)
    if not shown.size or mute[shown].all():
        return np.zeros(lost.size, bool)
    hidden = np.flatnonzero(lost)
    after = np.searchsorted(shown, hidden)
    mute[hidden] = mute[shown[np.maximum(after - 1, 0)]] & mute[shown[np.minimum(after, shown.size - 1)]]
    return mute
