"""Whether a cube still says the same: labels kept, features as deep as before, intervals that hold the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import CubeRefused
from palimpsest.spectra import band_depth

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHALLOWEST = 1e-6


def label_agreement(labels_a: NDArray[np.integer], labels_b: NDArray[np.integer]) -> float:
    """Share of the pixels that either side names (label above 0) with the same label; NaN when neither names any.

    Raises:
        CubeRefused: shapes disagree.
    """
    if labels_a.shape != labels_b.shape:
        raise CubeRefused("label maps of different shape", got=labels_b.shape, wanted=labels_a.shape)
    either = (labels_a > 0) | (labels_b > 0)
    return float((labels_a == labels_b)[either].mean()) if either.any() else float("nan")


def depth_error(
    labels_a: NDArray[np.integer],
    depth_a: NDArray[np.floating],
    labels_b: NDArray[np.integer],
    depth_b: NDArray[np.floating],
) -> float:
    """Median relative error of the feature depth over the pixels that both sides name alike; NaN when there are none.

    Args:
        labels_a: of the reference, ``(row, col)``.
        depth_a: of the reference.
        labels_b: of the cube under test.
        depth_b: of the cube under test.
    """
    same = (labels_a == labels_b) & (labels_a > 0) & np.isfinite(depth_a) & np.isfinite(depth_b)
    if not same.any():
        return float("nan")
    reference = depth_a[same].astype(np.float64)
    return float(np.median(np.abs(depth_b[same] - reference) / np.maximum(reference, SHALLOWEST)))


def band_depth_error(
    reference: NDArray[np.floating],
    test: NDArray[np.floating],
    centre_nm: NDArray[np.float64],
    left_nm: tuple[float, float],
    right_nm: tuple[float, float],
) -> NDArray[np.float64]:
    """Depth of one absorption feature in ``test`` less that in ``reference``, ``(row, col)``.

    Args:
        reference: ``(band, row, col)``, values in proportion to reflectance.
        test: the same.
        centre_nm: band centres, nm, ``(band,)``.
        left_nm: the continuum interval on the short side, nm.
        right_nm: that on the long side, nm.
    """
    depths = [band_depth(np.moveaxis(cube, 0, -1), centre_nm, left_nm, right_nm) for cube in (reference, test)]
    return np.asarray(depths[1] - depths[0])


def coverage(
    truth: NDArray[np.number],
    low: NDArray[np.number],
    high: NDArray[np.number],
    where: NDArray[np.bool_] | None = None,
) -> float:
    """Share of the values that lie within their interval, ends included; NaN when there are none."""
    inside = np.greater_equal(truth, low) & np.less_equal(truth, high)
    chosen = inside if where is None else inside[np.broadcast_to(where, inside.shape)]
    return float(chosen.mean()) if chosen.size else float("nan")


def calibration(
    error: NDArray[np.floating], sigma: NDArray[np.floating], levels: tuple[float, ...] = (0.5, 0.8, 0.9, 0.95)
) -> dict[float, float]:
    """Nominal to observed coverage of central Gaussian intervals of the given standard deviations."""
    from scipy.special import ndtri

    if not error.size:
        return dict.fromkeys(levels, float("nan"))
    return {p: float((np.abs(error) <= ndtri(0.5 + p / 2) * sigma).mean()) for p in levels}
