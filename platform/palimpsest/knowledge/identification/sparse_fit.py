"""Every non-negative mixture of up to three materials of a short list, weighed by its evidence, pixel by pixel.

What a pixel is a mixture of is asked of all subsets at once rather than step by step: a greedy choice takes the wrong
first material where two reference spectra straddle the right one. The list is what a non-negative fit on the whole
library uses, and the materials that come nearest alone.

Source of the criterion: Chen and Chen 2008, Biometrika 95, 759-771 (extended BIC: each material costs what it takes to
name it among all the others).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LISTED = 18  # materials of a pixel's short list
FROM_FIT = 8  # of them, at most, by the fit on the whole library
SWEEPS = 60


@lru_cache(maxsize=1)
def _kernel() -> Callable[..., Any]:
    from numba import njit

    @njit("void(f8[:,::1], f8[::1], i8, i8[::1], f8[::1], f8[::1])", cache=True)
    def shortlist(gram, right, sweeps, listed, shares, rest):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        materials = gram.shape[0]
        for k in range(materials):
            shares[k], rest[k] = 0.0, right[k]
        for _ in range(sweeps):
            for k in range(materials):
                after = max(shares[k] + rest[k] / gram[k, k], 0.0)
                step = after - shares[k]
                if step != 0.0:
                    shares[k] = after
                    for j in range(materials):
                        rest[j] -= step * gram[k, j]
        count = 0
        for turn in range(listed.size):
            best, most = -1, 0.0
            for k in range(materials):
                taken = False
                for t in range(count):
                    taken = taken or listed[t] == k
                if taken or right[k] <= 0:
                    continue
                gained = shares[k] * shares[k] * gram[k, k] if turn < FROM_FIT else right[k] * right[k] / gram[k, k]
                if gained > most:
                    best, most = k, gained
            if best < 0 and turn < FROM_FIT:
                continue
            if best < 0:
                break
            listed[count] = best
            count += 1
        for t in range(count, listed.size):
            listed[t] = -1

    @njit("void(f8[:,::1], f8[:,::1], f8[::1], f8, f8[::1], i8[:,::1], f8[:,::1], f8[:,::1])", cache=True)
    def choose(gram, right, power, worth, price, chosen, shares, sureness):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        materials = gram.shape[0]
        listed = np.empty(LISTED, np.int64)
        room, rest = np.empty(materials), np.empty(materials)
        most = LISTED + LISTED * LISTED // 2 + LISTED * LISTED * LISTED // 6
        score, who = np.empty(most), np.empty((most, 3), np.int64)
        for pixel in range(right.shape[0]):
            h = right[pixel]
            shortlist(gram, h, SWEEPS, listed, room, rest)
            count, best, lowest = 0, -1, np.inf
            for a in range(LISTED):
                i = listed[a]
                if i < 0:
                    break
                score[count] = worth * (power[pixel] - h[i] * h[i] / gram[i, i]) + price[1]
                who[count, 0], who[count, 1], who[count, 2] = i, -1, -1
                count += 1
                for b in range(a):
                    j = listed[b]
                    gii, gjj, gij = gram[i, i], gram[j, j], gram[i, j]
                    det = gii * gjj - gij * gij
                    if det <= 1e-9 * gii * gjj:
                        continue
                    x, y = (h[i] * gjj - h[j] * gij) / det, (h[j] * gii - h[i] * gij) / det
                    if x > 0 and y > 0:
                        score[count] = worth * (power[pixel] - x * h[i] - y * h[j]) + price[2]
                        who[count, 0], who[count, 1], who[count, 2] = i, j, -1
                        count += 1
                    for c in range(b):
                        k = listed[c]
                        gkk, gik, gjk = gram[k, k], gram[i, k], gram[j, k]
                        cii, cij, cik = gjj * gkk - gjk * gjk, gik * gjk - gij * gkk, gij * gjk - gik * gjj
                        big = gii * cii + gij * cij + gik * cik
                        if big <= 1e-12 * gii * gjj * gkk:
                            continue
                        cjj, cjk, ckk = gii * gkk - gik * gik, gij * gik - gii * gjk, gii * gjj - gij * gij
                        x = (cii * h[i] + cij * h[j] + cik * h[k]) / big
                        y = (cij * h[i] + cjj * h[j] + cjk * h[k]) / big
                        z = (cik * h[i] + cjk * h[j] + ckk * h[k]) / big
                        if x > 0 and y > 0 and z > 0:
                            score[count] = worth * (power[pixel] - x * h[i] - y * h[j] - z * h[k]) + price[3]
                            who[count, 0], who[count, 1], who[count, 2] = i, j, k
                            count += 1
            for m in range(count):
                if score[m] < lowest:
                    best, lowest = m, score[m]
            if best < 0:
                continue
            for t in range(3):
                chosen[pixel, t] = who[best, t]
            total = 0.0
            for m in range(count):
                weight = np.exp(-0.5 * (score[m] - lowest))
                total += weight
                for t in range(3):
                    for u in range(3):
                        if who[m, u] >= 0 and who[m, u] == chosen[pixel, t]:
                            sureness[pixel, t] += weight
            for t in range(3):
                sureness[pixel, t] /= total
            size = 0
            while size < 3 and chosen[pixel, size] >= 0:
                size += 1
            part, side = np.empty((size, size)), np.empty(size)
            for t in range(size):
                side[t] = h[chosen[pixel, t]]
                for u in range(size):
                    part[t, u] = gram[chosen[pixel, t], chosen[pixel, u]]
            found = np.linalg.solve(part, side)
            for t in range(size):
                shares[pixel, t] = found[t]

    return choose


def best_mixtures(
    values: NDArray[np.float64], spectra: NDArray[np.float64], *, worth: float, order: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """The mixture of one to three materials with the most evidence, for each pixel.

    Args:
        values: whitened by what a mixture may miss, ``(pixel, band)``, finite.
        spectra: of the library, whitened alike, ``(material, band)``, finite, none all zero.
        worth: what a unit of squared misfit counts in the criterion (whitening leaves some errors that go together).
        order: criterion's price of one more material.

    Returns:
        Materials ``(pixel, 3)``, -1 where there are fewer; their shares of the light, not normalised; and how much of
        the evidence of all mixtures lies with those that hold each, 0 to 1.
    """
    library = np.ascontiguousarray(spectra)
    gram = library @ library.T
    gram[np.diag_indices(len(gram))] *= 1 + 1e-9
    right = np.ascontiguousarray(values @ library.T)
    chosen = np.full((len(values), 3), -1, np.int64)
    shares, sureness = np.zeros((len(values), 3)), np.zeros((len(values), 3))
    _kernel()(gram, right, (values**2).sum(axis=1), worth, order * np.arange(4.0), chosen, shares, sureness)
    return chosen, shares, sureness
