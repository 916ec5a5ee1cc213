"""Reflectance of a canopy over soil: four-stream radiative transfer in one layer of leaves.

Direct sun, upward and downward diffuse light and the beam towards the sensor, after Verhoef 1984 (Remote Sens.
Environ. 16, 125) and in the numerically robust form of Verhoef et al. 2007 (IEEE Trans. Geosci. Remote Sens. 45, 1808),
with the hot spot of Kuusk 1991. Leaf angles are de Wit's distributions in closed form. Written from the papers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from palimpsest.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOT_SPOT_STEPS = 20
LEAF_CLASSES_DEG = np.linspace(0.0, 90.0, 19)


@dataclass(frozen=True, slots=True)
class Canopy:
    """Structure and geometry.

    Args:
        leaf_area_index: leaf area over ground area, ``(canopy,)`` or a number.
        leaf_angles: 'planophile', 'erectophile', 'plagiophile', 'spherical' or 'uniform'.
        hot_spot: leaf size over canopy height; 0 leaves the hot spot out.
        sun_zenith_deg, view_zenith_deg, azimuth_deg: angles of sun and sensor, and between them.
    """

    leaf_area_index: float | NDArray[np.float64] = 3.0
    leaf_angles: str = "spherical"
    hot_spot: float = 0.05
    sun_zenith_deg: float = 35.0
    view_zenith_deg: float = 0.0
    azimuth_deg: float = 90.0


class CanopyReflectance(NamedTuple):
    """The four reflectances of canopy and soil, each ``(canopy, wavelength)``."""

    directional: NDArray[np.float64]  # sun to sensor (the bidirectional factor)
    hemispherical: NDArray[np.float64]  # sun to the whole upper hemisphere
    sky_directional: NDArray[np.float64]  # sky light to sensor
    sky_hemispherical: NDArray[np.float64]  # sky light to the upper hemisphere


def leaf_angle_shares(kind: str) -> NDArray[np.float64]:
    """Share of leaf area in each 5 degree class of inclination, ``(18,)``, sum 1.

    Raises:
        UsageError: no such distribution.
    """
    angle = np.radians(LEAF_CLASSES_DEG)
    cumulative = {
        "planophile": (2 * angle + np.sin(2 * angle)) / np.pi,
        "erectophile": (2 * angle - np.sin(2 * angle)) / np.pi,
        "plagiophile": (2 * angle - 0.5 * np.sin(4 * angle)) / np.pi,
        "spherical": 1 - np.cos(angle),
        "uniform": 2 * angle / np.pi,
    }
    if kind not in cumulative:
        raise UsageError("unknown leaf angle distribution", got=kind, wanted=", ".join(cumulative))
    return np.diff(cumulative[kind])


def canopy_reflectance(
    reflectance: NDArray[np.float64], transmittance: NDArray[np.float64], soil: NDArray[np.float64], canopy: Canopy
) -> CanopyReflectance:
    """Reflectances of a canopy of these leaves over this soil.

    Args:
        reflectance: of the leaves, ``(canopy, wavelength)``.
        transmittance: of the leaves, the same shape; the sum under 1.
        soil: Lambertian reflectance of the ground, ``(wavelength,)`` or ``(canopy, wavelength)``.
        canopy: structure and geometry.
    """
    area = np.maximum(np.atleast_1d(np.asarray(canopy.leaf_area_index, np.float64))[:, None], 1e-6)
    ks, ko, bf, sob, sof = _geometry(canopy)
    rho, tau = reflectance, transmittance
    back, ahead = 0.5 * (1 + bf), 0.5 * (1 - bf)
    sigma_b = np.maximum(back * rho + ahead * tau, 1e-12)
    attenuation = 1 - (ahead * rho + back * tau)
    m = np.sqrt(np.maximum(attenuation**2 - sigma_b**2, 1e-12))
    sb, sf = 0.5 * ((ks + bf) * rho + (ks - bf) * tau), 0.5 * ((ks - bf) * rho + (ks + bf) * tau)
    vb, vf = 0.5 * ((ko + bf) * rho + (ko - bf) * tau), 0.5 * ((ko - bf) * rho + (ko + bf) * tau)

    e1 = np.exp(-m * area)
    rinf = (attenuation - m) / sigma_b
    denominator = 1 - (rinf * e1) ** 2
    j1s, j1o = _j1(ks, m, area), _j1(ko, m, area)
    ps, qs = (sf + sb * rinf) * j1s, (sf * rinf + sb) * _j2(ks, m, area)
    pv, qv = (vf + vb * rinf) * j1o, (vf * rinf + vb) * _j2(ko, m, area)
    rdd, tdd = rinf * (1 - e1**2) / denominator, (1 - rinf**2) * e1 / denominator
    tsd, rsd = (ps - rinf * e1 * qs) / denominator, (qs - rinf * e1 * ps) / denominator
    tdo, rdo = (pv - rinf * e1 * qv) / denominator, (qv - rinf * e1 * pv) / denominator
    tss, too = np.exp(-ks * area), np.exp(-ko * area)

    z = _j2(ks, np.asarray(ko), area)
    t1 = (vf * rinf + vb) * (z - j1s * too) / (ko + m) * (sf + sb * rinf)
    t2 = (vf + vb * rinf) * (z - j1o * tss) / (ks + m) * (sf * rinf + sb)
    rsod = (t1 + t2 - (rdo * qs + tdo * ps) * rinf) / np.maximum(1 - rinf**2, 1e-9)
    seen, single = _hot_spot(ks, ko, area, canopy)
    rsos = (sob * rho + sof * tau) * area * single

    below = 1 - soil * rdd
    multiple = ((tss + tsd) * tdo + (tsd + tss * soil * rdd) * too) * soil / below
    return CanopyReflectance(
        directional=rsos + seen * soil + rsod + multiple,
        hemispherical=rsd + (tsd + tss) * soil * tdd / below,
        sky_directional=rdo + tdd * soil * (tdo + too) / below,
        sky_hemispherical=rdd + tdd * soil * tdd / below,
    )


def _geometry(canopy: Canopy) -> tuple[float, float, float, float, float]:
    """Extinction towards sun and sensor, mean squared cosine, and the two bidirectional scattering factors."""
    middle = np.radians(0.5 * (LEAF_CLASSES_DEG[:-1] + LEAF_CLASSES_DEG[1:]))
    shares = leaf_angle_shares(canopy.leaf_angles)
    sun, view, psi = (np.radians(v) for v in (canopy.sun_zenith_deg, canopy.view_zenith_deg, canopy.azimuth_deg))
    psi = abs((psi + np.pi) % (2 * np.pi) - np.pi)
    cs, ss = np.cos(middle) * np.cos(sun), np.sin(middle) * np.sin(sun)
    co, so = np.cos(middle) * np.cos(view), np.sin(middle) * np.sin(view)
    beta_s, ds = _azimuth_of_grazing(cs, ss)
    beta_o, do = _azimuth_of_grazing(co, so)
    chi_s = 2 / np.pi * ((beta_s - np.pi / 2) * cs + np.sin(beta_s) * ss)
    chi_o = 2 / np.pi * ((beta_o - np.pi / 2) * co + np.sin(beta_o) * so)
    near, far = np.abs(beta_s - beta_o), np.pi - np.abs(beta_s + beta_o - np.pi)
    first, second, third = np.sort(np.stack([near, far, np.full_like(near, psi)]), axis=0)
    t1 = 2 * cs * co + ss * so * np.cos(psi)
    t2 = np.sin(second) * (2 * ds * do + ss * so * np.cos(first) * np.cos(third))
    scale = np.pi / (np.cos(sun) * np.cos(view)) / (2 * np.pi**2)
    forward = np.maximum(((np.pi - second) * t1 + t2) * scale, 0.0)
    through = np.maximum((-second * t1 + t2) * scale, 0.0)
    return (
        float(shares @ chi_s / np.cos(sun)), float(shares @ chi_o / np.cos(view)), float(shares @ np.cos(middle) ** 2),
        float(shares @ forward), float(shares @ through),
    )


def _azimuth_of_grazing(
    c: NDArray[np.float64], s: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Azimuth at which a leaf is seen edge-on (pi where it never is), and the amplitude that goes with it."""
    turns = s > np.abs(c)
    ratio = np.where(turns, -c / np.where(turns, s, 1.0), -1.0)
    return np.arccos(ratio), np.where(turns, s, c)


