"""Trials in the gap itself, on pixels whose truth is the library's: what no hiding beside a gap can show.

A place beside a red edge is not the red edge. So the scene is rehearsed: its pixels are read with a random half of the
library, what that half says of them in all bands is taken for true, together with what no mixture explained of another
pixel, moved along the spectrum; the bands that the scene lost are hidden, and every source is asked, the whole library
behind those that know materials. What they miss is a trial like others, made where the gap is: it shows what the gap
hides, and how far spectra that look alike in the observed bands part ways in it. It is honest as far as the library is.
Whether it counts is for the judge to say, who sees how well the library reads the bands beside the gap, and hears the
trials that were made there.

Source: parametric bootstrap, Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 6.5.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.library.unmixing import unmix
from palimpsest.restoration.spectrum.interpolation import linear
from palimpsest.restoration.study.sources import propose, runs_of
from palimpsest.restoration.study.trials import none, stretches_of, together

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.restoration.library.semantic_mapper import Library, Reading
    from palimpsest.restoration.study.sources import Sources
    from palimpsest.restoration.study.trials import Stretches
    from palimpsest.restoration.view import View

HALVES = 6  # of the library, drawn by chance; each is the truth of as many pixels
_SEED = 97


def rehearsed(
    sources: Sources, some: View, member: NDArray[np.intp], groups: int, library: Library | None,
    noise: NDArray[np.float64],
) -> Stretches:
    """A trial of each gap that all pixels share, in the gap itself; none without a library that was read.

    Args:
        sources: fitted to the scene.
        some: pixels of the scene, to be imitated.
        member: their group, ``(pixel,)``.
        groups: number of groups.
        library: all materials at the bands, or None.
        noise: standard deviation per band, scaled, ``(band,)``.
    """
    readings = [reading for reading in (sources.flat, sources.lit) if reading is not None]
    if library is None or not readings or not len(some.pixels):
        return none()
    rng = np.random.default_rng(_SEED)
    best = min(readings, key=_missed)
    if not np.isfinite(_missed(best)):
        return none()
    truth = _imitated(best, some, library, rng) + _unexplained(best, some, rng)
    shown = replace(some, values=np.where(some.usable, truth, 0.0).astype(np.float32))
    bare = replace(sources, low_rank=None)
    found = propose(bare, shown)
    return together([
        stretches_of(shown, member, groups, run, number, found, bare, noise, truth)
        for number, run in enumerate(runs_of(sources.everywhere))
    ])


def _unexplained(reading: Reading, some: View, rng: np.random.Generator) -> NDArray[np.float64]:
    """What is left of other pixels, moved along the spectrum: as large and as rough as it is, ``(pixel, band)``."""
    known = np.flatnonzero((reading.weights > 0) & some.usable.any(0))
    values = np.where(some.usable, some.values, linear(some)).astype(np.float64)
    left = (values - reading.dark - reading.shares(values) @ reading.spectra) * reading.weights
    bands = np.arange(left.shape[1])
    left = np.stack([np.interp(bands, known, row[known]) for row in left])[rng.permutation(len(left))]
    moves = rng.integers(bands.size, size=len(left))
    return np.stack([np.roll(row, by) for row, by in zip(left, moves, strict=True)])


def _missed(reading: Reading) -> float:
    """Mean square of what a reading leaves of the scene, by its own trust in the bands."""
    used = reading.weights > 0
    return float(np.nanmean((reading.misfit * reading.weights)[used] ** 2)) if used.any() else np.inf


def _imitated(reading: Reading, some: View, library: Library, rng: np.random.Generator) -> NDArray[np.float64]:
    """Pixels as halves of the library would have them, without noise, ``(pixel, band)``."""
    values = np.where(some.usable, some.values, linear(some)).astype(np.float64) - reading.dark
    spectra = library.spectra * reading.gain
    out = np.zeros_like(values)
    for number in range(HALVES):
        rows = np.arange(number, len(values), HALVES)
        half = spectra[rng.permutation(len(spectra))[: max(1, len(spectra) // 2)]]
        out[rows] = unmix(values[rows], half, reading.weights) @ half
    return out + reading.dark
