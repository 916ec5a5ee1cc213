"""Neighbouring bands see alike: a factor's loadings smoothed over bands, as far as the scene says that they are smooth.

In a noisy band most of what is left after denoising is the error of its loadings: noise variance times factors over
pixels. A Gaussian process over band numbers borrows them from neighbouring bands. Height, reach and the part that no
neighbour shares are each factor's own, by the largest evidence: what jumps from band to band is hardly smoothed.

Source: Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, sections 2.2, 4.2 (Matern kernel, 3/2) and
5.4.1 (evidence and its gradient).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lapack
from scipy.optimize import minimize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Row = NDArray[np.float64]

FEWEST_BANDS = 8
_START = (0.0, np.log(6.0), np.log(0.03))  # logarithms: height over its first guess, reach in bands, unshared part
_BOUNDS = ((-8.0, 8.0), (np.log(0.5), np.log(100.0)), (np.log(1e-6), np.log(10.0)))
_STEPS = 20
_LEAST = 1e-30  # of a variance


def smoothed(
    loadings: NDArray[np.float64], variance: NDArray[np.float64], usable: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Loadings by their neighbours too, and the variance of their error; each ``(band, factor)``.

    Args:
        loadings: as estimated band by band, in units that neighbouring bands share.
        variance: of their error, the same shape.
        usable: bands that have an estimate, ``(band,)``; the others come back as they are.
    """
    mean, doubt = loadings.copy(), variance.copy()
    at = np.flatnonzero(usable)
    if at.size < FEWEST_BANDS:
        return mean, doubt
    apart = np.abs(at[:, None] - at).astype(np.float64) * np.sqrt(3.0)
    for factor in range(loadings.shape[1]):
        mean[at, factor], doubt[at, factor] = _one(loadings[at, factor], variance[at, factor], apart)
    return mean, doubt


def _one(values: Row, variance: Row, apart: NDArray[np.float64]) -> tuple[Row, Row]:
    square = np.square(values)
    height = max(float(square.mean() - variance.mean()), 0.1 * float(np.percentile(square, 75)), _LEAST)
    scale = 1.0 / np.sqrt(height)  # so that the optimiser's first steps suit any unit
    values, variance = values * scale, np.maximum(variance * scale**2, 1e-12)

    def loss(at: Row) -> tuple[float, Row]:
        prior, by_reach = _prior(at, apart)
        found = _inverse(prior, variance)
        if found is None:
            return 1e12, np.zeros(3)
        inverse, logarithm = found
        told = inverse @ values
        slope = (inverse - np.outer(told, told)) / 2
        own = np.exp(at[0] + at[2]) * float(np.trace(slope))
        gradient = np.array([float((slope * prior).sum()), float((slope * by_reach).sum()), own])
        return float(values @ told) / 2 + logarithm / 2, gradient

    best = minimize(loss, np.array(_START), jac=True, method="L-BFGS-B", bounds=_BOUNDS, options={"maxiter": _STEPS})
    prior, _ = _prior(best.x, apart)
    found = _inverse(prior, variance)
    if found is None:
        return values / scale, variance / scale**2
    # prior (prior + noise)^-1 = 1 - noise (prior + noise)^-1, which keeps what is sure as it is
    mean = values - variance * (found[0] @ values)
    doubt = variance - np.square(variance) * np.diag(found[0])
    return mean / scale, np.maximum(doubt, 0.0) / scale**2


def _prior(at: Row, apart: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Covariance of loadings between bands, and its slope along the logarithm of the reach."""
    ratio = apart * np.exp(-at[1])
    fading = np.exp(at[0] - ratio)
    prior = (1.0 + ratio) * fading
    prior[np.diag_indices(len(prior))] += np.exp(at[0] + at[2])
    return prior, np.square(ratio) * fading


def _inverse(prior: NDArray[np.float64], variance: Row) -> tuple[NDArray[np.float64], float] | None:
    """Inverse of the covariance of estimates and the logarithm of its determinant; None where rounding broke it."""
    whole = prior.copy()
    whole[np.diag_indices(len(whole))] += variance
    root, failed = lapack.dpotrf(whole, lower=1)
    if failed:
        return None
    half, failed = lapack.dpotri(root, lower=1)
    inverse = np.tril(half) + np.tril(half, -1).T
    return (inverse, 2 * float(np.log(np.diag(root)).sum())) if not failed else None
