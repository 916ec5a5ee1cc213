"""Depths kept: which bumps a cube needs, and how many of them each pixel, until its features are as deep as before.

The original's diagnostic features are those of every material that passes all its rules. Pixels of one label share
bumps, one for each window that a feature of theirs lies in, of a height that puts the usual feature within the
tolerance. A pixel whose features are off takes the number of bumps that a measured slope asks for, worst feature first,
and is measured again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.keeping.depths import LARGEST_NUMBER, SHIFT, Bumps, deepened, ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    Depths = NDArray[np.float64]
    Counts = NDArray[np.bool_]

MOST_BUMPS = 16  # of a label: its most frequent windows; features in others climb the ladder of corrections
FEWEST_PIXELS = 2  # of a label that share a window
HEIGHT = 1.4  # of a bump, in tolerances of a shallow feature: nearest whole numbers then err by seven tenths of one
SHALLOW = 10  # percentile
TURNS = 4  # for each bump of a label, one feature at a time
JOINT_TURNS = 5  # then all features of the pixels that are left, together
RIDGE = 0.02


@dataclass(frozen=True, slots=True)
class FeatureTruth:
    """What must be kept, and with what.

    Args:
        tolerance: largest relative error of a depth.
        bumps: of the whole cube.
        shares: what each takes of each band, ``(bump, band)``.
        serves: the bump of each label and feature, ``(label, feature)``; -1 where there is none.
    """

    tolerance: float
    bumps: Bumps
    shares: NDArray[np.int64]
    serves: NDArray[np.intp]


def excess(truth: Depths, counts: Counts, depths: Depths, tolerance: float) -> Depths:
    """Relative error of each depth in tolerances, ``(pixel, feature)``; 0 where it does not count."""
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.abs(np.nan_to_num(depths) - truth) / (tolerance * np.abs(truth))
    return np.where(counts, off, 0.0)


def truth_of(
    parts: Iterable[tuple[NDArray[np.int32], Depths, Counts]], feature_bands: tuple[NDArray[np.intp], ...],
    centre_nm: NDArray[np.float64], labels: int, tolerance: float,
) -> FeatureTruth:
    """Bumps for a cube.

    Args:
        parts: of the original: label, depths and what counts, each ``(pixel, ...)``.
        feature_bands: bands of each feature between its shoulders.
        centre_nm: of all bands.
        labels: how many there are.
        tolerance: largest relative error of a depth.
    """
    rank = ranks(centre_nm)
    spans = [(int(rank[bands].min()), int(rank[bands].max())) for bands in feature_bands]
    found: dict[tuple[int, int, int], list[NDArray[np.float64]]] = {}
    for label, depths, counts in parts:
        for feature in np.flatnonzero(counts.any(axis=0)):
            for own in np.unique(label[counts[:, feature]]):
                at = depths[counts[:, feature] & (label == own), feature]
                found.setdefault((int(own), *spans[feature]), []).append(np.abs(at))
    depths_of = {key: np.concatenate(lists) for key, lists in found.items()}
    rows: list[tuple[int, int, int, int]] = []
    for label_index in range(labels):
        keys = [key for key in depths_of if key[0] == label_index and depths_of[key].size >= FEWEST_PIXELS]
        for key in sorted(keys, key=lambda key: (-depths_of[key].size, key))[:MOST_BUMPS]:
            height = HEIGHT * tolerance * float(np.percentile(depths_of[key], SHALLOW))
            rows.append((*key, min(max(round(height * (1 << SHIFT)), 1), 1 << SHIFT)))
    bumps = Bumps(*(np.array([row[n] for row in rows], np.int64) for n in range(4)))
    serves = np.full((labels, len(spans)), -1, np.intp)
    for at, (label_index, first, last, _) in enumerate(rows):
        serves[label_index, [n for n, span in enumerate(spans) if span == (first, last)]] = at
    return FeatureTruth(tolerance, bumps, bumps.shares(rank), serves)


def solved(
    base: NDArray[np.int64], truth: Depths, counts: Counts, own: NDArray[np.intp], kept: FeatureTruth,
    serves: NDArray[np.intp], limits: tuple[int, int], measure: Callable[[NDArray[np.int64], NDArray[np.intp]], Depths],
) -> NDArray[np.int32]:
    """Numbers ``(pixel, bump)`` that bring the pixels of one label within the tolerance, where any do.

    Args:
        base: decoded integers, ``(pixel, band)``.
        truth: depths of the original, ``(pixel, feature)``.
        counts: which of them count.
        own: the label's bumps.
        kept: what must be kept.
        serves: the place in ``own`` of each feature's bump; -1 where there is none.
        limits: smallest and largest integer.
        measure: depths of spectra, given which pixels of ``base`` they stand for.
    """
    shares = kept.shares[own]
    every = np.arange(len(base))
    now = np.nan_to_num(measure(base, every))
    off = excess(truth, counts, now, kept.tolerance)
    numbers = np.zeros((len(base), own.size), np.int64)
    best, least = numbers.copy(), off.max(axis=1, initial=0)
    pending = every[least > 1]
    if not pending.size:
        return numbers.astype(np.int32)
    slopes = np.zeros((len(base), own.size, truth.shape[1]))
    for bump in range(own.size):
        one = np.zeros((pending.size, own.size), np.int64)
        one[:, bump] = 1
        tried = deepened(base[pending], one.astype(np.int32), shares, limits)
        slopes[pending, bump] = np.nan_to_num(measure(tried, pending)) - now[pending]
    served = counts & (serves >= 0)
    for turn in range(TURNS * own.size + JOINT_TURNS):
        helped = np.where(served[pending], off[pending], 0.0)
        pending, helped = pending[helped.max(axis=1) > 1], helped[helped.max(axis=1) > 1]
        if not pending.size:
            break
        wanted = truth[pending] - now[pending]
        if turn < TURNS * own.size:
            change = _of_worst(wanted, helped, slopes[pending], serves)
        elif turn == TURNS * own.size:
            change = best[pending] - numbers[pending]  # back to the nearest, and from there
        else:
            unit = np.where(served[pending], kept.tolerance * np.abs(truth[pending]), 1.0)
            change = _of_all(wanted / unit, served[pending], slopes[pending] / unit[:, None])
        numbers[pending] = np.clip(numbers[pending] + change, -LARGEST_NUMBER, LARGEST_NUMBER)
        tried = deepened(base[pending], numbers[pending].astype(np.int32), shares, limits)
        now[pending] = np.nan_to_num(measure(tried, pending))
        off[pending] = excess(truth[pending], counts[pending], now[pending], kept.tolerance)
        reached = off[pending].max(axis=1)
        better = pending[reached < least[pending]]
        best[better], least[better] = numbers[better], off[better].max(axis=1)
        pending = pending[reached > 1]
    return best.astype(np.int32)


def _of_worst(wanted: Depths, helped: Depths, slopes: Depths, serves: NDArray[np.intp]) -> NDArray[np.int64]:
    """Change of the numbers that sets each pixel's worst feature right by its own bump, ``(pixel, bump)``."""
    pixel, worst = np.arange(len(wanted)), helped.argmax(axis=1)
    bump = serves[worst]
    slope, want = slopes[pixel, bump, worst], wanted[pixel, worst]
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.nan_to_num(np.rint(want / slope), posinf=0.0, neginf=0.0)
    change = np.zeros(slopes.shape[:2], np.int64)
    limited = np.clip(np.where(steps == 0, np.sign(want) * np.sign(slope), steps), -LARGEST_NUMBER, LARGEST_NUMBER)
    change[pixel, bump] = limited.astype(np.int64)
    return change


def _of_all(wanted: Depths, served: Counts, slopes: Depths) -> NDArray[np.int64]:
    """Change that sets all features right together, by least squares; everything in tolerances."""
    known = np.where(served[:, None], np.nan_to_num(slopes), 0.0)
    gram = known @ known.transpose(0, 2, 1) + RIDGE * np.eye(known.shape[1])
    asked = known @ np.where(served, np.nan_to_num(wanted), 0.0)[..., None]
    solved_for = np.rint(np.linalg.solve(gram, asked)[..., 0])
    return np.clip(solved_for, -LARGEST_NUMBER, LARGEST_NUMBER).astype(np.int64)
