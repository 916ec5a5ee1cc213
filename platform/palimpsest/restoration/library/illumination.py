"""Light and air between a material's reflectance and what a sensor stored, as a smooth gain per band.

Libraries hold reflectance; scenes may hold radiance or raw numbers. The gain is the exponential of a few physical
shapes (the Sun as a black body, Rayleigh scattering, the release's atmospheric windows, a slope), fitted robustly to
the ratio of observed spectra to their unmixed ones. In a reflectance scene it comes out flat.

Source: Planck's law at the Sun's effective temperature of 5772 K (IAU 2015 Resolution B3); scattering ~ wavelength^-4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import SpectralWindow

SUN_K = 5772.0
_SECOND_RADIATION_NM_K = 1.438777e7
_FIT_ROUNDS = 5
_HUBER = 0.15  # of the natural logarithm: beyond it a band is not explained by light
# How far each shape may go before it must be paid for: level free, Sun and air easily, slope and haze hardly.
_RIDGE = (0.0, 0.0004, 0.0004, 0.01, 0.04)
_RAYLEIGH_NM = 500.0


def shapes(centre_nm: NDArray[np.float64], windows: Sequence[SpectralWindow]) -> NDArray[np.float64]:
    """Logarithms of the shapes at the bands, ``(band, shape)``: level, Sun, air, haze, slope."""
    wavelength = np.asarray(centre_nm, float)
    sun = -5 * np.log(wavelength / 1000) - np.log(np.expm1(_SECOND_RADIATION_NM_K / (wavelength * SUN_K)))
    depth = np.zeros_like(wavelength)
    for window in windows:
        middle, half = (window.from_nm + window.to_nm) / 2, max((window.to_nm - window.from_nm) / 2, 1.0)
        strength = -np.log(np.clip(window.transmission, 0.02, 1.0))
        depth += 1.3 * strength * np.exp(-0.5 * ((wavelength - middle) / (0.55 * half)) ** 2)
    haze = (wavelength / _RAYLEIGH_NM) ** -4
    return np.stack([np.ones_like(wavelength), sun - sun.mean(), -depth, haze, (wavelength - 1400) / 1000], 1)


def fit_gain(
    observed: NDArray[np.float64], explained: NDArray[np.float64], weights: NDArray[np.float64],
    basis: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Gain per band that brings the explained mean spectrum to the observed one, ``(band,)``.

    Args:
        observed: mean of the observed spectra, ``(band,)``.
        explained: mean of what unmixing without gain makes of them, ``(band,)``.
        weights: per band, 0 where not observed.
        basis: from :func:`shapes`.
    """
    used = weights > 0
    ratio = np.log(np.maximum(observed[used], 1e-3) / np.maximum(explained[used], 1e-3))
    trust = (weights[used] * np.maximum(observed[used], 0.02)) ** 2
    design = basis[used]
    scale: NDArray[np.float64] = np.zeros(basis.shape[1])
    ridge = np.asarray(_RIDGE)
    for _ in range(_FIT_ROUNDS):
        rest = ratio - design @ scale
        weight = trust * np.minimum(1.0, _HUBER / np.maximum(np.abs(rest), 1e-6))
        normal = (design * weight[:, None]).T @ design + np.diag(ridge * weight.sum() + 1e-12)
        scale = np.asarray(np.linalg.solve(normal, (design * weight[:, None]).T @ ratio), np.float64)
    return np.asarray(np.exp(np.clip(basis @ scale, -6.0, 3.0)))
