"""Rates and the comparison of rate-distortion curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from palimpsest.cubes import CubeShape

RATES_COMPARED = 33  # rates, evenly spaced in their logarithm, at which two curves are compared


def bpppc(size_bytes: int, shape: CubeShape | tuple[int, int, int]) -> float:
    """Bits per pixel per channel: 8 x all bytes of the file / (bands x rows x columns)."""
    return 8 * size_bytes / int(np.prod(shape, dtype=np.int64))


def bd_rate(rival: Sequence[tuple[float, float]], ours: Sequence[tuple[float, float]]) -> float:
    """Mean difference in rate at equal PSNR, percent, over the range that both curves cover; negative: ours is smaller.

    Args:
        rival: points (bpppc, PSNR in dB), four or more, in any order.
        ours: the same.

    Raises:
        UsageError: too few points, or no PSNR that both curves reach.

    Source: Bjontegaard 2001, VCEG-M33; piecewise cubic (PCHIP) in log rate as usual since.
    """
    from scipy.interpolate import PchipInterpolator

    curves = []
    for points in (rival, ours):
        if len(points) < 4:
            raise UsageError("too few points for a rate-distortion curve", got=len(points), wanted="four or more")
        ordered = sorted(points, key=lambda point: point[1])
        curves.append((np.array([p[1] for p in ordered]), np.log([p[0] for p in ordered])))
    low, high = max(d[0] for d, _ in curves), min(d[-1] for d, _ in curves)
    if high <= low:
        raise UsageError("the two curves share no range of PSNR", got=f"{low:.2f} ... {high:.2f} dB")
    areas = [PchipInterpolator(d, r).integrate(low, high) for d, r in curves]
    return float(100 * (np.exp((areas[1] - areas[0]) / (high - low)) - 1))


@dataclass(frozen=True, slots=True)
class RatioAtEqualRate:
    """How much of a rival's error is left at equal rate: 1 is as much, below 1 is better.

    Args:
        mean: geometric mean over the rates that both curves cover, evenly in log rate.
        worst: the largest ratio at any of those rates.
        worst_bpppc: the rate at which it is largest.
    """

    mean: float
    worst: float
    worst_bpppc: float


def ratio_at_equal_rate(
    rival: Sequence[tuple[float, float]], ours: Sequence[tuple[float, float]]
) -> RatioAtEqualRate:
    """Our error over the rival's, at equal rate, over the whole range that both curves cover.

    Args:
        rival: points (bpppc, error above 0, spectral angle for one), two or more, in any order.
        ours: the same.

    Raises:
        UsageError: too few points, an error that is not positive, or no rate that both curves cover.
    """
    from scipy.interpolate import PchipInterpolator

    curves = []
    for points in (rival, ours):
        if len(points) < 2 or min((min(p) for p in points), default=0.0) <= 0:
            raise UsageError("no curve of errors over rate", got=len(points), wanted="two or more positive points")
        ordered = sorted(points)
        curves.append((np.log([p[0] for p in ordered]), np.log([p[1] for p in ordered])))
    low, high = max(r[0] for r, _ in curves), min(r[-1] for r, _ in curves)
    if high <= low:
        raise UsageError("the two curves share no range of rate", got=f"{np.exp(low):.3f} ... {np.exp(high):.3f} bpppc")
    at = np.linspace(low, high, RATES_COMPARED)
    theirs, mine = (PchipInterpolator(r, e)(at) for r, e in curves)
    difference = mine - theirs
    return RatioAtEqualRate(
        float(np.exp(difference.mean())), float(np.exp(difference.max())), float(np.exp(at[difference.argmax()]))
    )
