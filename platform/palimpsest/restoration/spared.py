"""What a few spared pixels tell: a band that hardly any pixel shows is lost, and still not quite.

Too few for statistics of their own, they show how far the judgement was off where they stand. That error is carried to
the other pixels by likeness of spectrum: a Gaussian process over the scene's principal components with a constant,
whose mean is a ridge regression. Even one pixel takes off what all share.

Source: Rasmussen and Williams 2006, sections 2.2 and 2.7 (explicit basis functions, here with a prior of one).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.correlation_decoder import mixture
from palimpsest.restoration.sources import propose
from palimpsest.restoration.view import ACCEPTED, view_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.restoration.study import Study
    from palimpsest.restoration.view import View

MOST_PIXELS = 200
COMPONENTS = 15
DOUBT = 0.3  # of what a pixel shows, over what all share
_FEWEST_JUDGED = 3  # pixels from which on each can be told by the others


@dataclass(frozen=True, slots=True)
class Spared:
    """A correction that spared pixels taught.

    Args:
        told: bands that likeness is measured in, ``(band,)``.
        mean: of the scene there, ``(told band,)``.
        turned: principal components over the first one's standard deviation, ``(told band, component)``.
        constant: correction of all pixels, ``(band,)``; zero in bands that are not spared.
        slope: of each component, ``(component, band)``.
        left: share of the error that is left, by how the pixels tell each other, ``(band,)``; one where too few are.
    """

    told: NDArray[np.bool_]
    mean: NDArray[np.float64]
    turned: NDArray[np.float64]
    constant: NDArray[np.float64]
    slope: NDArray[np.float64]
    left: NDArray[np.float64]

    def correction(self, view: View) -> NDArray[np.float64]:
        """What to add to the judged values of a view, ``(pixel, band)``."""
        return np.asarray(self.constant + self._places(view) @ self.slope)

    def _places(self, view: View) -> NDArray[np.float64]:
        shown = view.usable[:, self.told]
        return np.asarray(np.where(shown, view.values[:, self.told] - self.mean, 0.0) @ self.turned)


def spared_of(cube: Cube, reasons: NDArray[np.uint8], seen: Study, table: NDArray[np.float64]) -> Spared | None:
    """What the few pixels that show otherwise lost bands teach; None where there are none.

    Args:
        cube: the damaged cube.
        reasons: why voxels are not to be believed, ``(band, row, col)``.
        seen: the scene.
        table: the judgement, ``(group, band, source)``.
    """
    lost = seen.sources.everywhere
    usable = np.isin(reasons.reshape(len(reasons), -1), ACCEPTED)[seen.axis.order]
    rare = lost & usable.any(1)
    if not rare.any() or lost.all():
        return None
    pixels = np.flatnonzero(usable[rare].any(0))
    pixels = pixels[:: -(-pixels.size // MOST_PIXELS)]
    view = view_of(cube, reasons, seen.axis, pixels, seen.unit)
    blind = view.hiding(np.tile(lost, (pixels.size, 1)))
    weights = np.moveaxis(table[seen.groups.of(blind)], 2, 0)
    apart = view.values - mixture(propose(seen.sources, blind), weights)
    told = ~lost
    mean, turned = _components(seen.judged, told)
    zeros = np.zeros(lost.size)
    bare = Spared(told, mean, turned, zeros, np.zeros((turned.shape[1], lost.size)), np.ones(lost.size))
    places = np.concatenate([np.ones((pixels.size, 1)), bare._places(view)], 1)
    shown = view.usable & rare
    constant, slope, left = bare.constant.copy(), bare.slope.copy(), bare.left.copy()
    # Bands that the same pixels show are told together.
    _, first, kind = np.unique(shown[:, rare], axis=1, return_index=True, return_inverse=True)
    for number, band in enumerate(np.flatnonzero(rare)[first]):
        bands = np.flatnonzero(rare)[kind.reshape(-1) == number]
        inside = shown[:, band]
        likeness = places[inside] @ places[inside].T
        inverse = np.linalg.inv(likeness + DOUBT * np.eye(int(inside.sum())))
        error = apart[np.ix_(inside, bands)]
        ahead = inverse @ error
        if inside.sum() >= _FEWEST_JUDGED:
            # Each is told by the others, and they are believed as far as that comes true.
            foretold = error - ahead / np.diag(inverse)[:, None]
            worth = float(np.clip((foretold * error).sum() / max(float(np.square(foretold).sum()), 1e-30), 0, 1))
            missed = float(np.square(error - worth * foretold).sum())
            whole, number_of = float(np.square(error).sum()), len(error)
            # As if two more pixels had told nothing: three that agree are no proof.
            left[bands] = np.sqrt((missed / max(whole, 1e-30) * number_of + 2) / (number_of + 2))
            ahead = worth * ahead
        learnt = places[inside].T @ ahead
        constant[bands], slope[:, bands] = learnt[0], learnt[1:]
    return Spared(told, mean, turned, constant, slope, left)


def _components(view: View, told: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of some pixels, and their principal components over the first one's standard deviation."""
    seen = view.usable[:, told]
    mean = (view.values[:, told] * seen).sum(0) / np.maximum(seen.sum(0), 1)
    centred = np.where(seen, view.values[:, told] - mean, 0.0).astype(np.float64)
    _, strength, directions = np.linalg.svd(centred, full_matrices=False)
    spread = max(float(strength[0]) / np.sqrt(max(len(centred), 1)), 1e-9) if strength.size else 1.0
    return np.asarray(mean, np.float64), np.asarray(directions[:COMPONENTS].T / spread, np.float64)
