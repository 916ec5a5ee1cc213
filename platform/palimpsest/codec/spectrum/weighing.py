"""An importance map as the codec uses it: a metric along the spectrum for level 0, one gain a block for the rest.

What hangs on a direction along the spectrum is no reason to keep its noise: where something hangs on it, a weight stops
where the error that it asks for would be finer than the noise, and the bits go to the other directions. What nothing
hangs on may keep its noise: there it does no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.quantisation.quantiser import BLOCK, GAIN_STEPS, NEUTRAL
from palimpsest.cubes.window import tiles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from palimpsest.codec.spectrum.spectral import Statistics
    from palimpsest.cubes import ImportanceMap, Window

    Block = tuple[NDArray[np.int64], NDArray[np.bool_]]

NOISE_KEPT = 0.9  # of a direction's noise, the least error that importance may ask for
HOLD = 0.95  # power: below 1, so that a finer step is felt everywhere in the end and every rate can be reached
HELD = 1e5  # times finer in the square, from where on nothing is held: what nothing hangs on has long taken its share
HANGS = 2.3  # times the weight of what nothing hangs on, from where on something does
LEAST_NOISE = 1e-3  # of the largest noise of a band, where it is not certain that there is any
FEWEST_PIXELS = 5  # a band, to tell noise from what is merely rare
LEAST_ALIKE, MOST_ALIKE = 0.05, 0.08  # correlation of neighbours in what other bands leave: all noise, none at all
NOISE_SIDE, NOISE_BLOCKS = 48, 16  # pixels aside, and about how many windows of them
_RIDGE = 1e-10


def band_weights(importance: ImportanceMap) -> NDArray[np.float64]:
    """One weight a band: the root of the mean over pixels of the squared profiles, mean square 1."""
    counts = np.bincount(importance.index.ravel(), minlength=len(importance.profiles))
    mean_square = (importance.profiles**2 * counts[:, None]).sum(axis=0) / counts.sum()
    weights: NDArray[np.float64] = np.sqrt(mean_square / mean_square.mean())
    return weights


@dataclass(frozen=True, slots=True)
class BandWeights:
    """What an error along the spectrum weighs, and where the bands' own noise begins.

    Args:
        asked: metric by importance alone, ``(band, band)``, mean of the diagonal 1; None where all bands weigh alike.
        floor: of its diagonal, what nothing hangs on, ``(band,)``.
        noise: standard deviation of each band's noise, integer units, ``(band,)``; 0 where none is certain.
    """

    asked: NDArray[np.float64] | None
    floor: NDArray[np.float64]
    noise: NDArray[np.float64]

    @classmethod
    def of(
        cls, importance: ImportanceMap | None, statistics: Statistics, blocks: Iterable[Block]
    ) -> BandWeights:
        """Of a map, None being uniform; ``blocks`` are looked at only where something is weighed."""
        bands = len(statistics.mean)
        if importance is None:
            return cls(None, np.ones(bands), np.zeros(bands))
        noise = band_noise(statistics, blocks)
        if importance.metric is not None and importance.floor is not None:
            return cls(importance.metric, importance.floor, noise)
        square = band_weights(importance) ** 2
        return cls(np.diag(square), np.full(bands, square.min()), noise)

    @classmethod
    def by_size(cls, sizes: NDArray[np.float64]) -> BandWeights:
        """Where a band's errors may be of a size of their own, ``(band,)``: the smaller, the heavier."""
        square = 1 / sizes**2
        floor = square / square.mean()
        return cls(np.diag(floor), floor, np.zeros(len(sizes)))

    def weighed(self, covariance: NDArray[np.float64]) -> NDArray[np.float64]:
        """A covariance as it is after weighing by importance alone, ``(band, band)``."""
        if self.asked is None:
            return covariance
        values, vectors = np.linalg.eigh(self.asked)
        root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
        return np.asarray(root @ covariance @ root)

    def at(self, step: float) -> tuple[NDArray[np.float64], float]:
        """Weights that ask for hardly finer an error than the noise of what something hangs on.

        Args:
            step: of the quantiser, weighted units; its error is uniform, so a direction's of weight 1 is
                ``step / sqrt(12)``.

        Returns:
            Weights, ``(band,)``, or a metric, ``(band, band)``; and the step. Both come times one factor, so that small
            weights are sent well.
        """
        if self.asked is None:
            return np.ones(len(self.noise)), step
        if not self.noise.any():
            return self.asked, step
        noise = np.maximum(self.noise, LEAST_NOISE * self.noise.max())
        whitened, vectors = np.linalg.eigh(self.asked * np.outer(noise, noise))
        even = (self.floor * noise**2) @ vectors**2
        limit = step**2 / (12 * NOISE_KEPT**2)
        finer = whitened / limit
        hold = (whitened > HANGS * even) & (finer > 1)
        if not hold.any():
            return self.asked, step
        slow = np.where(finer < HELD, np.maximum(finer, 1.0) ** (1 - HOLD), HELD ** (1 - HOLD) * finer / HELD)
        held = (vectors * np.where(hold, limit * slow, whitened)) @ vectors.T / np.outer(noise, noise)
        factor = len(held) / float(np.trace(held))
        return (held + held.T) * (factor / 2), step * float(np.sqrt(factor))


