"""Corrections of pixels without what the judge does not ask for.

A correction covers every band that a label may hang on, or every band there is; mostly one feature alone had lost it.
So ranges of bands are left out, long ones first and then shorter ones, wherever the judge still agrees. Encoder only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

PARTS = (4, 16, 64)  # ranges that the bands are cut into, one cut after the other; 2, 4 ... 128 wins 3 % in three times


def thinned(
    steps: NDArray[np.int32], agrees: Callable[[NDArray[np.int32], NDArray[np.intp]], NDArray[np.bool_]]
) -> NDArray[np.int32]:
    """Corrections with as many ranges of bands left out as the judge allows.

    Args:
        steps: with which the judge agrees, ``(pixel, band)``.
        agrees: whether it does with others of some pixels: ``(steps (some, band), which (some,)) -> (some,)``.

    Returns:
        The same shape; the judge agrees with every row.
    """
    kept, bands = steps.copy(), np.arange(steps.shape[1])
    for parts in PARTS:
        starts = np.unique(np.linspace(0, bands.size, parts + 1).astype(int)[:-1])
        part_of = np.searchsorted(starts, bands, side="right") - 1
        untried = np.logical_or.reduceat(kept != 0, starts, axis=1)
        # Every pixel tries its own next range, so that the judge is asked seldom and about many.
        while (which := np.flatnonzero(untried.any(axis=1))).size:
            part = untried[which].argmax(axis=1)
            untried[which, part] = False
            tried = np.where(part_of == part[:, None], 0, kept[which]).astype(np.int32)
            good = agrees(tried, which)
            kept[which[good]] = tried[good]
    return kept
