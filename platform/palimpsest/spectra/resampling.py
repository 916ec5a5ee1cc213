"""Fine spectra as a sensor's bands see them: Gaussian responses given by centre and full width at half maximum.

Two conventions are in use and both are wanted. Radiometrically a band answers with its whole Gaussian. The MICA expert
system cuts the response off at half maximum (open interval) and takes whatever samples are there, so thresholds that
experts tuned hold only for references made that way: :func:`resample_for_rules`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FWHM_TO_SIGMA = 1 / (2 * np.sqrt(2 * np.log(2)))


def responses(
    grid_nm: NDArray[np.float64], centre_nm: NDArray[np.float64], fwhm_nm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Gaussian response of each band at each wavelength of the grid, peak 1, ``(band, grid)``."""
    sigma = np.asarray(fwhm_nm, np.float64)[:, None] * FWHM_TO_SIGMA
    distance = np.asarray(grid_nm, np.float64)[None] - np.asarray(centre_nm, np.float64)[:, None]
    return np.asarray(np.exp(-0.5 * (distance / sigma) ** 2))


def resample(
    spectra: NDArray[np.floating],
    grid_nm: NDArray[np.float64],
    centre_nm: NDArray[np.float64],
    fwhm_nm: NDArray[np.float64],
    *,
    least_share: float = 0.5,
) -> NDArray[np.float64]:
    """Spectra at a sensor's bands.

    Args:
        spectra: ``(..., grid)``, NaN where unknown.
        grid_nm: wavelengths of the spectra, nm, evenly spaced.
        centre_nm: band centres, nm, ``(band,)``, in any order.
        fwhm_nm: full widths at half maximum, nm, ``(band,)``.
        least_share: share of a band's response that known samples must carry.

    Returns:
        ``(..., band)``; NaN where less of the response is known: at the ends of the grid too, where the missing half
        of the Gaussian counts as unknown.
    """
    weights = responses(grid_nm, centre_nm, fwhm_nm)
    values = np.asarray(spectra, np.float64)
    known = np.isfinite(values)
    total = np.where(known, values, 0.0) @ weights.T
    carried = known.astype(np.float64) @ weights.T
    step = float(np.median(np.diff(grid_nm))) if grid_nm.size > 1 else 1.0
    # The whole Gaussian's sum on an endless grid; for bands narrower than the step it is what the grid can give.
    whole = np.maximum(np.asarray(fwhm_nm) * FWHM_TO_SIGMA * np.sqrt(2 * np.pi) / step, weights.max(axis=1, initial=0))
    enough = (carried >= least_share * whole) & (carried > 0)
    return np.where(enough, total / np.where(enough, carried, 1.0), np.nan)


def resample_for_rules(
    spectra: NDArray[np.floating],
    grid_nm: NDArray[np.float64],
    centre_nm: NDArray[np.float64],
    fwhm_nm: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Reference spectra at a sensor's bands as the MICA rules are tuned to them.

    Only positive samples strictly inside the full width at half maximum take part, weighted by the Gaussian; one
    sample is enough.

    Args:
        spectra: ``(..., grid)``, NaN where unknown.
        grid_nm: wavelengths of the spectra, nm.
        centre_nm: band centres, nm, ``(band,)``.
        fwhm_nm: full widths at half maximum, nm, ``(band,)``.

    Returns:
        ``(..., band)``; NaN where no positive sample lies inside.

    Source: Kokaly 2011, USGS Open-File Report 2011-1155; the cut as in the PyPI package cramm 1.5.
    """
    weights = responses(grid_nm, centre_nm, fwhm_nm)
    grid, centre, half = _micrometres(grid_nm), np.asarray(centre_nm) / 1000, np.asarray(fwhm_nm) / 1000 / 2
    weights[~((grid[None] > (centre - half)[:, None]) & (grid[None] < (centre + half)[:, None]))] = 0.0
    values = np.asarray(spectra, np.float64)
    known = values > 0
    carried = known.astype(np.float64) @ weights.T
    total = np.where(known, values, 0.0) @ weights.T
    return np.where(carried > 0, total / np.where(carried > 0, carried, 1.0), np.nan)


def _micrometres(grid_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """The grid in micrometres, rounded as the rules' published references are.

    Sensors with whole nanometres have samples exactly on the edge of a band; whether those are in is a matter of
    rounding, worth 1 to 2 % of the labels. The published grid was counted up in micrometres; so is this one.
    """
    steps = np.diff(grid_nm)
    if grid_nm.size < 2 or not np.allclose(steps, steps[0]):
        return np.asarray(grid_nm) / 1000
    step = float(steps[0]) / 1000
    counted = np.arange(grid_nm[0] / 1000, grid_nm[-1] / 1000 + step / 2, step)
    return counted if counted.size == grid_nm.size else np.asarray(grid_nm) / 1000
