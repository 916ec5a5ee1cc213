"""Reflectance and transmittance of a leaf: the generalised plate model.

A leaf is a pile of N absorbing plates with rough surfaces: one elementary plate after Allen et al. 1969
(J. Opt. Soc. Am. 59, 1376), piled by Stokes' equations of 1862, the first plate lit from within a cone of 40 degrees;
as in PROSPECT (Jacquemoud and Baret 1990, Remote Sens. Environ. 34, 75) and PROSPECT-D (Feret et al. 2017, Remote
Sens. Environ. 193, 204). Written from the papers; the coefficients are of
:mod:`palimpsest.radiative_transfer.leaf_absorption`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import exp1

from palimpsest.errors import UsageError
from palimpsest.radiative_transfer import leaf_absorption

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.radiative_transfer.leaf_absorption import Coefficients

FIRST_SURFACE_CONE_DEG = 40.0
NODES, WEIGHTS = np.polynomial.legendre.leggauss(48)


@dataclass(frozen=True, slots=True)
class LeafTraits:
    """Traits of leaves, each ``(leaf,)`` or a number.

    Args:
        structure: number of plates N, 1 and more.
        chlorophyll_ug_cm2, carotenoid_ug_cm2, anthocyanin_ug_cm2: pigments.
        brown: brown pigments, arbitrary units, 0 in green leaves.
        water_cm: equivalent water thickness.
        dry_matter_g_cm2: leaf mass per area.
    """

    structure: float | NDArray[np.float64] = 1.5
    chlorophyll_ug_cm2: float | NDArray[np.float64] = 40.0
    carotenoid_ug_cm2: float | NDArray[np.float64] = 8.0
    anthocyanin_ug_cm2: float | NDArray[np.float64] = 1.0
    brown: float | NDArray[np.float64] = 0.0
    water_cm: float | NDArray[np.float64] = 0.012
    dry_matter_g_cm2: float | NDArray[np.float64] = 0.006

    def columns(self) -> tuple[NDArray[np.float64], ...]:
        """The seven traits as columns ``(leaf, 1)`` of one length."""
        values = (
            self.structure, self.chlorophyll_ug_cm2, self.carotenoid_ug_cm2, self.anthocyanin_ug_cm2, self.brown,
            self.water_cm, self.dry_matter_g_cm2,
        )
        together = np.broadcast_arrays(*(np.atleast_1d(np.asarray(value, np.float64)) for value in values))
        return tuple(column[:, None] for column in together)


def leaf_optics(
    wavelengths_nm: NDArray[np.float64], traits: LeafTraits, coefficients: Coefficients | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hemispherical reflectance and transmittance, each ``(leaf, wavelength)``, within 0 and 1, their sum at most 1.

    Args:
        wavelengths_nm: ``(wavelength,)``.
        traits: of the leaves.
        coefficients: specific absorption; the parametric one when left out.

    Raises:
        UsageError: fewer than one plate, or a negative content.
    """
    structure, *contents = traits.columns()
    if (structure < 1).any() or any((content < 0).any() for content in contents):
        raise UsageError("traits of no leaf", got=traits, wanted="structure >= 1 and contents >= 0")
    specific = leaf_absorption.parametric(wavelengths_nm) if coefficients is None else coefficients.at(wavelengths_nm)
    per_plate = _absorption(specific, contents) / structure
    index = leaf_absorption.leaf_index(wavelengths_nm)
    inner = _plate_transmission(per_plate)
    first, other = (_plate(inner, index, cone) for cone in (FIRST_SURFACE_CONE_DEG, 90.0))
    rest_r, rest_t = _pile(*other, structure - 1)
    between = 1 - rest_r * other[0]
    return first[0] + first[1] * rest_r * other[1] / between, first[1] * rest_t / between


def surface_transmission(index: NDArray[np.float64], cone_deg: float) -> NDArray[np.float64]:
    """Transmission of a dielectric surface for unpolarised light from within a cone, averaged with its projection.

    The average of Stern 1964 (Appl. Opt. 3, 111), by quadrature of Fresnel's equations; ``(wavelength,)``.
    """
    top = np.radians(cone_deg)
    angle = (0.5 * top * (NODES + 1))[:, None]
    cos_in, sin_in = np.cos(angle), np.sin(angle)
    cos_out = np.sqrt(1 - (sin_in / index) ** 2)
    across = ((cos_in - index * cos_out) / (cos_in + index * cos_out)) ** 2
    along = ((index * cos_in - cos_out) / (index * cos_in + cos_out)) ** 2
    passed = (1 - 0.5 * (across + along)) * 2 * sin_in * cos_in / np.sin(top) ** 2
    return np.asarray((0.5 * top * WEIGHTS) @ passed)


def _absorption(
    specific: tuple[NDArray[np.float64], ...], contents: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    total = sum(content * absorbs for content, absorbs in zip(contents, specific, strict=True))
    return np.asarray(np.maximum(total, 1e-9))


def _plate_transmission(depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of diffuse light that a plate of this optical depth lets through."""
    return np.asarray(np.clip((1 - depth) * np.exp(-depth) + depth**2 * exp1(depth), 0.0, 1.0))


def _plate(
    inner: NDArray[np.float64], index: NDArray[np.float64], cone_deg: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reflectance and transmittance of one plate whose upper surface is lit from within a cone."""
    entering = surface_transmission(index, cone_deg)
    leaving = surface_transmission(index, 90.0) / index**2
    back = 1 - leaving
    transmitted = entering * inner * leaving / (1 - (back * inner) ** 2)
    return 1 - entering + back * inner * transmitted, transmitted


def _pile(
    r: NDArray[np.float64], t: NDArray[np.float64], layers: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Stokes' reflectance and transmittance of a (fractional) number of equal layers."""
    absorbing = r + t < 1 - 1e-9
    root = np.sqrt(np.maximum((1 + r + t) * (1 + r - t) * (1 - r + t) * (1 - r - t), 1e-18))
    a = (1 + r**2 - t**2 + root) / (2 * r)
    b = (1 - r**2 + t**2 + root) / (2 * np.maximum(t, 1e-12))
    power = np.exp(np.minimum(layers * np.log(b), 300.0))
    below = np.maximum(a**2 * power**2 - 1, 1e-18)
    clear_t = t / (t + (1 - t) * layers)
    reflected = np.where(absorbing, a * (power**2 - 1) / below, 1 - clear_t)
    return reflected, np.where(absorbing, power * (a**2 - 1) / below, clear_t)
