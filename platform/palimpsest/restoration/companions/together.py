"""What all cubes of a place say together of one of them.

Where this cube has the band, a factor analysis over all dates answers
(:mod:`~palimpsest.restoration.companions.dates`): its posterior mean fills a damaged voxel from this cube's own bands
and from theirs at once, and takes all noises off. How far it is believed against what this cube says alone is tried on
voxels that were measured. A band that no pixel here shows has no statistics of its own: there the others' band speaks,
in this cube's light, smoothed by a model of this cube's spectra and the mean of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.factors import low_rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.restoration.companions.companion import Companion, Member
    from palimpsest.restoration.companions.dates import Dates
    from palimpsest.restoration.factors.low_rank import LowRank
    from palimpsest.restoration.view import View

FACTORS = 24
PIXELS_A_FACTOR = 40  # small scenes: more factors than that fit the noise of so few pixels
ITERATIONS = 10
SAMPLE = 2500
TRIAL_PIXELS = 800
_HIDDEN_SHARE = 0.1  # of a trial pixel's bands
_FEWEST_TRIED = 5
_BANDS_DIFFER = 0.2  # by so much the best share of the dates differs from band to band
_LIKELY, _OPEN = 0.7, 0.4  # share of the dates before anything was tried, and how open that is


@dataclass(frozen=True, slots=True)
class Hearing:
    """How far the other cubes are to be believed.

    Args:
        variance: squared error to expect where only they have the band, ``(band,)``; infinite where they are silent.
        share: of all dates together where this cube has the band, ``(band,)``; the rest stays with this cube alone.
        gained: squared error that this takes off, ``(band,)``.
    """

    variance: NDArray[np.float64]
    share: NDArray[np.float64]
    gained: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Companions:
    """All other cubes of the place, asked together.

    Args:
        mine: the cube to be restored.
        others: one each.
        dates: all of them in one model, this cube among them; None where there are too few pixels for one.
        model: of our bands, then theirs at our bands, ``2 * band`` elements; None where no band is lost here.
        variance: squared error to expect where only they have the band, ``(band,)``; infinite elsewhere.
        sentence: who they are, for people.
    """

    mine: Member
    others: tuple[Companion, ...]
    dates: Dates | None
    model: LowRank | None
    variance: NDArray[np.float64]
    sentence: str

    @property
    def speaks(self) -> NDArray[np.bool_]:
        """Bands in which they have something to say, ``(band,)``."""
        return np.isfinite(self.variance) | (False if self.dates is None else self.dates.known(self.mine))

    def __call__(self, view: View) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The joint answer and where there is one, both ``(pixel, band)``."""
        values, heard = np.zeros(view.values.shape, np.float32), np.zeros(view.values.shape, bool)
        if self.dates is not None:
            known = self.dates.known(self.mine)
            values, heard = self.dates.predict(self.mine, view), np.tile(known, (len(values), 1))
        if self.model is not None:
            bands = view.values.shape[1]
            both = _beside(view, self.others)
            theirs = self.model.predict_bands(both.values, both.usable, slice(bands, None))
            carried = np.isfinite(self.variance)
            values = np.where(carried, theirs, values)
            # A pixel that the others did not see either has nobody to ask.
            heard = np.where(carried, both.usable[:, bands:].any(1, keepdims=True), heard)
        return values, heard

    def beside(self, alone: LowRank | None) -> Hearing:
        """How far they are to be believed beside what this cube's own statistics say.

        Some measured voxels are hidden from both. The share is the one that would have erred least, where noise of the
        hidden voxels cancels; a band that says little of its own share takes that of all bands.

        Args:
            alone: the statistics of this cube.
        """
        zeros = np.zeros(self.variance.shape)
        if self.dates is None or alone is None:
            return Hearing(self.variance, zeros, zeros)
        sample = self.mine.sample
        some = sample.rows(np.arange(0, len(sample.pixels), max(1, len(sample.pixels) // TRIAL_PIXELS)))
        tried = self.dates.known(self.mine) & alone.known
        hidden = (np.random.default_rng(0).random(some.usable.shape) < _HIDDEN_SHARE) & some.usable & tried
        blind = some.hiding(hidden)
        own = np.where(hidden, some.values - alone.predict(blind)[0], 0.0).astype(np.float64)
        joint = np.where(hidden, some.values - self.dates.predict(self.mine, blind), 0.0).astype(np.float64)
        count = hidden.sum(0)
        noise = np.maximum(np.square(joint).sum(0) / np.maximum(count, 1), 1e-12)
        # The hidden voxel has taught both its band's loadings, and the one that was freer has learnt more of its noise.
        learnt = (self.dates.spent(self.mine) - alone.loadings.shape[1]) / np.maximum(alone.seen, 1)
        better = (own * (own - joint)).sum(0) - count * noise * learnt
        apart = np.square(own - joint).sum(0)
        sure, known = apart / noise, count >= _FEWEST_TRIED
        weight = float(sure[known].sum()) + 1 / _OPEN**2
        usual = (float((better / noise)[known].sum()) + _LIKELY / _OPEN**2) / weight
        share = (np.where(known, better / noise, 0.0) + usual / _BANDS_DIFFER**2) / (
            np.where(known, sure, 0.0) + 1 / _BANDS_DIFFER**2
        )
        share = np.where(tried, np.clip(share, 0.0, 1.0), 0.0)
        return Hearing(self.variance, share, np.square(share) * apart / np.maximum(count, 1))


def companions_of(
    mine: Member, others: Sequence[Companion], names: Sequence[str], dates: Dates | None
) -> Companions | None:
    """The others asked together; None where there are too few pixels or bands for a model.

    Args:
        mine: the cube to be restored.
        others: its companions, one at least.
        names: what each is called for people, ``(other,)``.
        dates: all of them and ``mine`` in one model, or None.
    """
    bands = mine.axis.count
    variance, model = np.full(bands, np.inf), None
    if (mine.sample.usable.sum(0) < low_rank.FEWEST_SEEN).any():
        every = max(1, -(-len(mine.sample.pixels) // SAMPLE))
        both = _beside(mine.sample.rows(np.arange(0, len(mine.sample.pixels), every)), tuple(others))
        noise = np.maximum(np.concatenate([mine.noise, mine.noise]), 1e-5)
        factors = min(FACTORS, max(1, len(both.pixels) // PIXELS_A_FACTOR))
        model = low_rank.fit(both, noise, factors, ITERATIONS)
    if model is not None:
        shown = both.usable[:, bands:].sum(0)
        level = (both.values[:, bands:] * both.usable[:, bands:]).sum(0) / np.maximum(shown, 1)
        # Several dates are carried by shapes of one kind, but their calibrations err each its own way.
        doubt = np.min([other.light.doubt for other in others], axis=0)
        carried = (level * doubt) ** 2 + np.maximum(model.noise[bands:], 1e-9) / max(len(others), 1)
        lost = ~model.known[:bands] & model.known[bands:]
        lost &= True if dates is None else ~dates.known(mine)
        variance = np.where(lost, carried, np.inf)
    if model is None and dates is None:
        return None
    told = ", ".join(names)
    sentence = f"What other cubes of the same place show, in this cube's light, with this pixel's own bands: {told}."
    return Companions(mine, tuple(others), dates, model, variance, sentence)


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
