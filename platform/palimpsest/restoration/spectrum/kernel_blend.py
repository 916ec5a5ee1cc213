"""Short gaps: interpolating kernels, blended as they did where bands of this scene were hidden as the gap is.

How smooth a spectrum is differs from scene to scene and from range to range: reflectance from a laboratory bends like a
cubic, radiance under atmospheric lines is jagged, so that its rim bands are best believed by halves. A bank of kriging
kernels spans that, from the straight line through both rims to smooth curves that miss every one of them; the line and
the monotone cubic themselves belong to it. Every stretch of bands around the gap that is as wide as it is hidden in
turn, and the convex mean of the kernels with the least error there is taken. Places near the gap count more, rough ones
do not outvote calm ones.

Sources: ordinary kriging (Matheron 1963, Economic Geology 58, 1246-1266); stacking (Wolpert 1992, Neural Networks 5,
241-259; Breiman 1996, Machine Learning 24, 49-64).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.spectrum.interpolation import linear

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from palimpsest.restoration.view import Axis, View

WIDEST = 8  # bands; beyond, too few places as wide as the gap are like it
NEIGHBOURS = 24  # bands on either side that a kernel looks at
_NEAR = 8.0  # bands within which a place counts about fully
_CALM = 0.65  # 1: every place counts by its relative error, 0: by its error as it is
_RIDGE = 0.02
_PIXELS = 150
_FEWEST_PLACES = 8
_RIM = 3  # bands on either side that decide a monotone cubic
_MOST_STEP = 1.5  # usual steps; a wider one is a hole, and counts what it is
_TINY = 1e-9

# Smoothness of the kernel, its range in bands, and how far the bands themselves are doubted (nugget).
KERNELS = (
    ("exponential", 15, 1e-4), ("exponential", 15, 1e-2), ("exponential", 15, 1e-1), ("exponential", 40, 1e-1),
    ("matern32", 6, 1e-4), ("matern32", 6, 1e-2), ("matern32", 6, 1e-1), ("matern32", 15, 1e-4),
    ("matern32", 15, 1e-2), ("matern32", 15, 1e-1), ("matern32", 40, 1e-4), ("matern52", 6, 1e-2),
    ("matern52", 6, 1e-1), ("matern52", 15, 1e-4), ("matern52", 15, 1e-2), ("matern52", 40, 1e-4),
    ("matern52", 40, 1e-2),
)
_COVARIANCE: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "exponential": lambda d: np.exp(-d),
    "matern32": lambda d: (1 + np.sqrt(3) * d) * np.exp(-np.sqrt(3) * d),
    "matern52": lambda d: (1 + np.sqrt(5) * d + 5 * d * d / 3) * np.exp(-np.sqrt(5) * d),
}


@dataclass(frozen=True, slots=True)
class KernelBlend:
    """What hiding other places taught about a gap.

    Args:
        shares: weight of each member of the bank, the line and the cubic last, ``(member,)``, summing to one.
        error: mean squared error of line, cubic and blend at the hidden places (geometric mean over them, near places
            counting more), ``(3,)``, scaled units.
    """

    shares: NDArray[np.float64]
    error: NDArray[np.float64]

    def fill(self, axis: Axis, filled: NDArray[np.floating], gap: NDArray[np.intp], hidden: NDArray[np.bool_]) -> (
        NDArray[np.float32]
    ):
        """Values of the bands of a gap, ``(pixel, gap band)``.

        Args:
            axis: of the bands.
            filled: spectra, ``(pixel, band)``; the bands of ``hidden`` are not looked at.
            gap: ascending contiguous bands, with seen ones on both sides.
            hidden: all bands that no pixel shows, ``(band,)``.
        """
        seen = _around(gap, hidden)
        members = _members(_steps(axis), seen, gap, filled[:, seen].astype(np.float64))
        return np.einsum("i,ipb->pb", self.shares, members).astype(np.float32)


def fit(sample: View, gap: NDArray[np.intp], hidden: NDArray[np.bool_]) -> KernelBlend | None:
    """The blend for a gap, or None where it is too wide, at an end, or too few places are like it.

    Args:
        sample: pixels to learn from.
        gap: its ascending contiguous bands.
        hidden: all bands that no pixel shows, ``(band,)``.
    """
    seen = _around(gap, hidden)
    if gap.size > WIDEST or not seen.size or seen[0] > gap[0] or seen[-1] < gap[-1]:
        return None
    some = sample.rows(np.arange(0, len(sample.pixels), max(1, len(sample.pixels) // _PIXELS)))
    spectra = linear(some)[:, seen].astype(np.float64)
    steps = _steps(sample.axis)
    errors, apart = [], []
    for first in range(2, seen.size - gap.size - 1):
        place = np.arange(first, first + gap.size)
        if seen[place[-1]] - seen[place[0]] != gap.size - 1:
            continue
        rest = np.delete(np.arange(seen.size), place)
        off = _members(steps, seen[rest], seen[place], spectra[:, rest]) - spectra[:, place]
        errors.append(np.einsum("ipb,jpb->ij", off, off) / off[0].size)
        apart.append(min(abs(int(seen[first]) - int(gap[-1])), abs(int(seen[place[-1]]) - int(gap[0]))))
    if len(errors) < _FEWEST_PLACES:
        return None
    return _stacked(np.array(errors), 1 / (1 + (np.array(apart) / _NEAR) ** 2))


def _stacked(errors: NDArray[np.float64], weight: NDArray[np.float64]) -> KernelBlend:
    own = np.diagonal(errors, axis1=1, axis2=2)
    usual = np.exp(np.log(own + _TINY).mean(1))
    shares = convex_mean(np.einsum("k,kij->ij", weight / usual**_CALM, errors) / weight.sum())
    blended = np.einsum("i,kij,j->k", shares, errors, shares)
    typical = np.stack([own[:, -2], own[:, -1], blended], 1)
    return KernelBlend(shares, np.exp((weight[:, None] * np.log(typical + _TINY)).sum(0) / weight.sum()))


def convex_mean(joint: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights, none negative, of sum one, of the mean with the least error, ``(member,)``.

    Args:
        joint: sums of products of the members' errors, ``(member, member)``.
    """
    from scipy.optimize import nnls

    count = len(joint)
    joint = joint / max(float(np.trace(joint)) / count, _TINY) + _RIDGE * np.eye(count)
    # Least squares under a sum of one: a heavy row says the sum.
    heavy = 1e3
    system = np.vstack([np.linalg.cholesky(joint).T, np.full((1, count), heavy)])
    shares, _ = nnls(system, np.concatenate([np.zeros(count), [heavy]]))
    return np.asarray(shares / shares.sum())


