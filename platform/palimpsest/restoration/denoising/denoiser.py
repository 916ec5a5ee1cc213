"""Noise taken off measured voxels: the scene's factors, filtered in space, and what stands out of the noise kept.

Five steps. (1) Bands are whitened by their own noise and turned into the scene's few factors: those that are stronger
than noise alone could be, and those that neighbouring pixels share, however weak, because noise has no neighbours.
(2) The factors' images are filtered together (:mod:`~palimpsest.restoration.denoising.spatial_prior`). (3) Each band is
regressed on the clean factors again; neighbouring bands lend each other their coefficients
(:mod:`~palimpsest.restoration.factors.smooth_loadings`), and a band without signal stays empty. (4) Steps 1 and 2 once
more with the better factors. (5) What is left is noise, with two exceptions that go back into the answer: what is alike
in neighbouring pixels, and what stands out beyond chance (:mod:`~palimpsest.restoration.denoising.residue`).

Voxels without trust are predicted and not believed. Opt-in: smoothing what was measured is a claim, and it is the
user's to make.

Sources: whitened eigen-images as in Zhuang and Bioucas-Dias 2018; shrinkage after James and Stein 1961 (positive part);
detection of a signal in so many bands after Baik, Ben Arous and Peche 2005; what neighbouring pixels share after
Switzer and Green 1984 (minimum and maximum autocorrelation factors).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.computing.side_by_side import done, side_by_side
from palimpsest.restoration.denoising.residue import STANDS_OUT, give_back
from palimpsest.restoration.denoising.spatial_prior import denoise_images, refine
from palimpsest.restoration.denoising.untold import untold_variance
from palimpsest.restoration.factors.smooth_loadings import smoothed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.restoration.factors.low_rank import LowRank

    Table = NDArray[np.float32]  # (pixel, band)

CHUNK = 4096
_WEAKEST = 2.0  # times the power at which pure noise shows a factor
_SHARED = 0.25  # of the noise: a weaker factor stays if neighbouring pixels share so much of it
_WORTH = 0.25  # of the noise: a clean factor with less power is not worth its error
_SMALLEST_NOISE = 3e-5
_MOST_FACTORS = 40
_DOUBTFUL = 2.8  # sigmas, in bands with impulses


@dataclass(frozen=True, slots=True)
class Denoised:
    """A scene without its noise.

    Args:
        values: ``(pixel, band)``, scaled.
        spread: standard deviation of what may still be wrong, the same shape.
        noise: standard deviation of what was taken off, per band, ``(band,)``.
        factors: how many were kept.
    """

    values: Table
    spread: Table
    noise: NDArray[np.float64]
    factors: int


@dataclass(frozen=True, slots=True)
class _Doubt:
    """What the loadings may be wrong by: ``variance`` ``(band, factor)``, whitened.

    It is that of uncorrelated factors of unit size, ``z @ turn + shift``.
    """

    variance: NDArray[np.float64]
    turn: NDArray[np.float64]
    shift: NDArray[np.float64]

    def of(self, z: Table, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Variance of every voxel's error; ``pixels``: how many each band was told by, ``(band,)``."""
        return np.asarray(np.square(z @ self.turn + self.shift) @ self.variance.T + 1.0 / np.maximum(pixels, 1.0))


