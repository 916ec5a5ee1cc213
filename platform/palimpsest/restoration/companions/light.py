"""Two dates of one place differ by light and air: a gain per band, and a smooth ratio for each pixel.

The gain of a band is learned where both cubes measured it. Across bands that one of them lost it is carried by a few
smooth shapes (robustly: bands at the rim of an opaque window are badly calibrated), and what carrying costs is
measured by carrying it across bands beside, whose gain is known. Each pixel has its own slope towards the sun and its
own sky: a ratio of low order. Water vapour is the gas that changes from hour to hour: its windows are a shape of
their own, and how much of it a pixel has differs little from its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from palimpsest.restoration.library import illumination

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import SpectralWindow
    from palimpsest.restoration.view import Axis, View

FEWEST_PAIRS = 30
FEWEST_BANDS = 8  # a pixel that both saw in fewer keeps its light: one noisy band must not rescale it
LATTICE_PIXELS = 4096
# How far a pixel's light may bend from the mean: level, slope, curve, haze, vapour; standard deviations.
_BEND = (0.3, 0.2, 0.2, 0.05, 0.2)
_RATIO = (0.4, 2.5)
_RIDGE = (0.0, 1e-4, 3e-4, 3e-4, 3e-4, 1e-4)  # of the gain's shapes: level, slope, curve, cubic, haze, vapour
_ROUNDS = 12
_HUBER = 1.5
_AIRY = 6.0  # bands in gas windows are calibrated that much worse, per unit of depth
_AIRY_LOST = 8.0
_SMOOTH = 1.0  # lattice steps
_WORST = 0.3  # of a gain carried where nothing could be tried


def air_shapes(axis: Axis, windows: Sequence[SpectralWindow]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Haze and depth of water vapour at the bands, both ``(band,)``; zeros without wavelengths.

    The vapour is that of the release's windows whose label says water; the others hardly change between dates.
    """
    if axis.centre_nm is None:
        return np.zeros(axis.count), np.zeros(axis.count)
    wet = [window for window in windows if "water" in window.label]
    shape = illumination.shapes(axis.centre_nm, wet)
    return shape[:, 3], -shape[:, 2]


