"""What a pixel's own neighbouring bands say: straight lines and monotone cubics along the spectrum.

Beyond the outermost usable band the nearest value holds. Every pixel has its own mask: a kernel walks each spectrum
once, so that a thousand different masks cost no more than one.

Source of the monotone cubic: Fritsch and Butland 1984, SIAM J. Sci. Stat. Comput. 5, 300-304 (as in scipy, whose end
slopes are those of Moler 2004, Numerical Computing with Matlab, section 3.6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.restoration.view import View


def linear(view: View, values: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Spectra with missing voxels on straight lines between usable ones, ``(pixel, band)``.

    Args:
        view: gives mask and axis.
        values: other values to interpolate under the same mask (residuals); the view's own when left out.
    """
    out = np.array(view.values if values is None else values, np.float32, order="C")
    _lines(view.axis.along, np.ascontiguousarray(view.usable), out)
    return out


def pchip(view: View, values: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Like :func:`linear`, on monotone cubics; pixels with a single usable band hold it."""
    out = np.array(view.values if values is None else values, np.float32, order="C")
    _cubics(view.axis.along, np.ascontiguousarray(view.usable), out)
    return out


@numba.njit("void(float64[::1], boolean[:,::1], float32[:,::1])", cache=True, nogil=True)
def _lines(x: NDArray[np.float64], usable: NDArray[np.bool_], out: NDArray[np.float32]) -> None:
    bands = x.size
    for pixel in range(out.shape[0]):
        left = -1
        right = 0
        for band in range(bands):
            if usable[pixel, band]:
                left = band
                continue
            if right <= band:
                right = band + 1
                while right < bands and not usable[pixel, right]:
                    right += 1
            if left < 0 and right == bands:
                break  # nothing to begin from
            if left < 0:
                out[pixel, band] = out[pixel, right]
            elif right == bands:
                out[pixel, band] = out[pixel, left]
            else:
                share = np.float32((x[band] - x[left]) / (x[right] - x[left]))
                out[pixel, band] = out[pixel, left] * (np.float32(1.0) - share) + out[pixel, right] * share


@numba.njit("float64(float64, float64, float64, float64)", cache=True, nogil=True)
def _end_slope(near: float, far: float, slope: float, beyond: float) -> float:
    """Slope at an end of a cubic by its three outermost points: widths and slopes of the two pieces."""
    found = ((2 * near + far) * slope - near * beyond) / (near + far)
    if np.sign(found) != np.sign(slope):
        return 0.0
    if np.sign(slope) != np.sign(beyond) and abs(found) > 3 * abs(slope):
        return 3 * slope
    return found


@numba.njit("void(float64[::1], boolean[:,::1], float32[:,::1])", cache=True, nogil=True)
def _cubics(x: NDArray[np.float64], usable: NDArray[np.bool_], out: NDArray[np.float32]) -> None:
    bands = x.size
    seen = np.empty(bands, np.int64)
    width, slope, tangent = np.empty(bands), np.empty(bands), np.empty(bands)
    for pixel in range(out.shape[0]):
        count = 0
        for band in range(bands):
            if usable[pixel, band]:
                seen[count] = band
                count += 1
        if count == 0 or count == bands:
            continue
        last = count - 1
        for k in range(last):
            width[k] = x[seen[k + 1]] - x[seen[k]]
            slope[k] = (np.float64(out[pixel, seen[k + 1]]) - np.float64(out[pixel, seen[k]])) / width[k]
        if count == 2:
            tangent[0] = tangent[1] = slope[0]
        elif count > 2:
            for k in range(1, last):
                before, after = slope[k - 1], slope[k]
                tangent[k] = 0.0
                if before * after > 0:
                    one, other = 2 * width[k] + width[k - 1], width[k] + 2 * width[k - 1]
                    tangent[k] = (one + other) / (one / before + other / after)
            tangent[0] = _end_slope(width[0], width[1], slope[0], slope[1])
            tangent[last] = _end_slope(width[last - 1], width[last - 2], slope[last - 1], slope[last - 2])
        piece = -1
        for band in range(bands):
            if usable[pixel, band]:
                piece += 1
            elif piece < 0:
                out[pixel, band] = out[pixel, seen[0]]
            elif piece == last:
                out[pixel, band] = out[pixel, seen[last]]
            else:
                step, along = width[piece], x[band] - x[seen[piece]]
                bend = (tangent[piece] + tangent[piece + 1] - 2 * slope[piece]) / step
                curve = (slope[piece] - tangent[piece]) / step - bend
                start = np.float64(out[pixel, seen[piece]])
                out[pixel, band] = start + along * (tangent[piece] + along * (curve + along * (bend / step)))
