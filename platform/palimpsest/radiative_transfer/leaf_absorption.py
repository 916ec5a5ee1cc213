"""What a leaf is made of, as absorption: parametric specific coefficients at the published band positions.

The calibrated tables that travel with the PROSPECT programs are under licences that this project cannot take over, so
the coefficients here are built anew. Pigments are sums of Gaussians in wavenumber at the in-vivo band positions of
chlorophyll a and b, carotenoids and anthocyanins (Lichtenthaler 1987; Feret et al. 2017), with strengths that give
the published in-vivo orders of magnitude. Liquid water is tabulated after Hale and Querry 1973 (Appl. Opt. 12, 555),
with intermediate points after Palmer and Williams 1974 (J. Opt. Soc. Am. 64, 1107), rounded. Dry matter is a smooth
base and the overtone and combination bands of cellulose, lignin, starch and protein (Curran 1989, Remote Sens.
Environ. 30, 271). They are of the right kind, not a calibration: nobody should invert pigments with them. Made scenes
use them as they are.

What restores uses :func:`calibrated`, the same coefficients bent until leaves and needles of the USGS library come out
as they were measured (``palimpsest train leaves``): so a made scene is not restored by the very numbers that made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Specific absorption in cm2/ug (the first three), in 1, 1/cm and cm2/g.
CONSTITUENTS = ("chlorophyll", "carotenoid", "anthocyanin", "brown", "water", "dry_matter")
CALIBRATED = "leaf_coefficients.csv"
# (centre nm, half width at 1/e nm, strength)
CHLOROPHYLL_CM2_UG = (
    (350.0, 45.0, 0.042), (418.0, 20.0, 0.040), (438.0, 17.0, 0.058), (470.0, 19.0, 0.038), (500.0, 22.0, 0.010),
    (545.0, 42.0, 0.0065), (590.0, 22.0, 0.0085), (625.0, 20.0, 0.0165), (650.0, 15.0, 0.0190), (676.0, 14.5, 0.0460),
    (695.0, 15.0, 0.0115), (712.0, 16.0, 0.0030),
)
CAROTENOID_CM2_UG = ((400.0, 40.0, 0.035), (428.0, 16.0, 0.060), (454.0, 17.0, 0.085), (486.0, 17.0, 0.080),
                     (512.0, 16.0, 0.020))
ANTHOCYANIN_CM2_UG = ((330.0, 60.0, 0.030), (505.0, 33.0, 0.020), (550.0, 30.0, 0.062), (585.0, 24.0, 0.018))
BROWN = ((350.0, 150.0, 0.9), (480.0, 170.0, 0.40), (650.0, 170.0, 0.10))
DRY_MATTER_CM2_G = (
    (1120.0, 35.0, 0.5), (1200.0, 40.0, 1.3), (1420.0, 45.0, 1.6), (1490.0, 50.0, 2.6), (1580.0, 45.0, 2.0),
    (1690.0, 30.0, 2.8), (1730.0, 30.0, 3.2), (1780.0, 40.0, 2.6), (1930.0, 50.0, 4.5), (2060.0, 45.0, 5.2),
    (2100.0, 45.0, 9.5), (2180.0, 40.0, 4.6), (2270.0, 35.0, 8.5), (2310.0, 30.0, 9.0), (2350.0, 30.0, 9.5),
    (2480.0, 55.0, 15.0),
)
DRY_BASE_NM = (350.0, 400.0, 450.0, 500.0, 600.0, 700.0, 900.0, 1300.0, 1600.0, 1900.0, 2200.0, 2500.0)
DRY_BASE_CM2_G = (60.0, 32.0, 18.0, 11.0, 5.0, 2.6, 1.3, 1.2, 2.2, 4.0, 7.0, 11.0)
WATER_NM = (
    350.0, 400.0, 450.0, 500.0, 550.0, 600.0, 650.0, 700.0, 725.0, 750.0, 775.0, 800.0, 825.0, 850.0, 875.0, 900.0,
    925.0, 950.0, 975.0, 1000.0, 1050.0, 1080.0, 1100.0, 1130.0, 1150.0, 1180.0, 1200.0, 1230.0, 1260.0, 1300.0,
    1330.0, 1360.0, 1380.0, 1400.0, 1420.0, 1440.0, 1455.0, 1480.0, 1500.0, 1525.0, 1550.0, 1600.0, 1650.0, 1700.0,
    1750.0, 1800.0, 1830.0, 1850.0, 1870.0, 1890.0, 1910.0, 1930.0, 1950.0, 1970.0, 2000.0, 2050.0, 2100.0, 2150.0,
    2200.0, 2250.0, 2300.0, 2350.0, 2400.0, 2450.0, 2500.0,
)
WATER_PER_CM = (
    2.3e-4, 5.8e-5, 2.9e-4, 2.5e-4, 4.5e-4, 2.3e-3, 3.2e-3, 6.0e-3, 1.59e-2, 2.61e-2, 2.4e-2, 1.96e-2, 2.77e-2, 4.33e-2,
    5.62e-2, 6.79e-2, 0.144, 0.388, 0.449, 0.363, 0.12, 0.13, 0.17, 0.42, 0.78, 1.10, 1.14, 1.05, 0.92, 1.12,
    2.0, 3.9, 7.0, 12.4, 20.0, 27.5, 29.8, 26.5, 21.5, 16.0, 11.5, 6.7, 5.1, 5.2,
    6.3, 8.0, 9.3, 11.5, 21.0, 52.0, 95.0, 120.0, 119.0, 102.0, 69.1, 40.0, 25.5, 18.6,
    16.5, 18.2, 24.0, 34.0, 50.0, 66.0, 88.0,
)
WATER_INDEX_NM = (350.0, 500.0, 700.0, 1000.0, 1400.0, 1800.0, 2000.0, 2200.0, 2500.0)
WATER_INDEX = (1.343, 1.335, 1.331, 1.327, 1.321, 1.312, 1.306, 1.296, 1.265)
LEAF_INDEX_NM = (350.0, 450.0, 550.0, 700.0, 900.0, 1200.0, 1500.0, 1800.0, 2100.0, 2500.0)
LEAF_INDEX = (1.53, 1.50, 1.475, 1.455, 1.44, 1.425, 1.405, 1.39, 1.365, 1.32)


def gaussian_sum(
    wavelengths_nm: NDArray[np.float64], bands: tuple[tuple[float, float, float], ...]
) -> NDArray[np.float64]:
    """Sum of bands (centre nm, half width at 1/e nm, strength), symmetric in wavenumber, ``(wavelength,)``."""
    centre, width, strength = np.array(bands, np.float64).T
    # A band is symmetric in energy: distance is measured in wavenumber, scaled to nm at the band's centre.
    distance = centre**2 * (1 / wavelengths_nm[:, None] - 1 / centre) / width
    return np.asarray((strength * np.exp(-(distance**2))).sum(axis=1))


def water_absorption_per_cm(wavelengths_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Absorption of liquid water, 1/cm, interpolated in its logarithm."""
    return np.asarray(np.exp(np.interp(wavelengths_nm, WATER_NM, np.log(WATER_PER_CM))))


