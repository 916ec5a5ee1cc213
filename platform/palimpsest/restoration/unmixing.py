"""What the library says: a pixel's observed bands as a non-negative mixture of materials, carried into its gaps.

Coordinate descent on the normal equations (Franc, Hlavac and Navara 2005, CAIP), one pixel at a time, exact zeros for
the materials that have no share. Shares are kept, so that every restored value can be split by material.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SWEEPS = 150
TOLERANCE = 1e-5


@lru_cache(maxsize=1)
def _kernel() -> Callable[..., Any]:
    from numba import njit

    # One compiled loop: the same arithmetic in numpy is bound by memory and five times slower.
    @njit("void(f8[:,::1], f8[:,::1], f8[:,::1], i8, f8)", nogil=True)
    def descend(gram, right, shares, sweeps, tolerance):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        materials = gram.shape[0]
        rest = np.empty(materials)
        for pixel in range(right.shape[0]):
            largest = 0.0
            for k in range(materials):
                rest[k] = right[pixel, k]
                shares[pixel, k] = 0.0
                largest = max(largest, abs(rest[k]))
            for _ in range(sweeps):
                moved = 0.0
                for k in range(materials):
                    before = shares[pixel, k]
                    after = max(before + rest[k] / gram[k, k], 0.0)
                    step = after - before
                    if step != 0.0:
                        shares[pixel, k] = after
                        for j in range(materials):
                            rest[j] -= step * gram[k, j]
                        moved = max(moved, abs(step) * gram[k, k])
                if moved <= tolerance * largest:
                    break

    return descend


def unmix(
    values: NDArray[np.float64], spectra: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Non-negative shares of the materials that fit the weighted bands best, ``(pixel, material)``.

    Args:
        values: ``(pixel, band)``; bands of weight 0 may hold anything finite.
        spectra: ``(material, band)``, finite where the weight is not 0.
        weights: per band, ``(band,)``, not negative.
    """
    used = weights > 0
    weighted = np.ascontiguousarray(spectra[:, used] * weights[used])
    gram = weighted @ weighted.T
    # A material that reflects nothing in the observed bands cannot be judged by them: the ridge keeps it at zero.
    ridge = 1e-7 * max(float(np.trace(gram)) / len(gram), 1e-12)
    gram[np.diag_indices(len(gram))] += ridge
    right = np.ascontiguousarray((values[:, used] * weights[used]) @ weighted.T)
    shares = np.zeros_like(right)
    _kernel()(gram, right, shares, SWEEPS, TOLERANCE)
    return shares