def carried_gain(
    axis: Axis, gain: NDArray[np.float64], learned: NDArray[np.bool_], haze: NDArray[np.float64],
    vapour: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gains of all bands, and the relative error to expect where they were carried, both ``(band,)``.

    Args:
        axis: the band axis.
        gain: learned gains, ``(band,)``; read where ``learned``.
        learned: bands with a gain, ``(band,)``, one at least.
        haze: from :func:`air_shapes`.
        vapour: from :func:`air_shapes`.
    """
    x = np.linspace(-1, 1, axis.count)
    shapes = np.stack([np.ones_like(x), x, x**2, x**3, haze, vapour], 1)
    log_gain = np.where(learned, np.log(np.where(learned, gain, 1.0)), 0.0)
    smooth = _smooth(shapes, log_gain, learned, vapour)
    doubt = np.zeros(axis.count)
    lost = ~learned
    edges = np.flatnonzero(np.diff(np.concatenate([[False], lost, [False]]).astype(np.int8)))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        doubt[first:last] = _carrying_error(shapes, log_gain, learned, vapour, (int(first), int(last)))
    # A gas band that was lost had its calibration error too, and a pixel's vapour is known from weaker bands only.
    doubt = np.where(lost, doubt * np.sqrt(1 + (_AIRY_LOST * vapour) ** 2), 0.0)
    return np.exp(np.where(learned, log_gain, smooth)), doubt


def _carrying_error(
    shapes: NDArray[np.float64], log_gain: NDArray[np.float64], learned: NDArray[np.bool_],
    vapour: NDArray[np.float64], run: tuple[int, int],
) -> float:
    """Relative error of a gain carried across as many bands beside the run, in clear bands."""
    first, last = run
    width = last - first
    found = []
    for start in (first - width, first - width // 2, last - width // 2, last):
        hidden = np.zeros_like(learned)
        hidden[max(start, 0) : max(start + width, 0)] = True
        hidden &= learned
        left = learned & ~hidden
        if hidden.sum() < max(1, width // 3) or left.sum() < 2 * shapes.shape[1]:
            continue
        apart = (log_gain - _smooth(shapes, log_gain, left, vapour))[hidden]
        found.append(np.sqrt((apart**2 / (1 + (_AIRY * vapour[hidden]) ** 2)).mean()))
    return float(np.mean(found)) if found else _WORST


def _smooth(
    shapes: NDArray[np.float64], log_gain: NDArray[np.float64], learned: NDArray[np.bool_],
    vapour: NDArray[np.float64],
) -> NDArray[np.float64]:
    design, wanted = shapes[learned], log_gain[learned]
    calm = 1 / (1 + (_AIRY * vapour[learned]) ** 2)
    weight = calm.copy()
    scale: NDArray[np.float64] = np.zeros(shapes.shape[1])
    for _ in range(_ROUNDS):
        normal = (design * weight[:, None]).T @ design + np.diag(np.asarray(_RIDGE) * weight.sum() + 1e-9)
        scale = np.asarray(np.linalg.solve(normal, (design * weight[:, None]).T @ wanted), np.float64)
        rest = np.abs(wanted - design @ scale) * np.sqrt(calm)
        usual = 1.4826 * float(np.median(rest)) + 1e-6
        weight = calm * np.minimum(1.0, _HUBER * usual / np.maximum(rest, 1e-9))
    return np.asarray(shapes @ scale)


@dataclass(frozen=True, slots=True)
class Light:
    """What brings one cube's values into another's light.

    Args:
        gain: its value times this is ours, ``(band,)``.
        doubt: relative error to expect of gains that were carried, ``(band,)``; 0 where they were learned.
        variance: of what is left after the gain, ``(band,)``.
        shapes: of a pixel's ratio: level, slope, curve, haze, vapour, ``(band, 5)``.
        vapour: how much more of it our cube has, on a lattice of pixels ``(row, col)``; None: not known yet.
        cols: width of the scene, pixels.
        step: pixels between lattice points.
    """

    gain: NDArray[np.float64]
    doubt: NDArray[np.float64]
    variance: NDArray[np.float64]
    shapes: NDArray[np.float64]
    vapour: NDArray[np.float64] | None = None
    cols: int = 1
    step: int = 1

    def ratio(
        self, values: NDArray[np.float64], usable: NDArray[np.bool_], view: View
    ) -> NDArray[np.float64]:
        """Ratio of our light to theirs beyond the gain, ``(pixel, band)``, from what both saw.

        Args:
            values: theirs times the gain, ``(pixel, band)``.
            usable: where they are usable, ``(pixel, band)``.
            view: ours.
        """
        fixed = self._vapour_at(view.pixels)
        scale, _ = self.fitted(values, usable, view, fixed)
        both = (usable & view.usable).sum(1) >= FEWEST_BANDS
        return np.where(both[:, None], np.clip(scale @ self.shapes.T, *_RATIO), 1.0)

    def fitted(
        self, values: NDArray[np.float64], usable: NDArray[np.bool_], view: View, fixed: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coefficients of the shapes ``(pixel, 5)`` and the precision of the last one ``(pixel,)``.

        Args:
            values: theirs times the gain, ``(pixel, band)``.
            usable: where they are usable, ``(pixel, band)``.
            view: ours.
            fixed: the last coefficient where it is known, ``(pixel,)``.
        """
        weight = (usable & view.usable) / self.variance
        wanted = view.values.astype(np.float64)
        count = self.shapes.shape[1] - (fixed is not None)
        if fixed is not None:
            wanted = wanted - values * (fixed[:, None] * self.shapes[:, -1])
        seen = weight * values
        normal = ((seen * values) @ _outer(self.shapes[:, :count])).reshape(-1, count, count)
        right = (seen * wanted) @ self.shapes[:, :count]
        prior = 1 / np.square(np.asarray(_BEND[:count]))
        right[:, 0] += prior[0]  # the level is one unless the pixel says otherwise
        precision = normal + np.diag(prior)
        scale = np.asarray(np.linalg.solve(precision, right[:, :, None])[:, :, 0], np.float64)
        if fixed is not None:
            return np.concatenate([scale, fixed[:, None]], 1), np.ones(len(scale))
        return scale, precision[:, -1, -1]

    def _vapour_at(self, pixels: NDArray[np.int64]) -> NDArray[np.float64] | None:
        if self.vapour is None:
            return None
        row, col = np.divmod(pixels, self.cols)
        return np.asarray(
            map_coordinates(self.vapour, [row / self.step, col / self.step], order=1, mode="nearest"), np.float64
        )


def lattice(rows: int, cols: int) -> tuple[int, NDArray[np.int64], tuple[int, int]]:
    """Step, flat indices and shape of a lattice of at most about :data:`LATTICE_PIXELS` pixels."""
    step = max(1, int(np.ceil(np.sqrt(rows * cols / LATTICE_PIXELS))))
    row, col = np.arange(0, rows, step), np.arange(0, cols, step)
    return step, (row[:, None] * cols + col).ravel().astype(np.int64), (row.size, col.size)


def smoothed(
    amount: NDArray[np.float64], precision: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """A coefficient on the lattice, smoothed by its precision, ``shape``."""
    weight = precision.reshape(shape) + 1e-9
    total = gaussian_filter(amount.reshape(shape) * weight, _SMOOTH, mode="nearest")
    return np.asarray(total / np.maximum(gaussian_filter(weight, _SMOOTH, mode="nearest"), 1e-12))


def _outer(shapes: NDArray[np.float64]) -> NDArray[np.float64]:
    return (shapes[:, :, None] * shapes[:, None, :]).reshape(len(shapes), -1)
