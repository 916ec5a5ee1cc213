"""A simple sky: how much sunlight arrives at each wavelength and where the air lets nothing through.

Sun as a black body of 5772 K; gases as sums of bands at their published centres (water vapour, oxygen, ozone, carbon
dioxide, methane) with one air mass; Rayleigh and haze by power laws. Enough for realistic noise and opaque windows;
not a radiative transfer code, and nothing here corrects real scenes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUN_K = 5772.0
SUN_SOLID_ANGLE_SR = 6.794e-5
OPAQUE_BELOW = 0.06

# (centre nm, half width at 1/e nm, optical depth at one air mass and 2 cm of water vapour)
VAPOUR = (
    (590.0, 6.0, 0.02), (650.0, 6.0, 0.02), (698.0, 7.0, 0.04), (722.0, 10.0, 0.16), (818.0, 14.0, 0.14),
    (940.0, 26.0, 0.85), (975.0, 18.0, 0.25), (1130.0, 28.0, 0.95), (1160.0, 25.0, 0.30), (1270.0, 20.0, 0.04),
    (1350.0, 18.0, 2.2), (1385.0, 28.0, 9.0), (1430.0, 30.0, 2.0), (1470.0, 25.0, 0.35), (1760.0, 25.0, 0.12),
    (1810.0, 25.0, 1.7), (1855.0, 30.0, 7.0), (1910.0, 35.0, 7.0), (1955.0, 22.0, 1.2), (2380.0, 45.0, 0.22),
    (2480.0, 45.0, 0.75), (2560.0, 50.0, 3.0),
)
OTHER_GASES = (
    (600.0, 65.0, 0.035), (688.0, 3.5, 0.20), (762.0, 4.0, 0.75), (1268.0, 7.0, 0.12), (1435.0, 9.0, 0.12),
    (1575.0, 9.0, 0.03), (1605.0, 9.0, 0.03), (2005.0, 12.0, 0.75), (2058.0, 11.0, 0.40), (2300.0, 50.0, 0.05),
    (2350.0, 25.0, 0.07),
)


def solar_irradiance(wavelengths_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Irradiance above the air, W m-2 nm-1."""
    metres = wavelengths_nm * 1e-9
    exponent = 6.62607015e-34 * 2.99792458e8 / (metres * 1.380649e-23 * SUN_K)
    radiance = 2 * 6.62607015e-34 * 2.99792458e8**2 / metres**5 / np.expm1(exponent)
    return np.asarray(radiance * SUN_SOLID_ANGLE_SR * 1e-9)


def transmission(
    wavelengths_nm: NDArray[np.float64], *, vapour_cm: float = 2.0, air_mass: float = 2.2
) -> NDArray[np.float64]:
    """Share of sunlight that reaches the sensor's side of the path, down and up, ``(wavelength,)``."""
    gases = _bands(wavelengths_nm, OTHER_GASES) + _bands(wavelengths_nm, VAPOUR) * vapour_cm / 2.0
    # Unresolved lines saturate: their absorption grows with the root of the path.
    rayleigh = 0.0088 * (wavelengths_nm / 1000) ** -4.09
    haze = 0.06 * (wavelengths_nm / 1000) ** -1.3
    return np.asarray(np.exp(-gases * np.sqrt(air_mass) - (0.5 * rayleigh + 0.15 * haze) * air_mass))


def vapour_depth(wavelengths_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Optical depth of 2 cm of water vapour at one air mass, ``(wavelength,)``."""
    return _bands(wavelengths_nm, VAPOUR)


def diffuse_share(wavelengths_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the light on the ground that comes from the sky rather than from the sun, ``(wavelength,)``."""
    scattered = 0.0088 * (wavelengths_nm / 1000) ** -4.09 + 0.06 * (wavelengths_nm / 1000) ** -1.3
    return np.asarray(1 - np.exp(-0.9 * scattered))


def radiance_terms(
    wavelengths_nm: NDArray[np.float64], clear: NDArray[np.float64], *, sun_zenith_deg: float = 35.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What reflectance is multiplied by, and the light of the path, W m-2 sr-1 um-1, each ``(band,)``.

    Args:
        wavelengths_nm: band centres.
        clear: transmission of each band (:func:`transmission`).
        sun_zenith_deg: height of the sun.
    """
    sun = 1000 * solar_irradiance(wavelengths_nm) * np.cos(np.radians(sun_zenith_deg)) / np.pi * clear
    return sun.astype(np.float32), (sun * 0.04 * (wavelengths_nm / 500) ** -4).astype(np.float32)


def _bands(wavelengths_nm: NDArray[np.float64], table: tuple[tuple[float, float, float], ...]) -> NDArray[np.float64]:
    centre, width, depth = np.array(table, np.float64).T
    return np.asarray((depth * np.exp(-(((wavelengths_nm[:, None] - centre) / width) ** 2))).sum(axis=1))
