"""Structural similarity, band by band.

Source: Wang, Bovik, Sheikh, Simoncelli 2004, IEEE Trans. Image Process. 13, 600-612, with a uniform window of seven
pixels and sample variances, as scikit-image computes it by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.measure.distortion import check_shapes

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW = 7


def ssim_per_band(
    reference: NDArray[np.generic],
    test: NDArray[np.generic],
    usable: NDArray[np.bool_] | None = None,
    *,
    peak: float | None = None,
) -> NDArray[np.float64]:
    """Structural similarity of each band, ``(band,)``.

    Args:
        reference: ``(band, row, col)``.
        test: the same shape.
        usable: voxels that count; windows that hold another one do not.
        peak: dynamic range; by default the reference's maximum over all usable voxels.

    Returns:
        NaN for a band without a single whole window, and for images under three pixels on a side.
    """
    check_shapes(reference, test)
    mask = np.ones(reference.shape, bool) if usable is None else np.broadcast_to(usable, reference.shape)
    span = peak
    if span is None:
        span = max((float(band[m].max()) for band, m in zip(reference, mask, strict=True) if m.any()), default=0.0)
    width = min(WINDOW, *(length - 1 + length % 2 for length in reference.shape[1:]))
    if width < 3 or span <= 0:
        return np.full(len(reference), np.nan)
    return np.array([_ssim(x, y, m, width, span) for x, y, m in zip(reference, test, mask, strict=True)])


def mssim(
    reference: NDArray[np.generic],
    test: NDArray[np.generic],
    usable: NDArray[np.bool_] | None = None,
    *,
    peak: float | None = None,
) -> float:
    """Mean of :func:`ssim_per_band` over the bands that have one."""
    values = ssim_per_band(reference, test, usable, peak=peak)
    known = np.isfinite(values)
    return float(values[known].mean()) if known.any() else float("nan")


def _ssim(
    reference: NDArray[np.generic], test: NDArray[np.generic], usable: NDArray[np.bool_], width: int, span: float
) -> float:
    from scipy.ndimage import minimum_filter, uniform_filter

    x = np.where(usable, reference, 0).astype(np.float64)
    y = np.where(usable, test, 0).astype(np.float64)
    sample = width**2 / (width**2 - 1)
    mean_x, mean_y = uniform_filter(x, width), uniform_filter(y, width)
    var_x = sample * (uniform_filter(x * x, width) - mean_x**2)
    var_y = sample * (uniform_filter(y * y, width) - mean_y**2)
    shared = sample * (uniform_filter(x * y, width) - mean_x * mean_y)
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    score = (2 * mean_x * mean_y + c1) * (2 * shared + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    edge = width // 2
    inner = (slice(edge, x.shape[0] - edge), slice(edge, x.shape[1] - edge))
    whole = minimum_filter(usable, width)[inner]
    return float(score[inner][whole].mean()) if whole.any() else float("nan")
