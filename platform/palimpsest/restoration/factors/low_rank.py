"""What the scene's other pixels say: factor analysis under a mask, ``y = mean + loadings z + noise``.

Each band has its own noise, so that the posterior mean is the spectral Wiener filter of the scene and fills missing
voxels of bands that other pixels have. Fitted by expectation maximisation on a seeded sample of pixels; a scene's own
model also hears what its prediction left over in the neighbours (:mod:`~palimpsest.restoration.factors.surroundings`).

Source: Rubin and Thayer 1982, Psychometrika 47, 69-76; with missing values as in Ghahramani and Jordan 1994; steps
lengthened as in Salakhutdinov and Roweis 2003, ICML; factors of pure noise after Baik, Ben Arous and Peche 2005.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.computing.side_by_side import done, side_by_side
from palimpsest.restoration.factors.pairs import packed, products, second_moments, squares

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from palimpsest.restoration.factors.surroundings import Surroundings
    from palimpsest.restoration.view import View

FACTORS = 20
ITERATIONS = 24
SCENE_FACTORS = 40  # of a scene's own model: damage that is spread over all bands needs more than a search does
SCENE_ITERATIONS, SETTLING = 14, 4
WEAKEST = 2.0  # times the power at which pure noise shows a factor
LENGTHENED = 1.6  # of a step of expectation maximisation; below two it leads to the same place
SCENE_LENGTHENED, COOLING = 1.85, 4
FEWEST_SEEN = 30
CHUNK = 2048
_SMALLEST_VARIANCE = 1e-9
_UNSURE = 0.05  # of a band's variance: a scene's own fit begins with so much noise, or it gets stuck
_LEAST_WITHOUT = 0.02  # a voxel that alone carries a factor is not judged by a division by nothing


@dataclass(frozen=True, slots=True)
class LowRank:
    """A fitted model.

    Args:
        mean: ``(band,)``.
        loadings: ``(band, factor)``.
        noise: variance of each band, ``(band,)``.
        seen: sample pixels that showed each band, ``(band,)``; a band is known from :data:`FEWEST_SEEN` on.
        around: what the neighbours add to a prediction, or None: then a pixel is told by its own bands alone.
    """

    mean: NDArray[np.float64]
    loadings: NDArray[np.float64]
    noise: NDArray[np.float64]
    seen: NDArray[np.int64]
    around: Surroundings | None = None

    @property
    def known(self) -> NDArray[np.bool_]:
        """Bands that the model can speak about, ``(band,)``."""
        return self.seen >= FEWEST_SEEN

    def predict(self, view: View) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Posterior mean and standard deviation of every voxel, both ``(pixel, band)``."""
        mean = np.empty(view.values.shape, np.float32)
        spread = np.empty(view.values.shape, np.float32)

        def tell(part: slice) -> None:
            here = _posterior(self, view.values[part], view.usable[part] & self.known)
            mean[part] = self.mean + here.z @ self.loadings.T
            spread[part] = np.sqrt(np.maximum(here.doubt(self), 0.0))

        done(side_by_side(tell, _parts(len(mean))))
        if self.around is not None:
            mean += self.around.left_over(self, view.pixels)
        return mean, spread

    def predict_bands(
        self, values: NDArray[np.float32], usable: NDArray[np.bool_], wanted: slice
    ) -> NDArray[np.float32]:
        """Posterior mean of some bands, ``(pixel, wanted)``, neighbours unheard.

        Args:
            values: ``(pixel, band)``.
            usable: the same shape.
            wanted: of the bands.
        """
        mean = np.empty((len(values), len(self.mean[wanted])), np.float32)
        for part in _parts(len(mean)):
            here = _posterior(self, values[part], usable[part] & self.known)
            mean[part] = self.mean[wanted] + here.z @ self.loadings[wanted].T
        return mean


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
    iterations: int = ITERATIONS, *, lengthened: float = 1.0, cooling: int = 0,
    held: Callable[[LowRank], NDArray[np.float64]] | None = None,
) -> LowRank | None:
    """The model of the trusted voxels of ``values``, both ``(pixel, band)``; else as :func:`fit`.

    Args:
        values: scaled.
        trusted: the same shape.
        noise: as for ``fit``.
        factors: at most this many.
        iterations: of expectation maximisation.
        lengthened: of each step but the last; 1 is the plain algorithm.
        cooling: so many steps let the noise fall no faster than the plain algorithm does.
        held: the prior of a step, see :func:`step_of`, from the model before it; None: one.
    """
    seen = trusted.sum(0)
    known = seen >= FEWEST_SEEN
    k = min(factors, int(known.sum()) // 3, len(values) // 6)
    if k < 1:
        return None
    y, m = values.astype(np.float64), trusted & known
    count = np.maximum(m.sum(0), 1).astype(np.float64)
    mean = np.where(m, y, 0.0).sum(0) / count
    psi = np.maximum(noise**2, _SMALLEST_VARIANCE)
    model = LowRank(mean, _first_loadings(np.where(m, y - mean, 0.0), m, psi, known, k), psi, seen)
    for step in range(iterations):
        better = step_of(model, y, m, count, None if held is None else held(model))
        model = better if step + 1 == iterations else _further(
            model, better, lengthened, 1.0 if step < cooling else lengthened
        )
    return model


def fit_pruned(
    values: NDArray[np.float32], trusted: NDArray[np.bool_], noise: NDArray[np.float64], factors: int
) -> LowRank | None:
    """As :func:`fit_table`, but keeps only factors that are stronger than noise alone would make them.

    A rich scene with little noise keeps all; in a noisy one the others would carry noise from band to band.
    """
    count = np.maximum(trusted.sum(0), 1).astype(np.float64)
    mean = np.where(trusted, values, 0.0).sum(0) / count
    variance = np.where(trusted, np.square(values - mean), 0.0).sum(0) / count
    start = np.maximum(noise, np.sqrt(_UNSURE * variance))
    model = fit_table(
        values, trusted, start, factors, SCENE_ITERATIONS, lengthened=SCENE_LENGTHENED, cooling=COOLING,
        held=_by_strength,
    )
    if model is None:
        return None
    m = trusted & model.known
    model = pruned(model, m)
    y = values.astype(np.float64)
    for _ in range(SETTLING):
        model = step_of(model, y, m, count, _by_strength(model))
    return model


def _by_strength(model: LowRank) -> NDArray[np.float64]:
    """Precision of the loadings by what bands have of them on the mean, at most one, ``(factor, factor)``.

    A glint in five pixels is a strong factor with few witnesses: a prior as tight as the noise would forbid it.
    """
    white = (model.loadings / np.sqrt(model.noise)[:, None])[model.known]
    strength, directions = np.linalg.eigh(white.T @ white / len(white))
    return np.asarray((directions / np.maximum(strength, 1.0)) @ directions.T, np.float64)


def pruned(model: LowRank, m: NDArray[np.bool_], weakest: float = WEAKEST) -> LowRank:
    """A model without factors that are weaker than noise alone would make them; one is kept.

    Args:
        model: fitted.
        m: the voxels that it was fitted to, ``(pixel, band)``.
        weakest: times the power at which pure noise shows a factor.
    """
    sigma = np.sqrt(model.noise)[:, None]
    basis, strength, _ = np.linalg.svd(model.loadings / sigma, full_matrices=False)
    number = max(1.0, float(m.sum()) / max(1, int(model.known.sum())))
    edge = (1 + np.sqrt(int(model.known.sum()) / number)) ** 2 - 1
    kept = max(1, int((strength**2 > weakest * edge).sum()))
    return replace(model, loadings=basis[:, :kept] * strength[:kept] * sigma)


def _further(model: LowRank, better: LowRank, length: float, cooled: float) -> LowRank:
    """The step from a model to a better one, ``length`` times as far; ``cooled`` times that of log variances."""
    if length == 1.0:
        return better
    noise = np.maximum(model.noise * (better.noise / model.noise) ** cooled, _SMALLEST_VARIANCE)
    return replace(better, loadings=model.loadings + length * (better.loadings - model.loadings), noise=noise)


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
    residual = np.empty(values.shape, np.float32)
    spread = np.empty(values.shape, np.float32)

    def judge(part: slice) -> None:
        own = trusted[part] & model.known
        here = _posterior(model, values[part], own)
        apart = np.where(model.known, values[part] - model.mean - here.z @ model.loadings.T, 0.0)
        doubt = here.doubt(model)
        without = np.maximum(1 - doubt / model.noise, _LEAST_WITHOUT)
        residual[part] = np.where(own, apart / without, apart)
        spread[part] = np.sqrt(np.where(own, model.noise / without, model.noise + np.maximum(doubt, 0.0)))

    done(side_by_side(judge, _parts(len(values))))
    return residual, spread


def _first_loadings(
    centred: NDArray[np.float64], m: NDArray[np.bool_], psi: NDArray[np.float64], known: NDArray[np.bool_], k: int
) -> NDArray[np.float64]:
    shown = m.astype(np.float64)
    covariance = centred.T @ centred / np.maximum(shown.T @ shown, 1.0)
    sigma = np.sqrt(psi)
    inside = np.ix_(known, known)
    values, vectors = np.linalg.eigh(covariance[inside] / sigma[known][:, None] / sigma[known][None])
    values, vectors = values[::-1][:k], vectors[:, ::-1][:, :k]
    loadings = np.zeros((known.size, k))
    loadings[known] = sigma[known][:, None] * vectors * np.sqrt(np.maximum(values - 1, 0.05))
    return loadings


@dataclass(frozen=True, slots=True)
class _Posterior:
    """Factors of some pixels, ``(pixel, factor)``; covariances are shared by pixels that miss the same bands.

    Args:
        z: posterior means.
        struck: pixels that miss a known band, ascending.
        kind: which covariance each of them has, ``(struck,)``.
        apart: these covariances, ``(kind, factor, factor)``.
        whole: the covariance of a pixel that misses none.
    """

    z: NDArray[np.float64]
    struck: NDArray[np.intp]
    kind: NDArray[np.intp]
    apart: NDArray[np.float64]
    whole: NDArray[np.float64]

    def doubt(self, model: LowRank) -> NDArray[np.float64]:
        """Variance of every voxel's prediction, ``(pixel, band)``."""
        one, other = np.triu_indices(len(self.whole))
        pairs = products(model.loadings, model.loadings)
        twice = np.where(one == other, 1.0, 2.0)
        out = np.empty((len(self.z), len(pairs)))
        out[:] = pairs @ (self.whole[one, other] * twice)
        if self.struck.size:
            out[self.struck] = ((packed(self.apart) * twice) @ pairs.T)[self.kind]
        return out


def _parts(count: int) -> list[slice]:
    return [slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]


def _posterior(model: LowRank, y: NDArray[np.floating], m: NDArray[np.bool_]) -> _Posterior:
    """Factors of pixels by the voxels in ``m``, ``(pixel, band)``, False in bands that the model does not know."""
    k = model.loadings.shape[1]
    known = model.known
    weighted = np.where(known[:, None], model.loadings / model.noise[:, None], 0.0)
    pairs = products(model.loadings, weighted)
    whole = np.asarray(np.linalg.inv(np.eye(k) + squares(pairs[known].sum(0), k)), np.float64)
    struck = np.flatnonzero((~m & known).any(1))
    # Masks as byte strings: sorted as rows of bytes are, and much faster.
    masks = np.packbits(m[struck], axis=1)
    _, first, kind, number = np.unique(
        masks.view(f"S{masks.shape[1]}").reshape(-1), return_index=True, return_inverse=True, return_counts=True
    )
    shown = m[struck[first]].astype(np.float64)
    apart = np.asarray(np.linalg.inv(np.eye(k) + squares(shown @ pairs, k)), np.float64)
    gained = np.where(m, y - model.mean, 0.0) @ weighted
    z = gained @ whole
    alone = np.flatnonzero(number == 1)
    rows = struck[first[alone]]
    z[rows] = np.matmul(gained[rows][:, None], apart if alone.size == len(apart) else apart[alone])[:, 0]
    # Pixels of one kind together: a dead line is the same for all pixels under it.
    together = np.argsort(kind, kind="stable")
    last = np.cumsum(number)
    for pattern in np.flatnonzero(number > 1):
        rows = struck[together[last[pattern] - number[pattern] : last[pattern]]]
        z[rows] = gained[rows] @ apart[pattern]
    return _Posterior(z, struck, kind, apart, whole)


def precision_of_loadings(
    model: LowRank, values: NDArray[np.float32], trusted: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """How surely a sample and the prior tell a scene's loadings, over the precision of noise.

    Args:
        model: fitted to them by :func:`fit_pruned`.
        values: ``(pixel, band)``.
        trusted: the same shape, False in bands that the model does not know.

    Returns:
        ``(band, factor, factor)``; its inverse times a band's noise is the covariance of that band's loadings.
    """
    k = model.loadings.shape[1]

    def seconds(part: slice) -> NDArray[np.float64]:
        here = _posterior(model, values[part], trusted[part])
        return trusted[part].astype(np.float64).T @ _second(here)

    total = np.zeros((len(model.noise), k * (k + 1) // 2))
    for told in side_by_side(seconds, _parts(len(values))):
        total += told
    return squares(total, k) + _by_strength(model)


def _second(here: _Posterior) -> NDArray[np.float64]:
    """Expected products of each two factors, ``(pixel, pair)``."""
    kind = np.full(len(here.z), -1)
    kind[here.struck] = here.kind
    return second_moments(here.z, here.whole, here.apart, kind)


def step_of(
    model: LowRank, y: NDArray[np.float64], m: NDArray[np.bool_], count: NDArray[np.float64],
    prior: NDArray[np.float64] | None = None,
) -> LowRank:
    """One step of expectation maximisation.

    Args:
        model: to begin with.
        y: values, ``(pixel, band)``.
        m: which of them count, the same shape; False in bands that the model does not know.
        count: how many of each band, at least one, ``(band,)``.
        prior: precision of the loadings over that of the noise, ``(band, factor, factor)`` or one for all bands;
            None: one in every direction.
    """
    bands, k = model.loadings.shape
    seconds, yz, fitted = np.zeros((bands, k * (k + 1) // 2)), np.zeros((bands, k)), np.zeros(bands)
    square, moved = np.zeros(bands), np.zeros((bands, k))

    def moments(part: slice) -> tuple[NDArray[np.float64], ...]:
        here = _posterior(model, y[part], m[part])
        centred = np.where(m[part], y[part] - model.mean, 0.0)
        shown = m[part].astype(np.float64)
        return shown.T @ _second(here), centred.T @ here.z, np.square(centred).sum(0), centred.sum(0), shown.T @ here.z

    for told in side_by_side(moments, _parts(len(y))):
        for total, one in zip((seconds, yz, square, fitted, moved), told, strict=True):
            total += one
    # A prior on the loadings: a band seen in few pixels must not fit them exactly.
    held = np.eye(k) if prior is None else prior
    loadings = np.asarray(np.linalg.solve(squares(seconds, k) + held, yz[:, :, None])[..., 0], np.float64)
    shift = (fitted - (moved * loadings).sum(1)) / count
    # The prior's own part is no noise: left in, it would drown a quiet band's 64 dB at 53.
    own = np.square(loadings) if prior is None else loadings * (prior @ loadings[:, :, None])[..., 0]
    noise = (square - (loadings * yz).sum(1) - own.sum(1)) / count
    noise = np.where(count > 1, np.maximum(noise, _SMALLEST_VARIANCE), model.noise)
    return replace(model, mean=model.mean + shift, loadings=loadings, noise=noise)
