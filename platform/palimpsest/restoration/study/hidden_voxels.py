"""What hidden voxels say of those who speak for single voxels: some that show are taken away, and asked for.

A scene's factors mostly foretell a voxel far better than its neighbours along the spectrum do, and networks have
learned that. In a scene of noise that neighbouring bands share they do not, and a mean of factors and cubic errs less
than either. Where the weights of a judgement would have erred clearly more on the hidden voxels than the best ones
there, and those believe the factors less, these are taken; everywhere else the judgement stands, to the bit. Voxels
that show can speak against the factors and not for them: what damages a voxel may well be what damaged its neighbours,
and spoils what they foretell.

Source: stacking, Breiman 1996, Machine Learning 24, 49-64.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.spectrum.kernel_blend import convex_mean
from palimpsest.restoration.study.sources import LINEAR, LOW_RANK, PCHIP, propose

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.restoration.study.sources import Sources
    from palimpsest.restoration.view import View

SINGLE = [LINEAR, PCHIP, LOW_RANK]  # who speaks for voxels whose band other pixels show
_FACTORS = SINGLE.index(LOW_RANK)
HIDDEN = 0.1  # of the voxels that show
CLEARLY = 1.05  # times the least squared error: more than chance makes of some thousand voxels
FEWEST = 400  # hidden voxels, from which on they are heard
_SEED = 31


def missed_together(sources: Sources, some: View) -> NDArray[np.float64] | None:
    """Second moments of what each of :data:`SINGLE` misses in hidden voxels, ``(3, 3)``, scaled; None of too few.

    Args:
        sources: fitted to the scene.
        some: pixels of it.
    """
    if sources.low_rank is None:
        return None
    drawn = np.random.default_rng(_SEED).random(some.usable.shape) < HIDDEN
    hidden = some.usable & ~sources.everywhere & drawn
    said = propose(replace(sources, flat=None, lit=None), some.hiding(hidden))  # what materials would say is not asked
    heard = hidden & said.speaks[SINGLE].all(0)
    if heard.sum() < FEWEST:
        return None
    missed = said.values[SINGLE][:, heard].astype(np.float64) - some.values[heard]
    return np.asarray(missed @ missed.T / missed.shape[1])


def outvoted(
    weights: NDArray[np.float64], voxels: NDArray[np.floating], may: NDArray[np.bool_],
    moment: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """The weights of a judgement, those of single voxels as hidden ones would have them where that is clearly better.

    Args:
        weights: ``(cell, source)``.
        voxels: how many damaged ones each cell has, ``(cell,)``.
        may: cells of single voxels of which all of :data:`SINGLE` speak, ``(cell,)``.
        moment: of :func:`missed_together`; None changes nothing.
    """
    if moment is None or not may.any():
        return weights
    single = np.ix_(np.flatnonzero(may), np.array(SINGLE))
    shares = weights[single]
    mean = (voxels[may, None] * shares).sum(0)
    if mean.sum() <= 0:
        return weights
    mean, best = mean / mean.sum(), convex_mean(moment)
    is_believed_less = best[_FACTORS] < mean[_FACTORS]
    if not is_believed_less or mean @ moment @ mean <= CLEARLY * (best @ moment @ best):
        return weights
    out = weights.copy()
    out[single] = shares.sum(1, keepdims=True) * best
    return out
