"""Noise of each band from what all other bands say of it, which texture of the ground does not pass for.

Differences between neighbouring pixels take every edge and every furrow for noise: on scenes whose ground changes from
pixel to pixel they say ten times too much. What a band holds that no other band explains is noise, and a little of what
is new in it; a regression on the others, by one inverse of the correlation matrix, leaves just that.

Source: Bioucas-Dias and Nascimento 2008, IEEE Trans. Geosci. Remote Sens. 46, 2435-2445 (HySime), after Roger and
Arnold 1996, Int. J. Remote Sens. 17, 951-962.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.spectrum.interpolation import linear

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.restoration.view import View

FEWEST_PIXELS = 1.5  # for each band, or a regression explains by chance
FEWEST_BANDS = 8
_SHOWN = 0.7  # of the pixels must show a band
_RIDGE = 1e-9
_ROUNDS = 5  # of foretelling what dead voxels would show
_LEAST = 1e-5


def regressed(
    view: View, otherwise: NDArray[np.float64], left_over: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Standard deviation of each band's noise, scaled, ``(band,)``.

    What dead voxels would show is foretold by the other bands, and they are not judged by: what merely stands in for
    them is off by more than noise. A lost band is as noisy as those around it.

    Args:
        view: a sample of the scene.
        otherwise: by another way: what stands where bands are too few or too many for the pixels, and the most that is
            said of a band that shows, ``(band,)``.
        left_over: what the scene's factors leave over in each band, standard deviation, ``(band,)``, or None: the most
            that is said where hardly a band shows in most pixels.
    """
    shown = np.flatnonzero(view.usable.mean(0) >= _SHOWN) if len(view.pixels) else np.zeros(0, np.intp)
    pixels = len(view.pixels)
    if shown.size < FEWEST_BANDS and left_over is not None:
        return np.minimum(otherwise, np.maximum(left_over, _LEAST))
    if shown.size < FEWEST_BANDS or pixels < FEWEST_PIXELS * shown.size:
        return otherwise
    usable = view.usable[:, shown]
    values = np.where(usable, view.values[:, shown], linear(view)[:, shown]).astype(np.float64)
    off = _off(values)
    for _ in range(0 if usable.all() else _ROUNDS):
        values[~usable] -= off[~usable]
        off = _off(values)
    square = np.where(usable, np.square(off), 0.0).sum(0) / usable.sum(0) * pixels / (pixels - shown.size)
    sigma = np.clip(np.sqrt(square), _LEAST, np.maximum(otherwise[shown], _LEAST))
    return np.exp(np.interp(np.arange(otherwise.size), shown, np.log(sigma)))


def _off(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each value is off a regression on all others of its pixel, ``(pixel, band)``."""
    together = values.T @ values / len(values)
    together[np.diag_indices(len(together))] += _RIDGE
    inverse = np.linalg.inv(together)
    return np.asarray(values @ inverse / np.diag(inverse))