def _around(gap: NDArray[np.intp], hidden: NDArray[np.bool_]) -> NDArray[np.intp]:
    shown = np.flatnonzero(~hidden)
    before, after = shown[shown < gap[0]][-NEIGHBOURS:], shown[shown > gap[-1]][:NEIGHBOURS]
    return np.concatenate([before, after])


def _steps(axis: Axis) -> NDArray[np.float64]:
    """Places of the bands in bands: a usual step is one whatever it is, a hole as wide as it is, ``(band,)``."""
    steps = np.diff(axis.along)
    if not steps.size:
        return np.zeros(axis.count)
    relative = steps / np.median(steps)
    return np.concatenate([[0.0], np.cumsum(np.where(relative > _MOST_STEP, relative, 1.0))])


def _members(
    x: NDArray[np.float64], seen: NDArray[np.intp], wanted: NDArray[np.intp], spectra: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What each member says of ``wanted`` bands, ``(member, pixel, wanted)``; ``spectra`` are those of ``seen``."""
    from scipy.interpolate import PchipInterpolator

    at, to = x[seen], x[wanted]
    among, across = np.abs(at[:, None] - at), np.abs(at[:, None] - to)
    out = np.empty((len(KERNELS) + 2, len(spectra), wanted.size))
    for number, (kind, reach, nugget) in enumerate(KERNELS):
        covariance = _COVARIANCE[kind]
        known = np.linalg.solve(
            covariance(among / reach) + nugget * np.eye(at.size),
            np.column_stack([covariance(across / reach), np.ones(at.size)]),
        )
        mean = known[:, -1] / known[:, -1].sum()
        weights = known[:, :-1]
        out[number] = spectra @ (weights + mean[:, None] * (1 - weights.sum(0)))
    right = int(np.searchsorted(at, to[0]))
    share = (to - at[right - 1]) / (at[right] - at[right - 1])
    out[-2] = spectra[:, [right - 1]] * (1 - share) + spectra[:, [right]] * share
    near = slice(max(right - _RIM, 0), right + _RIM)
    out[-1] = PchipInterpolator(at[near], spectra[:, near], axis=1)(to)
    return out
