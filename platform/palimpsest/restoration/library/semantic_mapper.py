"""Integrator, part 2: which materials a scene's spectra are, seen in training or never.

Purely by attributes: the group means of the scene are unmixed on every reference spectrum of the release, the materials
that take part are kept (they are the subgraph this context needs), and two readings are prepared, under flat light and
under a fitted illumination. Bands that no mixture explains (opaque windows, a badly calibrated detector) lose their
weight, so that one bad stretch does not spoil the fit everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.library.illumination import fit_gain, shapes
from palimpsest.restoration.library.kinship import kinship
from palimpsest.restoration.library.modelled import how_made
from palimpsest.restoration.library.unmixing import unmix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase, Material
    from palimpsest.restoration.view import Axis

RETRIEVED = 40
ROUNDS = 5
NARROWED_AFTER = 2
FEWEST_FIT_BANDS = 8
SHUT = 0.3  # transmission below which what is stored is hardly light
_DARK_SHARE = 0.9  # of the darkest level there: some light comes through
_NEARLY_DARKEST = 1.1
_LARGEST_UNKNOWN_SHARE = 0.1
_LEAST_LEFT = 1e-9  # of what a mixture leaves over; bands of nothing but zeros are explained to the last bit
_OUTLYING = 2.5
_DARKEST = 0.02  # transmission below which windows are alike
_FLAT = 0.2  # standard deviation of the logarithm of a light; sunlight has over 0.3


@dataclass(frozen=True, slots=True)
class Reading:
    """The scene as a mixture of materials under one light.

    Args:
        materials: the retrieved materials.
        spectra: under this light, ``(material, band)``, finite.
        weights: trust in each band for the fit, ``(band,)``, 0 where it is not used.
        gain: the light, ``(band,)``; ones when flat.
        misfit: root mean square of what the fit leaves of the group means, per band, ``(band,)``; NaN where not used.
        kinship: how what a mixture leaves over goes together, ``(band, band)``.
        opacity: of the air, optical depth at the bands, ``(band,)``.
        dark: what the sensor stores when no light comes in, scaled.
    """

    materials: tuple[Material, ...]
    spectra: NDArray[np.float64]
    weights: NDArray[np.float64]
    gain: NDArray[np.float64]
    misfit: NDArray[np.float64]
    kinship: NDArray[np.float64]
    opacity: NDArray[np.float64]
    dark: float = 0.0

    @property
    def shut(self) -> NDArray[np.bool_]:
        """Bands to which the air lets hardly any light through: what is left over there says nothing, ``(band,)``."""
        return _shut(self.opacity)

    @property
    def is_sunlit(self) -> bool:
        """Whether the light is far from flat, as in radiance and raw numbers."""
        return float(np.std(np.log(self.gain))) > _FLAT

    @property
    def left(self) -> float:
        """Root mean square of the misfit, over the bands of the fit."""
        return float(np.sqrt(np.nanmean(np.square(self.misfit))))

    def shares(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Shares of the materials in each pixel, ``(pixel, material)``; ``values`` ``(pixel, band)``."""
        return unmix(values.astype(np.float64) - self.dark, self.spectra, self.weights)


@dataclass(frozen=True, slots=True)
class Library:
    """Spectra at a sensor's bands: what the graph holds of materials, for this axis, and what models make of them.

    Args:
        materials: those whose reference covers the bands; then those that were modelled, each as often as it was.
        spectra: ``(material, band)``, finite.
        basis: shapes of light at the bands, ``(band, shape)``.
        opacity: of the air by the release's windows, optical depth at the bands, ``(band,)``.
        nm: centres of the bands, ``(band,)``.
    """

    materials: tuple[Material, ...]
    spectra: NDArray[np.float64]
    basis: NDArray[np.float64]
    opacity: NDArray[np.float64]
    nm: NDArray[np.float64]

    @property
    def shut(self) -> NDArray[np.bool_]:
        """Bands to which the air lets hardly any light through, ``(band,)``."""
        return _shut(self.opacity)

    @property
    def references(self) -> Library:
        """Without what was modelled."""
        return self.some([row for row, material in enumerate(self.materials) if not how_made(material)])

    def some(self, rows: Sequence[int]) -> Library:
        """That of the given rows."""
        return replace(self, materials=tuple(self.materials[row] for row in rows), spectra=self.spectra[list(rows)])


