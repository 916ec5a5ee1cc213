"""What all cubes of a place say together of one of them: a joint factor analysis of its spectra and theirs.

A pixel's spectrum here and, behind it, the mean of what the other cubes measured there, in this cube's light: one
vector with noise of its own in each element, one model fitted to a sample of pixels. Its posterior mean fills a
damaged voxel from this cube's own bands and from theirs at once, and takes both noises off. A band that no pixel
here shows has no statistics of its own: there the others' band speaks, in this cube's light.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration import low_rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.restoration.companion import Companion, Member
    from palimpsest.restoration.low_rank import LowRank
    from palimpsest.restoration.view import View

FACTORS = 24
PIXELS_A_FACTOR = 40  # small scenes: more factors than that fit the noise of so few pixels
ITERATIONS = 10
SAMPLE = 2500
TRIAL_PIXELS = 400
_HIDDEN_SHARE = 0.1  # of a trial pixel's bands


@dataclass(frozen=True, slots=True)
class Companions:
    """All other cubes of the place, asked together.

    Args:
        others: one each.
        model: of our bands, then theirs at our bands, ``2 * band`` elements.
        variance: expected squared error where we have statistics or they speak, ``(band,)``; infinite elsewhere.
        sentence: who they are, for people.
    """

    others: tuple[Companion, ...]
    model: LowRank
    variance: NDArray[np.float64]
    sentence: str

    def __call__(self, view: View) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The joint answer and where there is one, both ``(pixel, band)``."""
        bands = view.values.shape[1]
        both = _beside(view, self.others)
        mean, _ = self.model.predict(both)
        known, theirs = self.model.known[:bands], self.model.known[bands:]
        values = np.where(known, mean[:, :bands], mean[:, bands:])
        # Where a band is lost here, a pixel that the others did not see either has nobody to ask.
        heard = known | (theirs & both.usable[:, bands:].any(1, keepdims=True))
        return values, heard & np.isfinite(self.variance)


def companions_of(mine: Member, others: Sequence[Companion], names: Sequence[str]) -> Companions | None:
    """The others asked together; None where there are too few pixels or bands for a model.

    Args:
        mine: the cube to be restored.
        others: its companions, one at least.
        names: what each is called for people, ``(other,)``.
    """
    bands = mine.axis.count
    every = max(1, -(-len(mine.sample.pixels) // SAMPLE))
    both = _beside(mine.sample.rows(np.arange(0, len(mine.sample.pixels), every)), tuple(others))
    noise = np.maximum(np.concatenate([mine.noise, mine.noise]), 1e-5)
    factors = min(FACTORS, max(1, len(both.pixels) // PIXELS_A_FACTOR))
    model = low_rank.fit(both, noise, factors, ITERATIONS)
    if model is None:
        return None
    known, theirs = model.known[:bands], model.known[bands:]
    variance = np.where(known, _tried(model, both, mine.noise), np.inf)
    level = (both.values[:, bands:] * both.usable[:, bands:]).sum(0) / np.maximum(both.usable[:, bands:].sum(0), 1)
    # Several dates are carried by shapes of one kind, but their calibrations err each its own way.
    doubt = np.min([other.light.doubt for other in others], axis=0)
    carried = (level * doubt) ** 2 + np.maximum(model.noise[bands:], 1e-9) / max(len(others), 1)
    variance = np.where(~known & theirs, carried, variance)
    told = ", ".join(names)
    sentence = f"What other cubes of the same place show, in this cube's light, with this pixel's own bands: {told}."
    return Companions(tuple(others), model, variance, sentence)


def _beside(view: View, others: tuple[Companion, ...]) -> View:
    """Our values, and behind them the mean of what the others measured, in our light."""
    total, weight = np.zeros(view.values.shape), np.zeros(view.values.shape)
    for other in others:
        values, usable = other.says(view)
        trust = usable / other.light.variance
        total += trust * values
        weight += trust
    mean = (total / np.maximum(weight, 1e-30)).astype(np.float32)
    return replace(
        view, values=np.concatenate([view.values, mean], 1), usable=np.concatenate([view.usable, weight > 0], 1)
    )


def _tried(model: LowRank, both: View, noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected squared error of our bands, ``(band,)``: the model's own, scaled by how it did on hidden voxels."""
    bands = noise.size
    some = both.rows(np.arange(0, len(both.pixels), max(1, len(both.pixels) // TRIAL_PIXELS)))
    hidden = np.random.default_rng(0).random(some.usable.shape) < _HIDDEN_SHARE
    hidden[:, bands:] = False
    hidden &= some.usable
    mean, spread = model.predict(some.hiding(hidden))
    own = (np.square(spread.astype(np.float64))[:, :bands]).mean(0)
    apart = np.square((mean - some.values)[:, :bands].astype(np.float64)) * hidden[:, :bands]
    number = hidden[:, :bands].sum(0)
    tried = number >= 5
    excess = (apart.sum(0) / np.maximum(number, 1) - np.minimum(noise**2, model.noise[:bands]))[tried]
    scale = float(np.clip(np.median(excess / np.maximum(own[tried], 1e-12)), 1.0, 10.0)) if tried.any() else 10.0
    return np.maximum(own * scale, 1e-10)
