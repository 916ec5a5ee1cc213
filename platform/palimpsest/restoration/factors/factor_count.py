"""How many factors a small scene bears: some of its voxels are hidden, and foretold with few factors and with more.

More factors than one for some fifty pixels usually fit the noise of a small scene. Where it has little noise and many
materials they do not, and hidden voxels tell: foretold clearly better with more factors, the scene gets more. Their
neighbours along the spectrum are hidden with them: noise that neighbouring bands share would praise every factor.

Source: Owen and Perry 2009, Annals of Applied Statistics 3, 564-594: cross-validation of factor models, entries held
out; here at random, as damage takes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.factors.low_rank import SCENE_FACTORS, LowRank, fit_pruned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.restoration.view import View

PIXELS_A_FACTOR = (50, 30, 18)  # the first without being asked, each further one where hidden voxels ask for it
HIDDEN = 0.05  # of the voxels that show; with their neighbours nearly three times as many
CLEARLY = 0.8  # times the squared error of fewer factors: a tenth less is often none in voxels that damage took
FEWEST = 400  # hidden voxels, from which on they are heard
_SEED = 37


def fit_scene_factors(sample: View, noise: NDArray[np.float64]) -> LowRank | None:
    """A scene's own factors, as many as it bears, pruned; None where there are too few pixels or bands for any.

    Args:
        sample: pixels of the scene.
        noise: standard deviation per band to begin with, scaled, ``(band,)``.
    """
    few, *more = sorted({max(1, min(SCENE_FACTORS, len(sample.values) // each)) for each in PIXELS_A_FACTOR})
    model = fit_pruned(sample.values, sample.usable, noise, few)
    if model is None or not more or model.loadings.shape[1] < few:  # noise took some of the few already
        return model
    asked_for = _asked_for(sample, noise, [few, *more])
    return model if asked_for == few else fit_pruned(sample.values, sample.usable, noise, asked_for)


def _asked_for(sample: View, noise: NDArray[np.float64], numbers: list[int]) -> int:
    """The last number, ascending, up to which each foretells hidden voxels clearly better than the one before it."""
    drawn = np.random.default_rng(_SEED).random(sample.usable.shape) < HIDDEN
    around = drawn.copy()
    around[:, 1:] |= drawn[:, :-1]
    around[:, :-1] |= drawn[:, 1:]
    hidden, rest = sample.usable & drawn, sample.hiding(around)
    best, least = numbers[0], np.inf
    for factors in numbers:
        model = fit_pruned(rest.values, rest.usable, noise, factors)
        if model is None:
            break
        heard = hidden & model.known
        missed = model.predict_bands(rest.values, rest.usable, slice(None))[heard] - sample.values[heard]
        squared = float(np.square(missed.astype(np.float64)).sum())
        if heard.sum() < FEWEST or squared >= CLEARLY * least:
            break
        best, least = factors, squared
    return best