def looked_at(rows: int, cols: int) -> list[Window]:
    """Small windows spread over a cube: what noise is told by."""
    places = list(tiles(rows, cols, NOISE_SIDE))
    return places[:: max(1, len(places) // NOISE_BLOCKS)]


def band_noise(statistics: Statistics, blocks: Iterable[Block]) -> NDArray[np.float64]:
    """Standard deviation of what is noise in each band for certain, integer units, ``(band,)``.

    That is what neither the other bands nor the neighbouring pixels know of: a band's regression on the others leaves
    its noise and what it alone says of the ground, and the ground goes on next door. 0 where pixels are too few.

    Args:
        statistics: of all usable spectra.
        blocks: pieces of the cube and which of their voxels are void, each ``(band, row, col)``.

    Source of the regression: Bioucas-Dias, Nascimento 2008, IEEE TGRS 46, 2435-2445, section II-A.
    """
    bands = len(statistics.mean)
    noise = np.zeros(bands)
    spread = np.sqrt(np.diag(statistics.covariance))
    alive = np.flatnonzero(spread > 0)
    if statistics.count < FEWEST_PIXELS * bands or alive.size < 2:
        return noise
    spread = spread[alive]
    scaled = statistics.covariance[np.ix_(alive, alive)] / np.outer(spread, spread)
    inverse = np.linalg.inv(scaled + _RIDGE * np.eye(alive.size))
    square, beside, pairs = np.zeros(alive.size), np.zeros(alive.size), 0
    for values, void in blocks:
        complete = ~np.logical_or.reduce(void[alive], axis=0)
        centred = (values[alive].reshape(alive.size, -1) - statistics.mean[alive, None]) / spread[:, None]
        left = (inverse @ centred).reshape(alive.size, *complete.shape) * complete
        for one, other in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
            both = complete[one] & complete[other]
            beside += (left[:, *one] * left[:, *other]).sum(axis=(1, 2))
            square += ((left[:, *one] ** 2 + left[:, *other] ** 2) / 2 * both).sum(axis=(1, 2))
            pairs += int(both.sum())
    if pairs < FEWEST_PIXELS * bands:
        return noise
    alike = beside / np.maximum(square, 1e-300)
    freedom = statistics.count / (statistics.count - alive.size)
    certain = np.clip((MOST_ALIKE - alike) / (MOST_ALIKE - LEAST_ALIKE), 0, 1)
    noise[alive] = spread * np.sqrt(np.clip(freedom / np.diag(inverse), 0, 1)) * certain
    return noise


def gain_steps(importance: ImportanceMap, window: Window) -> NDArray[np.uint8] | None:
    """Importance of each block in half octaves about neutral; None where all are neutral."""
    gain = importance.gain[window.slices].astype(np.float64)
    rows, cols = gain.shape
    padded = np.pad(gain, ((0, -rows % BLOCK), (0, -cols % BLOCK)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // BLOCK, BLOCK, padded.shape[1] // BLOCK, BLOCK)
    steps = np.rint(np.log2((blocks**2).mean(axis=(1, 3))) + NEUTRAL)  # log2 of a square counts half octaves
    limited = np.clip(steps, 0, GAIN_STEPS - 1).astype(np.uint8)
    return None if (limited == NEUTRAL).all() else limited
