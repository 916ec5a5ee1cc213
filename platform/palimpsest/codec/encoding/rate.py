"""Finding the quantiser step that gives a rate: a first guess from theory, then a search on logarithms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import PromiseBroken

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MOST_ENCODINGS = 12
TOLERANCE = 0.01
PROMISED = 0.03  # a rate further above its target than this is a broken promise


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a step gives.

    Args:
        step: quantiser step in weighted units.
        size: bytes of the whole stream.
    """

    step: float
    size: int


def first_step(covariance: NDArray[np.float64], bpppc: float) -> float:
    """The step at which reverse water-filling on the eigenvalues predicts a rate.

    Source: Cover and Thomas 2006, Elements of Information Theory, section 10.3.3.
    """
    logs = np.log2(np.maximum(np.linalg.eigvalsh(covariance), 1e-12))
    low, high = -40.0, 80.0
    for _ in range(60):
        level = (low + high) / 2
        bits = 0.5 * np.maximum(0, logs - level).sum() / len(logs)
        low, high = (level, high) if bits > bpppc else (low, level)
    return math.sqrt(12 * 2.0**low)


def search(
    sized: Callable[[float], Estimate], start: float, bpppc: float, voxels: int, tolerance: float, where: str
) -> Estimate:
    """The step whose rate is nearest to a target, within ``tolerance`` where a dozen tries reach it.

    Args:
        sized: step to size.
        start: first step to try.
        bpppc: target in bits per pixel per channel.
        voxels: of the cube.
        tolerance: relative.
        where: for the message.

    Raises:
        PromiseBroken: even the coarsest encoding is larger than the target by more than 3 %.
    """
    best = nearest(sized, start, bpppc, voxels, tolerance)
    check(8 * best.size / voxels / bpppc, bpppc, tolerance, where)
    return best


def nearest(
    sized: Callable[[float], Estimate], start: float, bpppc: float, voxels: int, tolerance: float,
    most: int = MOST_ENCODINGS,
) -> Estimate:
    """As :func:`search`, whatever comes nearest in so many tries."""
    target = math.log(bpppc)
    step, best, best_off = start, None, math.inf
    below: tuple[float, float] | None = None  # (log step, log rate) of the dearest encoding that is too cheap
    above: tuple[float, float] | None = None
    for _ in range(most):
        found = sized(step)
        at, rate = math.log(step), math.log(8 * found.size / voxels)
        if abs(rate - target) < abs(best_off):
            best, best_off = found, rate - target
        if abs(best_off) < tolerance:
            break
        if rate > target:
            above = (at, rate)
        else:
            below = (at, rate)
        step = math.exp(_next(below, above, at, rate - target))
        if not 1e-6 < step < 2.0**38:
            break
    assert best is not None
    return best


def check(off: float, bpppc: float, tolerance: float, where: str) -> None:
    """Refuse an encoding that is ``off`` times as large as its target, where that is too much.

    Raises:
        PromiseBroken: it is.
    """
    if off - 1 > max(PROMISED, tolerance):
        raise PromiseBroken(
            "the rate cannot be reached: head and spectral level alone are larger", where=where,
            got=f"{off * bpppc:.4f} bpppc", wanted=f"{bpppc} bpppc",
        )


def _next(
    below: tuple[float, float] | None, above: tuple[float, float] | None, at: float, excess: float
) -> float:
    """Logarithm of the step to try next: along the secant, but never too near to a side that is known."""
    if below is None or above is None:
        return at + max(-1.5, min(1.5, 1.3 * excess))
    slope = (below[0] - above[0]) / (below[1] - above[1])
    wanted = at - excess * slope if slope < 0 else (below[0] + above[0]) / 2
    margin = 0.05 * (below[0] - above[0])
    return min(max(wanted, above[0] + margin), below[0] - margin)
