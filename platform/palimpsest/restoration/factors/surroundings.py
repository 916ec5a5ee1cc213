"""What a scene's factors leave over, and neighbours share: the part of a voxel that only space knows.

A prediction from the pixel's own bands misses what is peculiar to a place in single bands. Where the neighbours show
the band, their leave-one-out residuals tell of it: the mean over the four nearest and that over the four diagonal
ones, each band with its own two slopes, fitted on voxels whose truth is there and shrunk by what chance would fit.

Source: simple kriging with an external drift, as in Chiles and Delfiner 2012, section 3.4; here with two distances.
Shrinkage after James and Stein 1961 (positive part).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.factors.band_prior import held_by_neighbours
from palimpsest.restoration.factors.factor_count import fit_scene_factors
from palimpsest.restoration.factors.low_rank import LowRank, left_out
from palimpsest.restoration.view import view_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.restoration.view import Axis

SAMPLE = 12_000
CENTRES = 3000
_RINGS = (((-1, 0), (1, 0), (0, -1), (0, 1)), ((-1, -1), (-1, 1), (1, -1), (1, 1)))
_SHY = 1.0  # neighbours that are assumed to say nothing: one alone is not believed as four are
_RIDGE = 3e-3


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A scene whose pixels can be asked for what their neighbours leave over.

    Args:
        cube: the scene.
        reasons: why voxels are not to be believed, ``(band, row, col)``.
        axis: the band axis.
        unit: stored units of one.
        slopes: of the rings, ``(band, ring)``.
    """

    cube: Cube
    reasons: NDArray[np.uint8]
    axis: Axis
    unit: float
    slopes: NDArray[np.float32]

    def left_over(self, model: LowRank, pixels: NDArray[np.int64]) -> NDArray[np.float32]:
        """What to add to the prediction of some pixels, ``(pixel, band)``."""
        out = np.zeros((len(pixels), self.axis.count), np.float32)
        if self.slopes.any() and len(pixels):
            for slope, ring in zip(self.slopes.T, self._rings(model, pixels)[0], strict=True):
                out += slope * ring
        return out

    def fitted(self, model: LowRank, pixels: NDArray[np.int64]) -> Surroundings:
        """With slopes regressed on voxels of some pixels that are there."""
        rings, own, shown = self._rings(model, pixels)
        slopes = np.zeros((self.axis.count, len(rings)), np.float32)
        for band in np.flatnonzero(shown.sum(0) > CENTRES // 50):
            here = shown[:, band]
            told = np.stack([ring[here, band] for ring in rings], 1).astype(np.float64)
            gram = told.T @ told
            ridge = _RIDGE * np.trace(gram) / len(rings) + 1e-12
            shared = told.T @ own[here, band]
            slope = np.linalg.solve(gram + ridge * np.eye(len(rings)), shared)
            strength = float(slope @ shared) / max(float(np.square(own[here, band]).mean()), 1e-30)
            slopes[band] = slope * max(0.0, 1 - len(rings) / max(strength, 1e-30))  # chance explains one a slope
        return replace(self, slopes=slopes)

    def _rings(
        self, model: LowRank, pixels: NDArray[np.int64]
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.float32], NDArray[np.bool_]]:
        """Means of the residuals around each pixel, its own residuals, and which of them are of voxels that are there.

        Each ``(pixel, band)``.
        """
        _, rows, cols = self.cube.shape
        row, col = np.divmod(pixels, cols)
        steps = [step for ring in _RINGS for step in ring]
        inside = {(down, right): (row + down >= 0) & (row + down < rows) & (col + right >= 0) & (col + right < cols)
                  for down, right in steps}
        around = {step: pixels + step[0] * cols + step[1] for step in steps}
        asked = np.unique(np.concatenate([pixels, *(around[step][inside[step]] for step in steps)]))
        view = view_of(self.cube, self.reasons, self.axis, asked, self.unit)
        shown = view.usable & model.known
        residual = np.where(shown, left_out(model, view.values, shown)[0], np.float32(0))
        rings = []
        for ring in _RINGS:
            total = np.zeros((len(pixels), self.axis.count), np.float32)
            number = np.zeros_like(total)
            for step in ring:
                there = np.flatnonzero(inside[step])
                place = np.searchsorted(asked, around[step][there])
                total[there] += residual[place]
                number[there] += shown[place]
            rings.append(total / (number + np.float32(_SHY)))
        own = np.searchsorted(asked, pixels)
        return rings, residual[own], shown[own]


def fit_scene(
    cube: Cube, reasons: NDArray[np.uint8], axis: Axis, unit: float, pixels: NDArray[np.int64],
    noise: NDArray[np.float64], seed: int = 0,
) -> LowRank | None:
    """A scene's own factors, with what neighbours add; None where there are too few pixels or bands for any.

    Args:
        cube: the scene.
        reasons: why voxels are not to be believed, ``(band, row, col)``.
        axis: the band axis.
        unit: stored units of one.
        pixels: that may be learnt from: flat indices, ascending.
        noise: standard deviation per ascending band to begin with, scaled.
        seed: of the sample.
    """
    rng = np.random.default_rng([seed, 1])
    picked = pixels if len(pixels) <= SAMPLE else np.sort(rng.choice(pixels, SAMPLE, replace=False))
    sample = view_of(cube, reasons, axis, picked, unit)
    model = fit_scene_factors(sample, noise)
    if model is None:
        return None
    model = held_by_neighbours(model, sample.values, sample.usable)
    centres = picked if len(picked) <= CENTRES else np.sort(rng.choice(picked, CENTRES, replace=False))
    bare = Surroundings(cube, reasons, axis, unit, np.zeros((axis.count, len(_RINGS)), np.float32))
    return replace(model, around=bare.fitted(model, centres))
