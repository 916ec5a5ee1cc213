"""How well an absorption feature of a spectrum resembles that of a reference, and how deep, wide and where it is.

The observed feature and the reference's are both divided by their continuum; the observed one is fitted as
``slope * reference + offset``. The fit is the coefficient of determination, the depth is the reference's depth times
the slope. A slope of zero or less is no such feature: fit and depth are NaN.

Source: Clark et al. 2003, J. Geophys. Res. 108(E12), 5131 (Tetracorder); Kokaly 2011, USGS OFR 2011-1155 (MICA).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.spectra.continuum import ContinuumWindow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


FLAT = 1e-14  # mean square of a continuum-removed spectrum about its mean below which there is rounding and no feature


@dataclass(frozen=True, slots=True)
class ReferenceShape:
    """A reference's feature on a window, ready to be fitted.

    Args:
        centred: the continuum-removed reference minus its mean, ``(feature band,)``.
        sum_of_squares: of ``centred``.
        depth: depth of the reference's feature (height, for one that emits).
    """

    centred: NDArray[np.float64]
    sum_of_squares: float
    depth: float

    @classmethod
    def of(cls, reference: NDArray[np.floating], window: ContinuumWindow) -> ReferenceShape:
        """The shape of a reference spectrum ``(band,)`` on a window whose bands the reference all knows."""
        removed = window.removed(np.asarray(reference, np.float64))
        centred = removed - removed.mean()
        depth = 1 - removed.min() if removed.mean() < 1 else removed.max() - 1
        return cls(centred, float(centred @ centred), float(depth))


def fit_shapes(
    removed: NDArray[np.float64], shapes: Sequence[ReferenceShape]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fit of continuum-removed spectra to several references on the same window.

    Args:
        removed: ``(spectrum, feature band)``.
        shapes: the references.

    Returns:
        r squared and depth, each ``(shape, spectrum)``, NaN where the slope is not positive; and the spectra's own sum
        of squares about their mean, ``(spectrum,)``.
    """
    # The references are centred, so the spectra need not be: their mean drops out of the products.
    # einsum without BLAS: a pixel's figures must not depend on which other pixels are judged beside it, or a label
    # that was certified in one call could flip in another.
    own = np.einsum("nb,nb->n", removed, removed) - np.einsum("nb->n", removed) ** 2 / removed.shape[1]
    cross = np.einsum("kb,nb->kn", np.stack([shape.centred for shape in shapes]), removed)
    squares = np.array([shape.sum_of_squares for shape in shapes])[:, None]
    depths = np.array([shape.depth for shape in shapes])[:, None]
    slope = cross / squares
    slope[~(slope > 0)] = np.nan
    slope[:, own <= FLAT * removed.shape[1]] = np.nan
    own = np.maximum(own, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return slope * cross / own, depths * slope, own


@dataclass(frozen=True, slots=True)
class FeatureFit:
    """What was measured on a feature, each ``(...)``: r squared, depth, the two shoulders' reflectance."""

    fit: NDArray[np.float64]
    depth: NDArray[np.float64]
    left: NDArray[np.float64]
    right: NDArray[np.float64]


def fit_feature(
    spectra: NDArray[np.floating],
    reference: NDArray[np.floating],
    centre_nm: NDArray[np.float64],
    left_nm: tuple[float, float],
    right_nm: tuple[float, float],
) -> FeatureFit | None:
    """Fit of a reference's feature to spectra; None when the sensor cannot see it.

    Args:
        spectra: reflectance, ``(spectrum, band)``.
        reference: reflectance at the same bands, ``(band,)``; its NaN bands are left out of the feature.
        centre_nm: band centres, ``(band,)``.
        left_nm: the left shoulder of the continuum, nm.
        right_nm: the right one.
    """
    known = np.isfinite(reference)
    window = ContinuumWindow.at(centre_nm[known], left_nm, right_nm)
    if window is None:
        return None
    values = np.asarray(spectra)[:, known]
    shape = ReferenceShape.of(np.asarray(reference)[known], window)
    fit, depth, _ = fit_shapes(window.removed(values), [shape])
    return FeatureFit(fit[0], depth[0], *window.shoulders(values))


def band_depth(
    spectra: NDArray[np.floating],
    centre_nm: NDArray[np.float64],
    left_nm: tuple[float, float],
    right_nm: tuple[float, float],
) -> NDArray[np.float64]:
    """Depth of the deepest band below the continuum, ``(...)``, of ``(..., band)``; NaN when it cannot be seen."""
    window = ContinuumWindow.at(centre_nm, left_nm, right_nm)
    if window is None:
        return np.full(np.shape(spectra)[:-1], np.nan)
    return np.asarray(1 - window.removed(spectra).min(axis=-1))


def feature_area(
    spectra: NDArray[np.floating],
    centre_nm: NDArray[np.float64],
    left_nm: tuple[float, float],
    right_nm: tuple[float, float],
) -> NDArray[np.float64]:
    """Area between continuum and continuum-removed spectrum, nm, ``(...)``; NaN when it cannot be seen."""
    window = ContinuumWindow.at(centre_nm, left_nm, right_nm)
    if window is None:
        return np.full(np.shape(spectra)[:-1], np.nan)
    at = centre_nm[window.bands]
    order = np.argsort(at, kind="stable")
    return np.asarray(np.trapezoid(1 - window.removed(spectra)[..., order], at[order], axis=-1))


def feature_centre(removed: NDArray[np.float64], centre_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Wavelength of the minimum by a parabola through the lowest band and its neighbours, nm, ``(spectrum,)``.

    Args:
        removed: continuum-removed spectra, ``(spectrum, feature band)``, bands ascending.
        centre_nm: their centres, ``(feature band,)``.

    Returns:
        NaN where the lowest band is the first or last, or three bands lie on a line.
    """
    n, bands = removed.shape
    if bands < 3:
        return np.full(n, np.nan)
    usable = np.asarray(np.isfinite(removed).all(axis=1))
    lowest = np.where(usable[:, None], removed, 0.0).argmin(axis=1)
    inner = usable & (lowest > 0) & (lowest < bands - 1)
    middle = np.where(inner, lowest, 1)
    row = np.arange(n)
    x1, x2, x3 = (centre_nm[middle + k] for k in (-1, 0, 1))
    y1, y2, y3 = (removed[row, middle + k] for k in (-1, 0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = -((y2 - y1) * (x3**2 - x2**2) - (y3 - y2) * (x2**2 - x1**2)) / (
            2 * ((y3 - y2) * (x2 - x1) - (y2 - y1) * (x3 - x2))
        )
    return np.where(inner & np.isfinite(vertex), vertex, np.nan)
