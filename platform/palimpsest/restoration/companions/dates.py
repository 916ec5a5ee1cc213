"""Several cubes of one place as one table: group factor analysis, in which each cube has noise and factors of its own.

A pixel's spectra at all dates are one long vector. Ground that all dates see is a factor of all; light and air of one
date are factors of that date. Each date's loadings are held by a prior that its own data set, direction by direction:
a factor that says nothing about a date, or less than its noise would feign, is silent there. So four noisy dates know
a pixel's factors better than one does, and no date pays with its own noise for what only the others have.

Source: Virtanen, Klami, Khan and Kaski 2012, AISTATS, "Bayesian group factor analysis"; the relevance of a factor to a
group by the moments of its loadings, as in James and Stein 1961 (positive part).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.factors.low_rank import LENGTHENED, LowRank, fit_table, pruned, step_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.restoration.companions.companion import Member
    from palimpsest.restoration.view import View

FACTORS = 40
PIXELS_A_FACTOR = 50  # small scenes: more factors than that fit the noise of so few pixels
SAMPLE = 4000
ITERATIONS, SETTLING = 5, 5
WEAKEST = 1.0  # factors may be weak: the prior of each date decides what they say there
_SILENT = 1e-3  # of what noise would feign: a factor that says nothing, kept away from a division by nothing


@dataclass(frozen=True, slots=True)
class Dates:
    """All cubes of a place in one model.

    Args:
        members: the cubes, in the order of their bands in the model.
        model: of all their bands, one cube behind the other.
    """

    members: tuple[Member, ...]
    model: LowRank

    def bands_of(self, mine: Member) -> slice:
        """Where the bands of a member lie."""
        place = next(number for number, member in enumerate(self.members) if member is mine)
        start = sum(member.axis.count for member in self.members[:place])
        return slice(start, start + mine.axis.count)

    def known(self, mine: Member) -> NDArray[np.bool_]:
        """Bands of a member that the model can speak about, ``(band,)``."""
        return self.model.known[self.bands_of(mine)]

    def predict(self, mine: Member, view: View) -> NDArray[np.float32]:
        """What all dates together say of a member's pixels, ``(pixel, band)``; ``view`` is its own view of them."""
        return self.model.predict_bands(*_beside(self.members, view.pixels, mine, view), self.bands_of(mine))

    def spent(self, mine: Member) -> NDArray[np.float64]:
        """Factors' worth of freedom that each band of a member was fitted with, ``(band,)``."""
        bands = self.bands_of(mine)
        relevance, _ = _relevance(self.model, bands)
        count = np.maximum(self.model.seen[bands], 1)[:, None]
        return np.asarray((count / (count + 1 / relevance)).sum(1))


def dates_of(members: Sequence[Member], seed: int = 0) -> Dates | None:
    """The cubes of a place in one model; None where there are too few pixels or bands for one.

    Args:
        members: cubes of the same pixels, two or more.
        seed: of the sample.
    """
    pixels = np.unique(np.concatenate([member.sample.pixels for member in members]))
    if len(pixels) > SAMPLE:
        pixels = np.sort(np.random.default_rng(seed).choice(pixels, SAMPLE, replace=False))
    values, usable = _beside(tuple(members), pixels)
    noise = np.concatenate([member.noise for member in members])
    factors = max(1, min(FACTORS, len(pixels) // PIXELS_A_FACTOR))
    model = fit_dates(values, usable, noise, [member.axis.count for member in members], factors)
    return None if model is None else Dates(tuple(members), model)


def fit_dates(
    values: NDArray[np.float32], trusted: NDArray[np.bool_], noise: NDArray[np.float64], widths: Sequence[int],
    factors: int,
) -> LowRank | None:
    """Group factor analysis of a table; None where there are too few pixels or bands.

    Args:
        values: ``(pixel, band)``, the bands of one cube behind those of the other.
        trusted: the same shape.
        noise: standard deviation per band to begin with, ``(band,)``.
        widths: bands of each cube.
        factors: at most this many.
    """
    model = fit_table(values, trusted, noise, factors, ITERATIONS, lengthened=LENGTHENED)
    if model is None:
        return None
    m = trusted & model.known
    model = pruned(model, m, WEAKEST)
    y, count = values.astype(np.float64), np.maximum(m.sum(0), 1).astype(np.float64)
    for _ in range(SETTLING):
        model = step_of(model, y, m, count, _held(model, widths))
    return model


def _held(model: LowRank, widths: Sequence[int]) -> NDArray[np.float64]:
    """Precision of the loadings, ``(band, factor, factor)``: each cube's own, along its own directions."""
    k = model.loadings.shape[1]
    held, start = np.empty((len(model.mean), k, k)), 0
    for width in widths:
        bands = slice(start, start + width)
        relevance, directions = _relevance(model, bands)
        held[bands] = (directions.T / relevance) @ directions
        start += width
    return held


def _relevance(model: LowRank, bands: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean square of a cube's loadings over its noise along its principal directions ``(factor,)``, and these as rows.

    What noise alone would give them is taken off.
    """
    known = model.known[bands]
    k = model.loadings.shape[1]
    feigned = 1 / max(float(np.median(model.seen[bands][known])) if known.any() else 1.0, 1.0)
    if not known.any():
        return np.full(k, _SILENT * feigned), np.eye(k)
    over = model.loadings[bands][known] / np.sqrt(model.noise[bands][known])[:, None]
    power, directions = np.linalg.eigh(over.T @ over)
    relevance = np.maximum(power / int(known.sum()) - feigned, _SILENT * feigned)
    return relevance, np.ascontiguousarray(directions.T)


def _beside(
    members: tuple[Member, ...], pixels: NDArray[np.int64], mine: Member | None = None, view: View | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Values of all members, one behind the other, and which are usable, both ``(pixel, band)``.

    ``mine`` is seen as ``view`` shows it.
    """
    views = [view if view is not None and member is mine else member.view(pixels) for member in members]
    return np.concatenate([one.values for one in views], 1), np.concatenate([one.usable for one in views], 1)