@dataclass(slots=True)
class _Factors:
    """Whitened bands as ``loadings @ z``; all in units of each band's noise."""

    mean: NDArray[np.float64]
    sigma: NDArray[np.float64]
    loadings: NDArray[np.float64]

    def whitened(self, values: Table, trusted: NDArray[np.bool_], filled: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(trusted, (values - self.mean) / self.sigma, filled)


def denoise(
    values: Table, trusted: NDArray[np.bool_], model: LowRank, rows: int, cols: int,
    ill: NDArray[np.bool_] | None = None, least: float = 0.0,
) -> Denoised:
    """The scene's values without noise, everywhere.

    Args:
        values: scaled, ``(pixel, band)``, pixels row by row.
        trusted: voxels to be believed up to noise, the same shape.
        model: the scene's factors.
        rows: of the scene.
        cols: of the scene.
        ill: bands with impulses, ``(band,)``: a voxel that stands out there is not trusted.
        least: of the model's noise, which no band is said to have less of however little its values show: where a
            coder took a part of it off (:mod:`~palimpsest.restoration.denoising.coder_noise`).
    """
    sigma = np.maximum(np.sqrt(model.noise), _SMALLEST_NOISE)
    trusted = trusted & model.known
    edge = (1 + np.sqrt(len(sigma) / max(len(values), 1))) ** 2 - 1
    factors, power = _more(*_start(model, sigma, edge, values, trusted, (rows, cols)), values, trusted, edge)
    kept = power.size
    z = np.empty((len(values), kept), np.float32)
    start = factors

    def turn(part: slice) -> None:
        posterior = _posterior_mean(start, power, values[part], trusted[part])
        white = start.whitened(values[part], trusted[part], posterior @ start.loadings.T)
        z[part] = white @ start.loadings

    done(side_by_side(turn, _blocks(values)))
    images = z.reshape(rows, cols, kept)
    clean = denoise_images(images, power)
    z = clean.images.reshape(-1, kept)
    factors, _ = _refitted(factors, z, values, trusted, least * sigma**2)
    if ill is not None and ill.any():
        trusted = _doubted(factors, z, values, trusted, ill)
    factors, images, pilot = _turned(factors, z, values, trusted, (rows, cols))
    clean = refine(images, pilot)
    z = clean.images.reshape(len(values), -1)
    factors, doubt = _refitted(factors, z, values, trusted, least * sigma**2)
    variance = clean.variance.reshape(z.shape)
    out, spread = np.empty(values.shape, np.float32), np.empty(values.shape, np.float32)
    residual = np.empty(values.shape, np.float32)
    told, held = trusted.sum(0), np.asarray(np.linalg.inv(_root_of_cover(z)), np.float64)

    def answer(part: slice) -> None:
        white = z[part] @ factors.loadings.T
        out[part] = white
        residual[part] = np.where(trusted[part], (values[part] - factors.mean) / factors.sigma - white, 0.0)
        spread[part] = variance[part] @ np.square(factors.loadings).T + doubt.of(z[part], told)
        spread[part] += untold_variance(factors.loadings, held, trusted[part])

    done(side_by_side(answer, _blocks(values)))
    give_back(out, spread, residual, trusted, (rows, cols))
    out *= factors.sigma.astype(np.float32)
    out += factors.mean.astype(np.float32)
    np.sqrt(spread, out=spread)
    spread *= factors.sigma.astype(np.float32)
    unknown = ~model.known
    out[:, unknown], spread[:, unknown] = values[:, unknown], 0.0
    return Denoised(out, spread, factors.sigma, z.shape[1])


def _start(
    model: LowRank, sigma: NDArray[np.float64], edge: float, values: Table, trusted: NDArray[np.bool_],
    plane: tuple[int, int],
) -> tuple[_Factors, NDArray[np.float64]]:
    """The model's factors that are more than noise or shared by neighbours, orthonormal and whitened; their power."""
    basis, strength, _ = np.linalg.svd(model.loadings / sigma[:, None], full_matrices=False)
    power = np.maximum(strength**2, 1e-6)
    sure = power > _WEAKEST * edge
    factors = _Factors(model.mean.copy(), sigma, basis)
    if not sure.all():
        weak = basis[:, ~sure]
        images = np.empty((len(values), weak.shape[1]))

        def show(part: slice) -> None:
            filled = _posterior_mean(factors, power, values[part], trusted[part]) @ basis.T
            images[part] = factors.whitened(values[part], trusted[part], filled) @ weak

        done(side_by_side(show, _blocks(values)))
        common, turn = np.linalg.eigh(_shared_cover(images.reshape(*plane, -1)))
        turn = turn[:, common > _SHARED]
        own, axes = np.linalg.eigh(turn.T @ (power[~sure, None] * turn))
        basis = np.concatenate([basis[:, sure], weak @ turn @ axes[:, ::-1]], axis=1)
        power = np.concatenate([power[sure], own[::-1]])
    if not power.size:  # nothing but noise: one factor, which the filter will find empty
        return replace(factors, loadings=factors.loadings[:, :1]), np.maximum(strength[:1] ** 2, 1e-6)
    return replace(factors, loadings=basis), power


def _shared_cover(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of ``(row, col, factor)`` with the eight pixels around: noise takes no part in it."""
    around = images - images.mean(axis=(0, 1))
    kept = around.shape[2]
    cover = np.zeros((kept, kept))
    pairs = (
        (around[:, 1:], around[:, :-1]), (around[1:], around[:-1]), (around[1:, 1:], around[:-1, :-1]),
        (around[1:, :-1], around[:-1, 1:]),
    )
    for one, other in pairs:
        cover += one.reshape(-1, kept).T @ other.reshape(-1, kept) / max(one.shape[0] * one.shape[1], 1)
    return np.asarray((cover + cover.T) / (2 * len(pairs)), np.float64)


def _more(
    factors: _Factors, power: NDArray[np.float64], values: Table, trusted: NDArray[np.bool_], edge: float
) -> tuple[_Factors, NDArray[np.float64]]:
    """With the factors that the residual still holds: a rich scene with little noise has more than were fitted."""
    bands = values.shape[1]
    cover, both = np.zeros((bands, bands)), np.zeros((bands, bands))

    def left(part: slice) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        posterior = _posterior_mean(factors, power, values[part], trusted[part])
        filled = posterior @ factors.loadings.T
        white = factors.whitened(values[part], trusted[part], filled)
        # What a single voxel does is no factor: impulses are clipped, and only what bands share counts below.
        rest = np.clip(white - filled, -STANDS_OUT, STANDS_OUT)
        return rest.T @ rest, trusted[part].T.astype(np.float32) @ trusted[part].astype(np.float32)

    for rest, shown in side_by_side(left, _blocks(values)):
        cover += rest
        both += shown
    away = np.eye(bands) - factors.loadings @ factors.loadings.T
    cover = np.where(both > _WEAKEST * bands, cover / np.maximum(both, 1.0), np.eye(bands))
    own = np.sqrt(np.maximum(np.diag(cover), 1e-6))
    cover = away @ (cover / own[:, None] / own) @ away
    strength, basis = np.linalg.eigh(cover)
    strength, basis = strength[::-1] - 1.0, basis[:, ::-1]
    found = min(int((strength > _WEAKEST * edge).sum()), _MOST_FACTORS - power.size)
    if found <= 0:
        return factors, power
    more = np.linalg.qr(np.concatenate([factors.loadings, basis[:, :found]], axis=1))[0]
    return _Factors(factors.mean, factors.sigma, more), np.concatenate([power, strength[:found]])


def _blocks(values: Table) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, len(values), CHUNK)]


def _posterior_mean(
    factors: _Factors, power: NDArray[np.float64], block: Table, trusted: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Factors of pixels with some voxels missing, by the bands that they have."""
    kept = power.size
    white = np.where(trusted, (block - factors.mean) / factors.sigma, 0.0)
    outer = (factors.loadings[:, :, None] * factors.loadings[:, None, :]).reshape(-1, kept * kept)
    precision = (trusted.astype(np.float64) @ outer).reshape(-1, kept, kept) + np.diag(1.0 / power)
    return np.asarray(np.linalg.solve(precision, (white @ factors.loadings)[..., None])[..., 0], np.float64)


def _refitted(
    factors: _Factors, z: Table, values: Table, trusted: NDArray[np.bool_], least: NDArray[np.float64]
) -> tuple[_Factors, _Doubt]:
    """Mean, loadings and noise, at least ``least``, of every band by the clean factors; how sure the loadings are."""
    kept, bands = z.shape[1], values.shape[1]
    gram, cross = np.zeros((bands, kept, kept)), np.zeros((bands, kept))
    total, count, square = np.zeros(bands), np.zeros(bands), np.zeros(bands)
    first = np.zeros((bands, kept))

    def moments(part: slice) -> tuple[NDArray[np.float64], ...]:
        m = trusted[part].astype(np.float64)
        one = z[part].astype(np.float64)
        white = np.where(trusted[part], (values[part] - factors.mean) / factors.sigma, 0.0)
        pairs = m.T @ (one[:, :, None] * one[:, None, :]).reshape(len(one), -1)
        return pairs.reshape(gram.shape), white.T @ one, m.T @ one, white.sum(0), m.sum(0), np.square(white).sum(0)

    for found in side_by_side(moments, _blocks(values)):
        for whole, one in zip((gram, cross, first, total, count, square), found, strict=True):
            whole += one
    number = np.maximum(count, 1.0)
    middle, about = total / number, first / number[:, None]
    gram -= number[:, None, None] * about[:, :, None] * about[:, None, :]
    cross -= total[:, None] * about
    power = square - total * middle
    gram += np.eye(kept) * 1e-6 * np.maximum(np.trace(gram, axis1=1, axis2=2), 1e-12)[:, None, None]
    inverse = np.linalg.inv(gram)
    plain = np.einsum("bij,bj->bi", inverse, cross)
    explained = (plain * cross).sum(1)
    noise = np.maximum((power - explained) / np.maximum(number - kept - 1, 1.0), 1e-6)
    enough = count > 2 * kept + 2
    noise = np.maximum(np.where(enough, noise, 1.0), least / factors.sigma**2)
    # Unit factors, the strongest over all bands first, and values that are not whitened: there bands are alike.
    unit = _root_of_cover(z)
    turn = np.linalg.svd(plain @ unit * factors.sigma[:, None], full_matrices=False)[2].T
    forth = unit @ turn
    error = np.einsum("ki,bkl,li->bi", forth, inverse, forth) * (noise * factors.sigma**2)[:, None]
    alike, left = smoothed(plain @ forth * factors.sigma[:, None], error, enough)
    left[~enough] = np.square(alike[enough]).sum(0) / max(int(enough.sum()), 1)
    strength = explained / noise
    share = np.maximum(0.0, 1 - kept / np.maximum(strength, 1e-9))
    share[strength < kept + 3 * np.sqrt(2 * kept)] = 0.0  # three standard deviations of chance
    back = np.linalg.inv(forth)
    loadings = (alike * share[:, None]) @ back / factors.sigma[:, None]
    mean = factors.mean + factors.sigma * (middle - (loadings * about).sum(1))
    sigma = np.maximum(factors.sigma * np.sqrt(noise), _SMALLEST_NOISE)
    doubt = _Doubt(left / np.square(sigma)[:, None], back.T, -(z.mean(0, dtype=np.float64) @ back.T))
    return _Factors(mean, sigma, loadings * (factors.sigma / sigma)[:, None]), doubt


def _root_of_cover(z: Table) -> NDArray[np.float64]:
    cover = np.cov(z.T.astype(np.float64)).reshape(z.shape[1], z.shape[1])
    root = np.linalg.cholesky(cover + max(1e-9 * float(np.trace(cover)), 1e-12) * np.eye(len(cover)))
    return np.asarray(root, np.float64)


def _doubted(
    factors: _Factors, z: Table, values: Table, trusted: NDArray[np.bool_], ill: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Trust without the voxels of ill bands that stand out: impulses too weak to be called damage are among them."""
    doubted = trusted.copy()

    def doubt(part: slice) -> None:
        apart = (values[part, ill] - factors.mean[ill]) / factors.sigma[ill] - z[part] @ factors.loadings[ill].T
        doubted[part, ill] &= np.abs(apart) < _DOUBTFUL

    done(side_by_side(doubt, _blocks(values)))
    return doubted


def _turned(
    factors: _Factors, z: Table, values: Table, trusted: NDArray[np.bool_], plane: tuple[int, int]
) -> tuple[_Factors, NDArray[np.float32], NDArray[np.float32]]:
    """Orthonormal loadings in the space that the refitted ones span, the noisy images along them, and the pilot."""
    basis, strength, _ = np.linalg.svd(factors.loadings @ _root_of_cover(z), full_matrices=False)
    edge = (1 + np.sqrt(len(basis) / max(len(values), 1))) ** 2 - 1
    kept = max(1, int((strength**2 > min(edge, _WORTH)).sum()))
    turned = _Factors(factors.mean, factors.sigma, basis[:, :kept])
    noisy = np.empty((len(values), kept), np.float32)
    pilot = np.empty_like(noisy)

    def turn(part: slice) -> None:
        guess = z[part] @ factors.loadings.T
        pilot[part] = guess @ turned.loadings
        noisy[part] = turned.whitened(values[part], trusted[part], guess) @ turned.loadings

    done(side_by_side(turn, _blocks(values)))
    return turned, noisy.reshape(*plane, kept), pilot.reshape(*plane, kept)
