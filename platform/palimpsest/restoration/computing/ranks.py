"""Values of a few planes put in order voxel by voxel, by comparing whole planes: dozens of times faster than a filter.

Source: merge exchange, Batcher 1968; algorithm M of Knuth 1998, The Art of Computer Programming 3, section 5.2.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Plane = NDArray[np.floating]


def ascending(planes: Sequence[Plane]) -> list[Plane]:
    """The planes' values, the smallest of each voxel in the first; none of them NaN."""
    found = list(planes)
    for one, other in _exchanges(len(found)):
        found[one], found[other] = np.minimum(found[one], found[other]), np.maximum(found[one], found[other])
    return found


def ring_median(plane: Plane) -> Plane:
    """The upper median of the eight neighbours of every voxel of ``(row, col)``, mirrored at the edges."""
    rows, cols = plane.shape
    wide = np.pad(plane, 1, mode="symmetric")
    steps = [(down, right) for down in range(3) for right in range(3) if (down, right) != (1, 1)]
    return ascending([wide[down : down + rows, right : right + cols] for down, right in steps])[len(steps) // 2]


def _exchanges(count: int) -> Iterator[tuple[int, int]]:
    """Pairs to compare, one after the other."""
    top = 1 << max(0, (count - 1).bit_length() - 1)
    width = top
    while width > 0:
        step, offset, wanted = width, 0, top
        while True:
            for at in range(count - step):
                if at & width == offset:
                    yield at, at + step
            if wanted == width:
                break
            step, offset, wanted = wanted - width, width, wanted // 2
        width //= 2
