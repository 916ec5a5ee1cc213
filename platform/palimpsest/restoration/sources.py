"""Everyone who may propose a value for a damaged voxel, fitted once for a scene, asked window by window.

A source is known to the judge by what it does and how well it fits, never by a name learned by heart. Those that cannot
speak about a voxel say so instead of guessing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.interpolation import linear, pchip

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.restoration.low_rank import LowRank
    from palimpsest.restoration.semantic_mapper import Reading
    from palimpsest.restoration.view import View

SOURCES = (
    "interpolation.linear", "interpolation.pchip", "correlation.low_rank", "library", "library.residual",
    "illuminated", "illuminated.residual", "correlation.group",
)
LINEAR, PCHIP, LOW_RANK, LIBRARY, LIBRARY_RESIDUAL, LIT, LIT_RESIDUAL, GROUP = range(len(SOURCES))
KNOWLEDGE = (LIBRARY, LIBRARY_RESIDUAL, LIT, LIT_RESIDUAL)
_MOST = 4.0  # candidates beyond four times 'bright' are broken fits, not proposals


@dataclass(frozen=True, slots=True)
class Sources:
    """What was fitted to a scene.

    Args:
        everywhere: bands that (almost) no pixel shows, ``(band,)``: only spectra and knowledge can say them.
        low_rank: the scene's own statistics, or None.
        flat: the library under flat light, or None.
        lit: the library under a fitted illumination, or None.
    """

    everywhere: NDArray[np.bool_]
    low_rank: LowRank | None
    flat: Reading | None
    lit: Reading | None


@dataclass(frozen=True, slots=True)
class Proposals:
    """Candidates for some pixels.

    Args:
        values: ``(source, pixel, band)`` float32, finite; meaningful where ``speaks``.
        speaks: ``(source, pixel, band)``.
        spread: the low-rank model's own standard deviation, ``(pixel, band)``; zeros without one.
        shares: of the flat and of the lit reading, each ``(pixel, material)`` or None.
        residuals: the residual carried into the gaps by each reading, ``(pixel, band)`` or None.
    """

    values: NDArray[np.float32]
    speaks: NDArray[np.bool_]
    spread: NDArray[np.float32]
    shares: tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]
    residuals: tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]


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
    shares: list[NDArray[np.float64] | None] = [None, None]
    residuals: list[NDArray[np.float32] | None] = [None, None]
    for number, (reading, plain) in enumerate(((sources.flat, LIBRARY), (sources.lit, LIT))):
        if reading is None or not (~view.usable & sources.everywhere).any():
            continue
        mixture = reading.shares(filled)
        explained = (mixture @ reading.spectra).astype(np.float32)
        rest = pchip(view, np.where(view.usable, view.values - explained, np.float32(0)))
        values[plain], values[plain + 1] = explained, explained + rest
        shares[number], residuals[number] = mixture, rest
        speaks[plain] = speaks[plain + 1] = sources.everywhere
    if companion is not None:
        values[GROUP], speaks[GROUP] = companion
    wild = ~np.isfinite(values) | (np.abs(values) > _MOST)
    speaks &= ~wild
    values[wild] = 0.0
    return Proposals(values, speaks, spread, (shares[0], shares[1]), (residuals[0], residuals[1]))
