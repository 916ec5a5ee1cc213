"""What the scene's other pixels say: factor analysis under a mask, ``y = mean + loadings z + noise``.

Each band has its own noise, so that the posterior mean is the spectral Wiener filter of the scene and fills missing
voxels of bands that other pixels have. Fitted by expectation maximisation on a seeded sample of pixels.

Source: Rubin and Thayer 1982, Psychometrika 47, 69-76; with missing values as in Ghahramani and Jordan 1994.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.restoration.view import View

FACTORS = 20
ITERATIONS = 24
FEWEST_SEEN = 30
CHUNK = 2048
_SMALLEST_VARIANCE = 1e-9
_LEAST_WITHOUT = 0.02  # a voxel that alone carries a factor is not judged by a division by nothing


@dataclass(frozen=True, slots=True)
class LowRank:
    """A fitted model.

    Args:
        mean: ``(band,)``.
        loadings: ``(band, factor)``.
        noise: variance of each band, ``(band,)``.
        seen: sample pixels that showed each band, ``(band,)``; a band is known from :data:`FEWEST_SEEN` on.
    """

    mean: NDArray[np.float64]
    loadings: NDArray[np.float64]
    noise: NDArray[np.float64]
    seen: NDArray[np.int64]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Bands that the model can speak about, ``(band,)``."""
        return self.seen >= FEWEST_SEEN

    def latent(self, view: View) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Posterior mean ``(pixel, factor)`` and covariance ``(pixel, factor, factor)`` of the factors."""
        return _posterior(self, view.values.astype(np.float64), (view.usable & self.known).astype(np.float64))

    def predict(self, view: View) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Posterior mean and standard deviation of every voxel, both ``(pixel, band)``."""
        mean = np.empty(view.values.shape, np.float32)
        spread = np.empty(view.values.shape, np.float32)
        bands, factors = self.loadings.shape
        outer = (self.loadings[:, :, None] * self.loadings[:, None, :]).reshape(bands, factors * factors)
        for start in range(0, len(mean), CHUNK):
            part = slice(start, start + CHUNK)
            z, covariance = self.latent(view.rows(np.arange(len(mean))[part]))
            mean[part] = self.mean + z @ self.loadings.T
            variance = covariance.reshape(len(z), -1) @ outer.T
            spread[part] = np.sqrt(np.maximum(variance, 0.0))
        return mean, spread


def fit(view: View, noise: NDArray[np.float64], factors: int = FACTORS, iterations: int = ITERATIONS) -> LowRank | None:
    """The model of a sample of pixels; None where there are too few pixels or bands for one.

    Args:
        view: the sample.
        noise: standard deviation per band to begin with, ``(band,)``.
        factors: at most this many.
        iterations: of expectation maximisation.
    """
    return fit_table(view.values, view.usable, noise, factors, iterations)


def fit_table(
    values: NDArray[np.float32], trusted: NDArray[np.bool_], noise: NDArray[np.float64], factors: int = FACTORS,
    iterations: int = ITERATIONS,
) -> LowRank | None:
    """The model of the trusted voxels of ``values``, both ``(pixel, band)``; else as :func:`fit`."""
    y, m = values.astype(np.float64), trusted.astype(np.float64)
    seen = trusted.sum(0)
    known = seen >= FEWEST_SEEN
    k = min(factors, int(known.sum()) // 3, len(y) // 6)
    if k < 1:
        return None
    m = m * known
    count = np.maximum(m.sum(0), 1.0)
    mean = (y * m).sum(0) / count
    psi = np.maximum(noise**2, _SMALLEST_VARIANCE)
    model = LowRank(mean, _first_loadings((y - mean) * m, m, psi, known, k), psi, seen)
    for _ in range(iterations):
        model = _step(model, y, m, count)
    return model


def left_out(
    model: LowRank, values: NDArray[np.float32], trusted: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What every voxel differs from what its pixel's other bands predict, and the standard deviation expected of it.

    A trusted voxel's own share of its prediction is taken out again, so that it is judged by the others alone. Zero
    in bands that the model does not know.

    Args:
        model: fitted.
        values: ``(pixel, band)``.
        trusted: voxels that predict, the same shape.
    """
    bands, factors = model.loadings.shape
    outer = (model.loadings[:, :, None] * model.loadings[:, None, :]).reshape(bands, factors * factors).T
    residual = np.empty(values.shape, np.float32)
    spread = np.empty(values.shape, np.float32)
    for start in range(0, len(values), CHUNK):
        part = slice(start, start + CHUNK)
        own = trusted[part] & model.known
        z, covariance = _posterior(model, values[part].astype(np.float64), own.astype(np.float64))
        apart = np.where(model.known, values[part] - model.mean - z @ model.loadings.T, 0.0)
        doubt = covariance.reshape(len(z), -1) @ outer
        without = np.maximum(1 - doubt / model.noise, _LEAST_WITHOUT)
        residual[part] = np.where(own, apart / without, apart)
        spread[part] = np.sqrt(np.where(own, model.noise / without, model.noise + np.maximum(doubt, 0.0)))
    return residual, spread


def _first_loadings(
    centred: NDArray[np.float64], m: NDArray[np.float64], psi: NDArray[np.float64], known: NDArray[np.bool_], k: int
) -> NDArray[np.float64]:
    covariance = centred.T @ centred / np.maximum(m.T @ m, 1.0)
    sigma = np.sqrt(psi)
    inside = np.ix_(known, known)
    values, vectors = np.linalg.eigh(covariance[inside] / sigma[known][:, None] / sigma[known][None])
    values, vectors = values[::-1][:k], vectors[:, ::-1][:, :k]
    loadings = np.zeros((known.size, k))
    loadings[known] = sigma[known][:, None] * vectors * np.sqrt(np.maximum(values - 1, 0.05))
    return loadings


def _posterior(
    model: LowRank, y: NDArray[np.float64], m: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    bands, k = model.loadings.shape
    weighted = model.loadings / model.noise[:, None]
    outer = (model.loadings[:, :, None] * weighted[:, None, :]).reshape(bands, k * k)
    precision = np.eye(k) + (m @ outer).reshape(-1, k, k)
    covariance = np.asarray(np.linalg.inv(precision), np.float64)
    z = np.einsum("pij,pj->pi", covariance, ((y - model.mean) * m) @ weighted)
    return z, covariance


def _step(model: LowRank, y: NDArray[np.float64], m: NDArray[np.float64], count: NDArray[np.float64]) -> LowRank:
    bands, k = model.loadings.shape
    z, covariance = _posterior(model, y, m)
    second = (covariance + z[:, :, None] * z[:, None, :]).reshape(-1, k * k)
    # A weak prior on the loadings: a band seen in few pixels must not fit them exactly.
    zz = (m.T @ second).reshape(bands, k, k) + np.eye(k)
    centred = (y - model.mean) * m
    yz = centred.T @ z
    loadings = np.asarray(np.linalg.solve(zz, yz[:, :, None])[..., 0], np.float64)
    shift = ((y - model.mean - z @ loadings.T) * m).sum(0) / count
    noise = ((centred**2).sum(0) - (loadings * yz).sum(1)) / count
    noise = np.where(count > 1, np.maximum(noise, _SMALLEST_VARIANCE), model.noise)
    return LowRank(model.mean + shift, loadings, noise, model.seen)
