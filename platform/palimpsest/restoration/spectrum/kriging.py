"""Carries what is known of observed bands into a gap, and lets it fade: kriging along the spectrum.

A residual at the rim of a gap says much about the bands next to it and nothing about those far inside. An exponential
covariance says just that: beside the rim the residual is kept, a few ranges further it is gone, and between two close
rims it is a straight line. The weights depend on the bands alone, so that one small matrix serves every pixel.

Source: simple kriging with an exponential covariance (Matheron 1963, Economic Geology 58, 1246-1266).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.restoration.view import Axis

FADE_NM = 80.0  # range within which a mixture's residual is believed to go on
SPAN_NM = 250.0  # range of spectra themselves, about their mean
_NUGGET = 1e-2
_ASSUMED_STEP_NM = 10.0


def carry(
    axis: Axis, gap: NDArray[np.bool_], values: NDArray[np.floating], range_nm: float
) -> NDArray[np.float32]:
    """What the observed bands leave in the bands of ``gap``, ``(pixel, band)``; zero in the observed ones.

    Args:
        axis: of the bands; without wavelengths a band counts as ten nanometres.
        gap: bands to carry into, ``(band,)``; all others are observed.
        values: deviations from zero in the observed bands, ``(pixel, band)``.
        range_nm: of the exponential covariance.
    """
    out = np.zeros(values.shape, np.float32)
    if not gap.any() or gap.all():
        return out
    x = axis.along if axis.centre_nm is not None else axis.along * _ASSUMED_STEP_NM
    out[:, gap] = values[:, ~gap].astype(np.float64) @ _weights(x.astype(np.float64).tobytes(), gap.tobytes(), range_nm)
    return out


@lru_cache(maxsize=64)
def _weights(places: bytes, gaps: bytes, range_nm: float) -> NDArray[np.float64]:
    """Weights of the observed bands in those of the gap, ``(observed, gap)``: a scene's windows ask alike."""
    x, gap = np.frombuffer(places), np.frombuffer(gaps, np.bool_)
    seen, wanted = x[~gap], x[gap]
    among = np.exp(-np.abs(seen[:, None] - seen) / range_nm) + _NUGGET * np.eye(seen.size)
    found = np.linalg.solve(among, np.exp(-np.abs(seen[:, None] - wanted) / range_nm))
    found.flags.writeable = False
    return np.asarray(found)
