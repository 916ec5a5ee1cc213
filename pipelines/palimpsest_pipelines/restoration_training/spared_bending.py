"""Gaps whose judgement is wrong on purpose: what a library, a light or a calibration that does not fit makes of it.

On made scenes every source is better than on recorded ones, and who learns from them alone believes the judgement too
long. All sources of a run are bent alike: by a gain along the run, in what they say that pixels differ by, by an
offset, by differences of their own along the scene's components, and, in a quarter of the runs, in some pixels that lie
together (a material that no library holds).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest_pipelines.restoration_training.spared_examples import Gap

_GAIN, _DIFFERENCES, _OFFSET, _ALONG, _ODD = 0.6, 0.35, 0.4, 0.4, 0.25  # how often
_CURVES = 4
_SEED = 880_002


def bent(gap: Gap, seed: int, number: int) -> Gap:
    """A gap with its judgement and sources bent; the same for the same seed and number."""
    rng = np.random.default_rng([_SEED, seed, number])
    judged, apart = gap.judged.copy(), gap.apart.astype(np.float64)
    for run in sorted(set(gap.beside)):
        bands = np.sort(np.concatenate([part for part, of in zip(gap.runs, gap.beside, strict=True) if of == run]))
        is_bent = rng.random(4) < (_GAIN, _DIFFERENCES, _OFFSET, _ALONG)
        is_bent[0] |= not is_bent.any()
        said, count = judged[:, bands], bands.size
        level = said.mean(0)
        gain = np.exp(_curve(rng, count, -1.3, -0.1)) if is_bent[0] else np.ones(count)
        stretched = np.exp(rng.normal(0, 0.5)) if is_bent[1] else 1.0
        offset = _curve(rng, count, -1.5, -0.3) * float(np.abs(level).mean()) if is_bent[2] else np.zeros(count)
        moved = np.zeros_like(said)
        if is_bent[3]:
            strength = np.sqrt(gap.differing[bands]) * 10 ** rng.uniform(-1, 0.5)
            moved = np.outer(_along(rng, gap), strength)
        judged[:, bands] = gain * (level + stretched * (said - level) + moved) + offset
        apart[:, :, bands] *= gain * stretched
        if rng.random() < _ODD:
            along = _along(rng, gap)
            odd = np.flatnonzero(along > np.quantile(along, 1 - 10 ** rng.uniform(-1.7, -0.5)))
            judged[np.ix_(odd, bands)] *= np.exp(_curve(rng, count, -1, 0))
            apart[np.ix_(np.arange(len(apart)), odd, bands)] *= np.exp(rng.normal(0, 0.7, (len(apart), 1, 1)))
    return replace(
        gap, judged=judged, apart=apart.astype(np.float32), level=judged.mean(0), differing=judged.var(0),
        is_bent=True,
    )


def _curve(rng: np.random.Generator, count: int, low: float, high: float) -> NDArray[np.float64]:
    """A smooth curve over a run, of a strength drawn between two powers of ten, ``(band,)``."""
    along = np.linspace(0, np.pi, count)
    waves = sum(rng.normal() / (1 + k) * np.cos(k * along) for k in range(_CURVES))
    return np.asarray(10 ** rng.uniform(low, high) * waves)


def _along(rng: np.random.Generator, gap: Gap) -> NDArray[np.float64]:
    """Pixels along a direction among the components, of mean zero and deviation one, ``(pixel,)``."""
    direction = rng.normal(size=gap.spread.shape[1]) * np.sqrt(gap.spread[0] + 0.1 * gap.spread[0].max(initial=0.0))
    along = gap.places[0] @ direction
    return np.asarray((along - along.mean()) / max(float(along.std()), 1e-9))