def library_for(axis: Axis, knowledge: KnowledgeBase) -> Library | None:
    """The release's reference spectra at the bands of an axis; None without wavelengths or without spectra."""
    from palimpsest.spectra.resampling import resample

    candidates = [material for material in knowledge.materials if material.spectrum is not None]
    if axis.centre_nm is None or axis.fwhm_nm is None or not candidates:
        return None
    reference = np.stack([np.asarray(material.spectrum, float) for material in candidates])
    spectra = resample(reference, knowledge.grid_nm, axis.centre_nm, axis.fwhm_nm)
    kept, rows = [], []
    for material, spectrum in zip(candidates, spectra, strict=True):
        known = np.isfinite(spectrum)
        is_enough = (~known).mean() <= _LARGEST_UNKNOWN_SHARE and known.sum() >= FEWEST_FIT_BANDS
        if is_enough and np.any(spectrum[known] > 0):
            kept.append(material)
            rows.append(np.maximum(np.interp(axis.along, axis.along[known], spectrum[known]), 0.0))
    if not kept:
        return None
    opacity = np.zeros(axis.count)
    for window in knowledge.windows:
        inside = (axis.centre_nm >= window.from_nm) & (axis.centre_nm <= window.to_nm)
        opacity[inside] = np.maximum(opacity[inside], -np.log(np.clip(window.transmission, _DARKEST, 1.0)))
    return Library(tuple(kept), np.stack(rows), shapes(axis.centre_nm, knowledge.windows), opacity, axis.along)


def _shut(opacity: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(opacity >= -np.log(SHUT))


def read_scene(
    library: Library, means: NDArray[np.float64], observed: NDArray[np.bool_], *, lit: bool, retrieve: bool = True
) -> Reading | None:
    """The materials of a scene from its group means; None where too few bands are observed.

    Args:
        library: the materials at the bands.
        means: mean spectra of groups and single pixels, ``(spectrum, band)``.
        observed: bands to fit on, ``(band,)``.
        lit: fit an illumination; otherwise the light is flat. One far from flat that explains the scene no better
            than a flat one is none: spectra that no material explains, as of deep water, would pass for sunlight.
        retrieve: keep only the materials that take part; otherwise all (the graph processor left out).
    """
    if observed.sum() < FEWEST_FIT_BANDS:
        return None
    reading = _read(library, means, observed, lit=lit, retrieve=retrieve)
    if lit and reading.is_sunlit:
        flat = _read(library, means, observed, lit=False, retrieve=retrieve)
        return flat if flat.left <= reading.left else reading
    return reading


def _read(
    library: Library, means: NDArray[np.float64], observed: NDArray[np.bool_], *, lit: bool, retrieve: bool
) -> Reading:
    dark = dark_signal(means, observed, library.shut)
    means = means - dark
    open_air = observed & ~library.shut
    if open_air.sum() >= FEWEST_FIT_BANDS:
        # Where the air is shut a sensor stores noise, zeros or what a correction made of them: no material.
        observed = open_air
    base = observed.astype(float)
    weights, gain = base.copy(), np.ones(observed.size)
    spectra, names = library.spectra, np.arange(len(library.spectra))
    basis = library.basis if lit else library.basis[:, :1]
    shares = np.zeros((len(means), len(spectra)))
    for number in range(ROUNDS):
        if retrieve and number == NARROWED_AFTER:
            # What takes no part in two readings of the whole library will not in the next ones either.
            kept = _retrieved(shares, 2 * RETRIEVED)
            spectra, names = spectra[kept], names[kept]
        if lit:
            flat = unmix(means, spectra * gain, weights) @ spectra
            gain = fit_gain(means.mean(0), flat.mean(0), weights, basis)
        shares = unmix(means, spectra * gain, weights)
        left = np.sqrt(((means - shares @ (spectra * gain)) ** 2).mean(0))
        typical = max(float(np.median(left[observed])), _LEAST_LEFT)
        weights = base * np.minimum(1.0, _OUTLYING * typical / np.maximum(left, _LEAST_LEFT))
    kept = _retrieved(shares, RETRIEVED) if retrieve else np.arange(len(spectra))
    misfit = np.where(observed, left, np.nan)
    related = kinship(library.spectra * gain, names[kept], weights, library.nm)
    return Reading(
        tuple(library.materials[k] for k in names[kept]), (spectra * gain)[kept], weights, gain, misfit, related,
        library.opacity, dark,
    )


def dark_signal(means: NDArray[np.float64], observed: NDArray[np.bool_], shut: NDArray[np.bool_]) -> float:
    """What a sensor stores without light, scaled: the level where the air is shut, if nothing is darker; else 0.

    Args:
        means: mean spectra, ``(spectrum, band)``.
        observed: ``(band,)``.
        shut: ``(band,)``.
    """
    if not (observed & shut).any():
        return 0.0
    level = means.mean(0)
    darkest = float(level[observed & shut].min())
    return max(_DARK_SHARE * darkest, 0.0) if darkest <= _NEARLY_DARKEST * float(level[observed].min()) else 0.0


def narrowed(library: Library, readings: tuple[Reading | None, ...]) -> Library:
    """The library of the spectra that some reading of the scene took, in the library's order."""
    taken = {id(material) for reading in readings if reading is not None for material in reading.materials}
    return library.some([row for row, material in enumerate(library.materials) if id(material) in taken])


def _retrieved(shares: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    # Both what is common and what fills a single spectrum matter; ties fall to release order.
    claim = shares.mean(0) + 0.3 * shares.max(0)
    best = np.argsort(-claim, kind="stable")[:most]
    return np.sort(best[claim[best] > 0]) if (claim > 0).any() else np.arange(min(len(claim), most))
