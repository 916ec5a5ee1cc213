"""Soils under water films, water over a bottom, and grains mixed intimately: small models that vary library spectra.

Soil moisture: a wet soil is darker by inner reflection (Lekner and Dorf 1988, Appl. Opt. 27, 1278) and covered by films
of water whose number is Poisson distributed (Bach and Mauser 1994; Yang, van der Tol et al. 2020, Remote Sens. Environ.
247, 111870). Intimate mixtures are linear in single scattering albedo (Hapke 1981, J. Geophys. Res. 86, 3039).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.radiative_transfer.leaf import surface_transmission
from palimpsest.radiative_transfer.leaf_absorption import water_absorption_per_cm, water_index

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILM_CM = 0.015
SOIL_INDEX = 2.0
MOST_FILMS = 6


def moist_soil(
    wavelengths_nm: NDArray[np.float64], dry: NDArray[np.float64], mean_films: float
) -> NDArray[np.float64]:
    """Reflectance of a soil under a mean number of water films, ``(wavelength,)``; 0 films is the dry soil."""
    if mean_films <= 0:
        return dry
    in_water, in_air, inner, outer = _wet_surfaces(np.asarray(wavelengths_nm, np.float64).tobytes())
    background = 1 - (1 - dry) * (dry * in_water / in_air + 1 - dry)
    films = np.arange(1, MOST_FILMS + 1)
    log_factorial = np.cumsum(np.log(films))
    weights = np.exp(-mean_films + films * np.log(mean_films) - log_factorial)
    none = float(np.exp(-mean_films))
    through = np.exp(-2 * water_absorption_per_cm(wavelengths_nm) * FILM_CM * films[:, None])
    wet = outer + (1 - outer) * (1 - inner) * through * background / (1 - inner * through * background)
    weights = weights / weights.sum() * (1 - none)
    return np.asarray(none * dry + weights @ wet)


@lru_cache(maxsize=8)
def _wet_surfaces(wavelengths_nm: bytes) -> tuple[NDArray[np.float64], ...]:
    """Transmission of wet and of dry soil's surface, then reflection of water's, from inside and from outside."""
    index = water_index(np.frombuffer(wavelengths_nm, np.float64))
    return (
        surface_transmission(SOIL_INDEX / index, 90.0), surface_transmission(np.full_like(index, SOIL_INDEX), 90.0),
        1 - surface_transmission(index, 90.0) / index**2, 1 - surface_transmission(index, 40.0),
    )


def over_bottom(
    wavelengths_nm: NDArray[np.float64], deep: NDArray[np.float64], bottom: NDArray[np.float64], depth_m: float
) -> NDArray[np.float64]:
    """Reflectance of water of this depth over a bottom: the bottom fades on the light's way down and up.

    Source: Maritorena et al. 1994, Limnol. Oceanogr. 39, 1689 (equation 9a), with attenuation by pure water and a
    little scattering.
    """
    attenuation_per_m = 100 * water_absorption_per_cm(wavelengths_nm) + 0.05 + 0.25 * (400 / wavelengths_nm) ** 2
    fade = np.exp(-2 * attenuation_per_m * depth_m)
    return np.asarray(deep * (1 - fade) + bottom * fade)


def intimate(spectra: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reflectance of grains mixed intimately.

    Args:
        spectra: reflectances of the pure materials, ``(material, wavelength)``.
        shares: cross-section shares, ``(..., material)``, sum 1.
    """
    bounded = np.clip(spectra, 1e-4, 0.999)
    albedo = 1 - ((1 - bounded) / (1 + 2 * bounded)) ** 2  # r = (1 - g) / (1 + 2 g), g = sqrt(1 - w)
    root = np.sqrt(1 - shares @ albedo)
    return np.asarray((1 - root) / (1 + 2 * root))


def grain(reflectance: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """The same powder with coarser (above 1) or finer grains: longer paths inside a grain deepen every feature.

    Path length scales absorbance of the single scattering albedo: ``w -> w ** size``.
    """
    bounded = np.clip(reflectance, 1e-4, 0.999)
    albedo = 1 - ((1 - bounded) / (1 + 2 * bounded)) ** 2
    root = np.sqrt(1 - albedo**size)
    return np.asarray((1 - root) / (1 + 2 * root))
