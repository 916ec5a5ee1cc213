"""How what a mixture leaves over goes together across bands: learned from the library's spectra themselves.

Every reference spectrum is unmixed on the others, as a pixel of a material that the library lacks would be. What is
left of it in one band says something of what is left in another: chlorophyll that is stronger than in every leaf of
the library is so on both sides of the red edge, and a wetter soil in both water bands. A residual is carried into a
gap by that covariance, with a little of one that only fades with distance, and by doubting each band as far as no
mixture explains it.

Source: conditional mean of a Gaussian process (Rasmussen and Williams 2006, eq. 2.23) with an empirical covariance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.library.unmixing import unmix
from palimpsest.restoration.spectrum.kriging import FADE_NM

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEARNED, FADING, DOUBT = 0.7, 0.3, 0.03  # shares of the covariances, and variance of a band's own error
_MOST = 10.0  # of a residual, in its own root mean square over the observed bands
_LEAST_WEIGHT = 0.02
_TINY = 1e-4


def kinship(
    spectra: NDArray[np.float64], kept: NDArray[np.intp], weights: NDArray[np.float64], nm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Covariance of what a mixture leaves over, typically one in the observed bands, ``(band, band)``.

    Args:
        spectra: all of the library under the scene's light, ``(material, band)``.
        kept: those that mixtures are made of.
        weights: trust in each band for the fit, 0 where it is not observed, ``(band,)``.
        nm: places of the bands.
    """
    observed = weights > 0
    left = spectra - unmix(spectra, spectra[kept], weights) @ spectra[kept]
    for number, material in enumerate(kept):
        others = np.delete(kept, number)
        if others.size:
            own = unmix(spectra[[material]], spectra[others], weights)
            left[material] = spectra[material] - (own @ spectra[others])[0]
    size = np.sqrt((left[:, observed] ** 2).mean(1)) + _TINY
    shape = np.clip(left / size[:, None], -_MOST, _MOST)
    learned = shape.T @ shape / len(shape)
    learned /= max(float(np.median(np.diag(learned)[observed])), _TINY)
    return np.asarray(LEARNED * learned + FADING * np.exp(-np.abs(nm[:, None] - nm) / FADE_NM))


def carried(
    residual: NDArray[np.floating], gap: NDArray[np.bool_], covariance: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> NDArray[np.float32]:
    """What observed residuals say of the bands of a gap, ``(pixel, band)``; zero in the observed ones.

    Args:
        residual: ``(pixel, band)``.
        gap: ``(band,)``; all others are observed.
        covariance: of :func:`kinship`.
        weights: trust in each band, ``(band,)``.
    """
    out = np.zeros(residual.shape, np.float32)
    seen = ~gap
    if not gap.any() or not seen.any():
        return out
    doubt = DOUBT / np.maximum(weights[seen], _LEAST_WEIGHT) ** 2
    among = covariance[np.ix_(seen, seen)] + np.diag(doubt)
    out[:, gap] = residual[:, seen].astype(np.float64) @ np.linalg.solve(among, covariance[np.ix_(seen, gap)])
    return out
