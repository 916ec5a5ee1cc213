"""The continuum of an absorption feature: the straight line between two shoulders, and spectra divided by it.

A shoulder is an interval of wavelengths; its reflectance is the mean over the bands inside, placed at their mean
wavelength. Bands may come in any order and detectors may overlap: every band inside counts, none is dropped.

Source: Clark & Roush 1984, J. Geophys. Res. 89, 6329-6340; the interval form is that of MICA (Kokaly 2011).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import CubeRefused

if TYPE_CHECKING:
    from numpy.typing import NDArray

EDGE_NM = 1e-6  # bounds are inclusive, however nanometres and micrometres were converted on the way


def bands_between(centre_nm: NDArray[np.float64], low_nm: float, high_nm: float) -> NDArray[np.intp]:
    """Indices of the bands with ``low_nm <= centre <= high_nm``, in the order given."""
    return np.flatnonzero((centre_nm >= low_nm - EDGE_NM) & (centre_nm <= high_nm + EDGE_NM))


@dataclass(frozen=True, slots=True)
class ContinuumWindow:
    """Where a feature lies among the bands of a sensor.

    Args:
        bands: indices of the feature's bands, shoulders included.
        left, right: indices of the bands of the two shoulders.
        fraction: where each of ``bands`` lies between the shoulders' mean wavelengths, 0 left ... 1 right.
    """

    bands: NDArray[np.intp]
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    fraction: NDArray[np.float64]

    @classmethod
    def at(
        cls, centre_nm: NDArray[np.float64], left_nm: tuple[float, float], right_nm: tuple[float, float]
    ) -> ContinuumWindow | None:
        """The window on a sensor's bands; None when a shoulder has no band, so the sensor cannot see the feature.

        Args:
            centre_nm: band centres, ``(band,)``; only the bands that may be used.
            left_nm: the left shoulder (low, high).
            right_nm: the right shoulder.
        """
        left, right = bands_between(centre_nm, *left_nm), bands_between(centre_nm, *right_nm)
        if not left.size or not right.size:
            return None
        bands = bands_between(centre_nm, left_nm[0], right_nm[1])
        x_left, x_right = centre_nm[left].mean(), centre_nm[right].mean()
        if not x_right > x_left:
            return None
        return cls(bands, left, right, (centre_nm[bands] - x_left) / (x_right - x_left))

    def shoulders(self, spectra: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean reflectance of the two shoulders of ``(..., band)``, each ``(...)``."""
        # take, not an index: its result is laid out row by row whatever the input, so sums run in one order
        return (
            np.take(spectra, self.left, axis=-1).mean(axis=-1, dtype=np.float64),
            np.take(spectra, self.right, axis=-1).mean(axis=-1, dtype=np.float64),
        )

    def line(self, spectra: NDArray[np.floating]) -> NDArray[np.float64]:
        """The continuum at the feature's bands, ``(..., feature band)``."""
        return self.line_between(*self.shoulders(spectra))

    def line_between(self, left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
        """The continuum between shoulders of these reflectances, ``(..., feature band)``."""
        line = np.multiply.outer(right - left, self.fraction)
        line += np.asarray(left)[..., None]
        return line

    def removed(
        self, spectra: NDArray[np.floating],
        shoulders: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> NDArray[np.float64]:
        """Spectra divided by the continuum at the feature's bands, ``(..., feature band)``; NaN where it is 0.

        Args:
            spectra: ``(..., band)``.
            shoulders: what :meth:`shoulders` gave for them, when that is known already.
        """
        left, right = self.shoulders(spectra) if shoulders is None else shoulders
        line = self.line_between(left, right)
        ends = self.fraction.min(), self.fraction.max()
        first, last = (left + (right - left) * end for end in ends)
        if np.any(first * last <= 0):  # a straight line is zero nowhere else
            line[line == 0] = np.nan
        return np.asarray(np.divide(np.take(spectra, self.bands, axis=-1), line, out=line))


def remove_continuum(
    spectra: NDArray[np.floating],
    centre_nm: NDArray[np.float64],
    left_nm: tuple[float, float],
    right_nm: tuple[float, float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wavelengths of a feature's bands and the spectra divided by the continuum there.

    Args:
        spectra: ``(..., band)``.
        centre_nm: band centres, ``(band,)``.
        left_nm: the left shoulder (low, high), nm.
        right_nm: the right shoulder.

    Returns:
        ``(feature band,)`` nm and ``(..., feature band)``.

    Raises:
        CubeRefused: no band lies in one of the shoulders.
    """
    window = ContinuumWindow.at(centre_nm, left_nm, right_nm)
    if window is None:
        raise CubeRefused(
            "no band lies in a shoulder of the continuum", where=f"{left_nm} and {right_nm} nm",
            got=f"{centre_nm.size} bands", wanted="at least one in each",
        )
    return centre_nm[window.bands], window.removed(spectra)


def convex_hull(spectrum: NDArray[np.floating], centre_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """The upper convex hull of one spectrum at its bands, ``(band,)``; bands ascending."""
    hull: list[int] = []
    for i in range(spectrum.size):
        while len(hull) >= 2:
            a, b = hull[-2], hull[-1]
            rise = (spectrum[b] - spectrum[a]) * (centre_nm[i] - centre_nm[a])
            if rise > (spectrum[i] - spectrum[a]) * (centre_nm[b] - centre_nm[a]):
                break
            hull.pop()
        hull.append(i)
    return np.interp(centre_nm, centre_nm[hull], np.asarray(spectrum, np.float64)[hull])
