"""Values that a broken element writes: one and the same number, whatever the ground is.

A band's values hardly repeat where noise moves them; a number that turns up many times more often than its neighbours
in value is a converter's zero, its top, or a fill. Ground that is clipped is told apart: nothing lies beyond its limit,
and it is clipped only where the pixel's other bands predict values near the limit. A fault happens to any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FEWEST = 8
_SHARE = 2e-3  # of the band's voxels
_SPIKE = 20.0  # times as often as the values beside it
_BESIDE = 20  # values on either side
_NEXT, _STEEP = 3, 8.0  # the nearest of them must be this much rarer each: dark water in whole numbers has a peak too
_MOST = 0.3  # of the band's voxels: what most of it holds is no exception
_FAR = 3.0  # sigmas of the prediction's error
_FEWEST_FAR = 4
_BEYOND = 0.01  # of the voxels on either side: no limit
_INDEPENDENT = 0.5  # of the share overall: chance, and prediction drawn towards the faults themselves


def stuck(
    values: NDArray[np.floating], known: NDArray[np.bool_], residual: NDArray[np.floating], sigma: float
) -> NDArray[np.bool_]:
    """Voxels of one band that hold a number which says nothing of the ground.

    Args:
        values: of the band, any shape.
        known: voxels to be judged, the same shape.
        residual: what each differs from its prediction, the same shape.
        sigma: standard deviation of the residual where nothing is wrong.
    """
    found = np.zeros(values.shape, bool)
    number = int(known.sum())
    shown = values[known]
    levels, count = np.unique(shown, return_counts=True)
    likely = np.flatnonzero((count >= max(_FEWEST, _SHARE * number)) & (count < _MOST * number))
    if not likely.size or levels.size <= _BESIDE:
        return found
    told = (values - residual)[known]
    struck = np.zeros(number, bool)
    for level in likely.tolist():
        low, high = max(0, level - _BESIDE), min(levels.size, level + _BESIDE + 1)
        beside = np.delete(count[low:high], level - low)
        nearest = np.delete(count[max(0, level - _NEXT) : level + _NEXT + 1], min(level, _NEXT))
        if count[level] < max(_SPIKE * np.median(beside), _STEEP * nearest.max(initial=0)):
            continue
        here = shown == levels[level]
        if min(count[:level].sum(), count[level + 1 :].sum()) > _BEYOND * number:
            struck |= here
            continue
        far = np.abs(told - levels[level]) > _FAR * sigma
        hit = int((here & far).sum())
        if hit >= _FEWEST_FAR and hit * number > _INDEPENDENT * count[level] * int(far.sum()):
            struck |= here
    found[known] = struck
    return found
