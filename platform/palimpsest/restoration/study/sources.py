"""Everyone who may propose a value for a damaged voxel, fitted once for a scene, asked window by window.

A source is known to the judge by what it does and how well it fits, never by a name learned by heart. Those that cannot
speak about a voxel say so instead of guessing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.library.kinship import carried
from palimpsest.restoration.spectrum.interpolation import linear, pchip
from palimpsest.restoration.spectrum.kriging import FADE_NM, SPAN_NM, carry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from palimpsest.restoration.factors.low_rank import LowRank
    from palimpsest.restoration.library.semantic_mapper import Reading
    from palimpsest.restoration.spectrum.kernel_blend import KernelBlend
    from palimpsest.restoration.view import View

SOURCES = (
    "interpolation.linear", "interpolation.pchip", "interpolation.kriging", "correlation.low_rank",
    "library", "library.residual", "library.fading", "library.kindred",
    "illuminated", "illuminated.residual", "illuminated.fading", "illuminated.kindred", "correlation.group",
)
(
    LINEAR, PCHIP, KRIGING, LOW_RANK, LIBRARY, LIBRARY_RESIDUAL, LIBRARY_FADING, LIBRARY_KINDRED,
    LIT, LIT_RESIDUAL, LIT_FADING, LIT_KINDRED, GROUP,
) = range(len(SOURCES))
FLAT_READING = LIBRARY, LIBRARY_RESIDUAL, LIBRARY_FADING, LIBRARY_KINDRED
LIT_READING = LIT, LIT_RESIDUAL, LIT_FADING, LIT_KINDRED
KNOWLEDGE = (*FLAT_READING, *LIT_READING)
_GAS = 0.36  # optical depth: a transmission of 0.7
_MOSTLY = 0.5
_MOST = 4.0  # candidates beyond four times 'bright' are broken fits, not proposals


@dataclass(frozen=True, slots=True)
class Run:
    """A contiguous run of bands that no pixel shows, ``first <= band < last`` in ascending order."""

    first: int
    last: int

    @property
    def bands(self) -> NDArray[np.intp]:
        """The bands of the run, ascending."""
        return np.arange(self.first, self.last)


def runs_of(everywhere: NDArray[np.bool_]) -> list[Run]:
    """The contiguous runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], everywhere, [False]]).astype(np.int8)))
    return [Run(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


@dataclass(frozen=True, slots=True)
class Sources:
    """What was fitted to a scene.

    Args:
        everywhere: bands that (almost) no pixel shows, ``(band,)``: only spectra and knowledge can say them.
        low_rank: the scene's own statistics, or None.
        flat: the library under flat light, or None.
        lit: the library under a fitted illumination, or None.
        blends: how the kriging of a short run goes; it holds line and cubic, which are silent there.
    """

    everywhere: NDArray[np.bool_]
    low_rank: LowRank | None
    flat: Reading | None
    lit: Reading | None
    blends: Mapping[Run, KernelBlend] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proposals:
    """Candidates for some pixels.

    Args:
        values: ``(source, pixel, band)`` float32, finite; meaningful where ``speaks``.
        speaks: ``(source, pixel, band)``.
        spread: the low-rank model's own standard deviation, ``(pixel, band)``; zeros without one.
        shares: of the flat and of the lit reading, each ``(pixel, material)`` or None.
        residuals: what each of :data:`KNOWLEDGE` adds to its mixture of materials, ``(pixel, band)``, or None: nothing,
            the residual carried on by a cubic, the residual fading.
    """

    values: NDArray[np.float32]
    speaks: NDArray[np.bool_]
    spread: NDArray[np.float32]
    shares: tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]
    residuals: tuple[NDArray[np.float32] | None, ...]


def propose(
    sources: Sources, view: View, companion: tuple[NDArray[np.float32], NDArray[np.bool_]] | None = None
) -> Proposals:
    """Every source's candidates for the pixels of a view.

    Args:
        sources: fitted to the scene.
        view: the pixels.
        companion: what other cubes of the same place say here, and where they do, both ``(pixel, band)``.
    """
    pixels, bands = view.values.shape
    values = np.zeros((len(SOURCES), pixels, bands), np.float32)
    speaks = np.zeros(values.shape, bool)
    spread = np.zeros((pixels, bands), np.float32)
    values[LINEAR], values[PCHIP] = linear(view), pchip(view)
    speaks[LINEAR] = speaks[PCHIP] = view.usable.any(axis=1, keepdims=True)
    filled = values[LINEAR]
    model = sources.low_rank
    if model is not None and (~view.usable & model.known).any():
        values[LOW_RANK], spread = model.predict(view)
        speaks[LOW_RANK] = model.known
        filled = np.where(view.usable, view.values, np.where(model.known, values[LOW_RANK], filled))
    gap = sources.everywhere
    shares: list[NDArray[np.float64] | None] = [None, None]
    residuals: list[NDArray[np.float32] | None] = [None] * len(KNOWLEDGE)
    beyond, bridged = _beyond(gap), corrected_gas(sources)
    is_asked = bool((~view.usable & gap).any())
    if is_asked and not gap.all():
        level = filled[:, ~gap].mean(axis=1, keepdims=True)
        values[KRIGING] = level + carry(view.axis, gap, filled - level, SPAN_NM)
        # Beyond the outermost observed band there is no second rim, and the mean level is no guess.
        speaks[KRIGING] = gap & ~beyond
        for run in runs_of(gap):
            if run in sources.blends and not beyond[run.first]:
                inside = slice(run.first, run.last)
                values[KRIGING][:, inside] = sources.blends[run].fill(view.axis, filled, run.bands, gap)
                speaks[[LINEAR, PCHIP], :, inside] = False
    for number, (reading, kinds) in enumerate(((sources.flat, FLAT_READING), (sources.lit, LIT_READING))):
        if reading is None or not is_asked:
            continue
        mixture = reading.shares(filled)
        explained = (mixture @ reading.spectra + reading.dark).astype(np.float32)
        rest = filled - explained
        silent = gap | reading.shut
        if silent.all():
            silent = gap
        spoken = view.usable & ~(silent & ~gap)
        heard = replace(view, usable=spoken)
        kept = pchip(heard, np.where(spoken, rest, np.float32(0)))
        # A residual that nothing holds from the other side fades too, but slowly.
        outside = _beyond(silent)
        kept[:, outside] = carry(view.axis, silent, rest, SPAN_NM)[:, outside]
        kindred = carried(rest, silent, reading.kinship, reading.weights)
        several = kept, carry(view.axis, silent, rest, FADE_NM), kindred
        values[kinds[0]] = explained
        for kind, residual in zip(kinds[1:], several, strict=True):
            values[kind] = explained + residual
            residuals[KNOWLEDGE.index(kind)] = residual
        shares[number] = mixture
        speaks[list(kinds)] = gap & ~bridged
    if companion is not None:
        values[GROUP], speaks[GROUP] = companion
    wild = ~np.isfinite(values) | (np.abs(values) > _MOST)
    speaks &= ~wild
    values[wild] = 0.0
    return Proposals(values, speaks, spread, (shares[0], shares[1]), tuple(residuals))


def corrected_gas(sources: Sources) -> NDArray[np.bool_]:
    """Bands in which the library is no witness: lost runs in a gas window of a cube that is reflectance, ``(band,)``.

    There a correction has divided the air out, or drawn a line across; what is left of the gas is the correction's own
    error, which no material shows, and a library can only mislead. Under sunlight (raw numbers, radiance: a fitted
    light far from flat) the gas itself is there, and the fitted light knows it.
    """
    gap, lit = sources.everywhere, sources.lit
    out = np.zeros(gap.size, bool)
    if lit is None or lit.is_sunlit:
        return out
    gas = (lit.opacity >= _GAS) & ~lit.shut
    for run in runs_of(gap):
        if gas[run.first : run.last].mean() > _MOSTLY:
            out[run.first : run.last] = True
    return out


def _beyond(gap: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bands of a gap that lie before the first or after the last observed one, ``(band,)``."""
    seen = np.flatnonzero(~gap)
    outside = np.ones(gap.size, bool)
    if seen.size:
        outside[seen[0] : seen[-1] + 1] = False
    return outside