def _j1(k: float, m: NDArray[np.float64], area: NDArray[np.float64]) -> NDArray[np.float64]:
    difference = (k - m) * area
    close = np.abs(difference) < 1e-3
    apart = (np.exp(-m * area) - np.exp(-k * area)) / np.where(close, 1.0, k - m)
    # Where the two exponents meet, the difference quotient cancels; its series does not.
    series = 0.5 * area * (np.exp(-k * area) + np.exp(-m * area)) * (1 - difference**2 / 12)
    return np.where(close, series, apart)


def _j2(k: float, m: NDArray[np.float64], area: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((1 - np.exp(-(k + m) * area)) / (k + m))


def _hot_spot(
    ks: float, ko: float, area: NDArray[np.float64], canopy: Canopy
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of the ground both sunlit and seen, and the same averaged over the depth of the canopy."""
    sun, view, psi = (np.radians(v) for v in (canopy.sun_zenith_deg, canopy.view_zenith_deg, canopy.azimuth_deg))
    tan_s, tan_o = np.tan(sun), np.tan(view)
    distance = np.sqrt(max(tan_s**2 + tan_o**2 - 2 * tan_s * tan_o * np.cos(psi), 0.0))
    if canopy.hot_spot <= 0:
        return np.exp(-(ks + ko) * area), (1 - np.exp(-(ks + ko) * area)) / ((ks + ko) * area)
    alpha = min(distance / canopy.hot_spot * 2 / (ks + ko), 200.0)
    if alpha < 1e-6:
        return np.exp(-ks * area), (1 - np.exp(-ks * area)) / (ks * area)
    steps = np.arange(1, HOT_SPOT_STEPS + 1)
    depth = np.append(-np.log(1 - steps[:-1] * (1 - np.exp(-alpha)) / HOT_SPOT_STEPS) / alpha, 1.0)
    depth = np.concatenate([[0.0], depth])
    overlap = np.sqrt(ko * ks) * area * (1 - np.exp(-alpha * depth)) / alpha  # (canopy, step)
    exponent = -(ko + ks) * area * depth + overlap
    f = np.exp(exponent)
    rise = np.diff(exponent, axis=1)
    mean = np.where(np.abs(rise) > 1e-9, np.diff(f, axis=1) / np.where(np.abs(rise) > 1e-9, rise, 1.0), f[:, 1:])
    return f[:, -1:], (mean * np.diff(depth)).sum(axis=1, keepdims=True)
