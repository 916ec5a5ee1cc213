"""A scene's factors by neighbouring bands too: what noise makes of loadings in one band, their neighbours know better.

In a noisy scene the error of a filled voxel is mostly that of its band's loadings: noise variance times factors over
pixels that show the band. A Gaussian process over band numbers lends them from band to band, each factor's as far as it
is smooth. A band that is unlike its neighbours beyond what noise explains (beside shut air, where detectors join) keeps
its own loadings, and lends none.

Source: Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, section 2.2; unlike bands by the
chi-square of what smoothing changes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.factors.low_rank import precision_of_loadings
from palimpsest.restoration.factors.smooth_loadings import smoothed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.restoration.factors.low_rank import LowRank

UNLIKE = 5.0  # times the change that noise alone explains; 4 and 6 do as well
ROUNDS = 4  # a band that is left out makes its neighbours smoother, and others unlike them


def held_by_neighbours(model: LowRank, values: NDArray[np.float32], usable: NDArray[np.bool_]) -> LowRank:
    """The model with loadings that neighbouring bands hold.

    Args:
        model: fitted.
        values: of the sample that it was fitted to, scaled, ``(pixel, band)``.
        usable: voxels that were believed, the same shape.
    """
    precision = precision_of_loadings(model, values, usable & model.known)
    variance = model.noise[:, None] * np.einsum("bjj->bj", np.linalg.inv(precision))
    alike, factors = model.known, model.loadings.shape[1]
    for _ in range(ROUNDS):
        loadings, _ = smoothed(model.loadings, variance, alike)
        change = model.loadings - loadings
        unlike = np.einsum("bj,bjk,bk->b", change, precision, change) > UNLIKE * factors * model.noise
        if not unlike.any():
            return replace(model, loadings=loadings)
        alike = alike & ~unlike
    return replace(model, loadings=np.where(alike[:, None], loadings, model.loadings))
