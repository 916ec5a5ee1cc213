"""What the library says: a pixel's observed bands as a non-negative mixture of materials, carried into its gaps.

Exact non-negative least squares on the normal equations, one pixel at a time, exact zeros for the materials that have
no share. Exactness matters: reference spectra are much alike, so that a descent which stops early leaves a mixture that
fits the observed bands almost as well and misses a gap by decibels. Shares are kept, so that every restored value can
be split by material.

Source: :mod:`~palimpsest.restoration.library.active_sets`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def unmix(
    values: NDArray[np.float64], spectra: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Non-negative shares of the materials that fit the weighted bands best, ``(pixel, material)``.

    Args:
        values: ``(pixel, band)``; bands of weight 0 may hold anything finite.
        spectra: ``(material, band)``, finite where the weight is not 0.
        weights: per band, ``(band,)``, not negative.
    """
    from palimpsest.restoration.library.active_sets import nonnegative

    used = weights > 0
    weighted = np.ascontiguousarray(spectra[:, used] * weights[used])
    gram = weighted @ weighted.T
    # A material that reflects nothing in the observed bands cannot be judged by them: the ridge keeps it at zero.
    ridge = 1e-7 * max(float(np.trace(gram)) / len(gram), 1e-12)
    gram[np.diag_indices(len(gram))] += ridge
    right = np.ascontiguousarray((values[:, used] * weights[used]) @ weighted.T)
    shares = np.zeros_like(right)
    nonnegative(gram, right, shares)
    return shares
