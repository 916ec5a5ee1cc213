"""What a few spared pixels tell: a band that hardly any pixel shows is lost, and still not quite.

Too few for statistics of their own, they show how far the judgement was off where they stand. That error is carried to
the other pixels by likeness of spectrum: a Gaussian process over the scene's principal components with a constant,
whose mean is a ridge regression. Even one pixel takes off what all share. Where the judgement is far off, its own
differences between pixels are worth little as well: then what the spared pixels show is carried on instead of the
error, as far as the error exceeds those differences, and, where each can be told by the others, as far as that does
better.

Source: Rasmussen and Williams 2006, sections 2.2 and 2.7 (explicit basis functions, here with a prior of one).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.correlation_decoder import mixture
from palimpsest.restoration.kernel_blend import convex_mean
from palimpsest.restoration.sources import propose
from palimpsest.restoration.view import ACCEPTED, view_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.restoration.study import Study
    from palimpsest.restoration.view import View

MOST_PIXELS = 200
COMPONENTS = 15
DOUBTS = (0.3, 0.01)  # of what a pixel shows, over what all share
_FREE = 1e4  # prior variance of a level that nobody foretold
_CARRIED = 4.0  # odds of the judgement where its error is as large as what pixels differ by
_AS_MANY = 2  # pixels that the first guess at the judgement's share counts for
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
        kept: share of the judgement that stays, ``(band,)``; the rest is told by the spared pixels alone.
        left: share of the error that is left, by how the pixels tell each other, ``(band,)``; one where too few are.
    """

    told: NDArray[np.bool_]
    mean: NDArray[np.float64]
    turned: NDArray[np.float64]
    constant: NDArray[np.float64]
    slope: NDArray[np.float64]
    kept: NDArray[np.float64]
    left: NDArray[np.float64]

    def correction(self, view: View, judged: NDArray[np.float64]) -> NDArray[np.float64]:
        """What to add to the judged values of a view, both ``(pixel, band)``."""
        return np.asarray(self.constant + self._places(view) @ self.slope - (1 - self.kept) * judged)

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
    judged = _judged(seen, blind, table)
    told = ~lost
    mean, turned = _components(seen.judged, told)
    zeros, ones = np.zeros(lost.size), np.ones(lost.size)
    bare = Spared(told, mean, turned, zeros, np.zeros((turned.shape[1], lost.size)), ones, ones)
    places = bare._places(view)
    shown = view.usable & rare
    some = seen.judged.rows(np.arange(0, len(seen.judged.pixels), -(-len(seen.judged.pixels) // MOST_PIXELS)))
    differing = _judged(seen, some.hiding(np.tile(lost, (len(some.pixels), 1))), table).var(0)
    constant, slope, kept, left = zeros.copy(), bare.slope.copy(), ones.copy(), ones.copy()
    # Bands of one run that the same pixels show are told together: the judgement may be right in the next run.
    run = np.cumsum(np.diff(np.flatnonzero(rare), prepend=-1) > 1)
    _, first, kind = np.unique(np.vstack([run, shown[:, rare]]), axis=1, return_index=True, return_inverse=True)
    for number, band in enumerate(np.flatnonzero(rare)[first]):
        bands = np.flatnonzero(rare)[kind.reshape(-1) == number]
        inside = shown[:, band]
        true = view.values[np.ix_(inside, bands)].astype(np.float64)
        error = true - judged[np.ix_(inside, bands)]
        count = len(true)
        usual, off = float(differing[bands].mean()), float(np.square(error).mean())
        # Carried on alone, a pixel is wrong by twice what pixels differ by; of the error, about half is shared.
        odds = (_CARRIED * usual / max(off, 1e-30)) ** 2
        first_guess = np.array([odds, 1.0]) / (1 + odds)  # of the judgement, of the pixels alone
        tellers = [_teller(places[inside], error, 1.0, doubt) for doubt in DOUBTS]
        tellers += [_teller(places[inside], true, _FREE, doubt) for doubt in DOUBTS]
        share = np.repeat(first_guess, len(DOUBTS)) / len(DOUBTS)
        if count >= _FEWEST_JUDGED:
            # Each is told by the others, and they are believed as far as that comes true.
            rests = np.stack([teller.missed.reshape(-1) for teller in tellers])
            proven = convex_mean(rests @ rests.T)
            share = (count * proven + _AS_MANY * share) / (count + _AS_MANY)
            missed = float(np.square(share @ rests).sum())
            # As if two more pixels had told nothing: three that agree are no proof.
            left[bands] = np.sqrt((missed / max(off * error.size, 1e-30) * count + 2) / (count + 2))
        constant[bands] = sum(part * teller.constant for part, teller in zip(share, tellers, strict=True))
        slope[:, bands] = sum(part * teller.slope for part, teller in zip(share, tellers, strict=True))
        kept[bands] = share[: len(DOUBTS)].sum()
    return Spared(told, mean, turned, constant, slope, kept, left)


def _judged(seen: Study, blind: View, table: NDArray[np.float64]) -> NDArray[np.float64]:
    return mixture(propose(seen.sources, blind), np.moveaxis(table[seen.groups.of(blind)], 2, 0))


@dataclass(frozen=True, slots=True)
class _Teller:
    constant: NDArray[np.float64]  # (band,)
    slope: NDArray[np.float64]  # (component, band)
    missed: NDArray[np.float64]  # (pixel, band): what each shows less what the others foretell of it


def _teller(places: NDArray[np.float64], shown: NDArray[np.float64], free: float, doubt: float) -> _Teller:
    """What pixels tell.

    Args:
        places: of the pixels among the components, ``(pixel, component)``.
        shown: what they show, ``(pixel, band)``.
        free: prior variance of the constant.
        doubt: of what one pixel shows.
    """
    inverse = np.linalg.inv(free + places @ places.T + doubt * np.eye(len(places)))
    ahead = inverse @ shown
    missed = ahead / np.diag(inverse)[:, None]
    worth = 1.0
    if free <= 1 and len(places) > 1:
        foretold = shown - missed
        worth = float(np.clip((foretold * shown).sum() / max(float(np.square(foretold).sum()), 1e-30), 0, 1))
        missed = shown - worth * foretold
    return _Teller(worth * free * ahead.sum(0), worth * (places.T @ ahead), missed)


def _components(view: View, told: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of some pixels, and their principal components over the first one's standard deviation."""
    seen = view.usable[:, told]
    mean = (view.values[:, told] * seen).sum(0) / np.maximum(seen.sum(0), 1)
    centred = np.where(seen, view.values[:, told] - mean, 0.0).astype(np.float64)
    _, strength, directions = np.linalg.svd(centred, full_matrices=False)
    spread = max(float(strength[0]) / np.sqrt(max(len(centred), 1)), 1e-9) if strength.size else 1.0
    return np.asarray(mean, np.float64), np.asarray(directions[:COMPONENTS].T / spread, np.float64)