def water_index(wavelengths_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Refractive index of liquid water."""
    return np.asarray(np.interp(wavelengths_nm, WATER_INDEX_NM, WATER_INDEX))


def leaf_index(wavelengths_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Refractive index of leaf matter."""
    return np.asarray(np.interp(wavelengths_nm, LEAF_INDEX_NM, LEAF_INDEX))


def dry_matter_cm2_g(wavelengths_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Specific absorption of leaf dry matter, cm2/g."""
    base = np.exp(np.interp(wavelengths_nm, DRY_BASE_NM, np.log(DRY_BASE_CM2_G)))
    return np.asarray(base + gaussian_sum(wavelengths_nm, DRY_MATTER_CM2_G))


def parametric(wavelengths_nm: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Specific absorption of each of :data:`CONSTITUENTS` as built here, each ``(wavelength,)``."""
    return (
        gaussian_sum(wavelengths_nm, CHLOROPHYLL_CM2_UG), gaussian_sum(wavelengths_nm, CAROTENOID_CM2_UG),
        gaussian_sum(wavelengths_nm, ANTHOCYANIN_CM2_UG), gaussian_sum(wavelengths_nm, BROWN),
        water_absorption_per_cm(wavelengths_nm), dry_matter_cm2_g(wavelengths_nm),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Coefficients:
    """Specific absorption of :data:`CONSTITUENTS`, tabulated.

    Args:
        nm: ascending wavelengths, ``(point,)``.
        absorption: ``(constituent, point)``, positive.
    """

    nm: NDArray[np.float64]
    absorption: NDArray[np.float64]

    def at(self, wavelengths_nm: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Interpolated in the logarithm, the outermost values beyond the table, each ``(wavelength,)``."""
        return tuple(np.exp(np.interp(wavelengths_nm, self.nm, np.log(row))) for row in self.absorption)


@cache
def calibrated() -> Coefficients:
    """The packaged table that measured leaves and needles were fitted with."""
    table = (files("palimpsest.radiative_transfer") / CALIBRATED).read_text(encoding="ascii").splitlines()
    rows = np.array([[float(value) for value in line.split(",")] for line in table[1:]])
    return Coefficients(np.ascontiguousarray(rows[:, 0]), np.ascontiguousarray(rows[:, 1:].T))
