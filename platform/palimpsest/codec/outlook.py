"""What a row of samples can know before its first one is coded, for the fast form of the coder.

Most of what :mod:`palimpsest.codec.details` looks at lies in planes that are complete (components before, the coarser
level, siblings) or in rows above. Here it is gathered a row at a time, in small types, and what a component tells
those after it is worked out once: the same numbers as there, for a fraction of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from palimpsest.codec.contexts import COARSE, FINE
from palimpsest.codec.foresight import LOGARITHM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.int32]
    Bytes = NDArray[np.uint8]

MARGIN = 2
LARGEST = 1 << 24
AHEAD = 27  # inputs of the network that are known before a row begins
PADDED = 28
# Where they stand among the network's inputs, then those that wait for the samples to the left.
KNOWN = (1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 28, 29)
WAITING = (0, 4, 24, 30, 31, 32, 33, 34)
FEATURES = 16  # of the expected magnitude, the last four always zero
LOGS = LOGARITHM.astype(np.uint8)
COARSE_LOGS = COARSE.astype(np.uint8)
FINE_LOGS = FINE.astype(np.uint8)


@numba.njit("void(int32[:,::1], int32[:,::1])", cache=True, nogil=True)
def _magnitudes(values: Plane, sizes: Plane) -> None:
    """Magnitudes of a plane with its margins, at most 2^24."""
    for r in range(values.shape[0]):
        for c in range(values.shape[1]):
            sizes[r, c] = np.int32(min(abs(np.int64(values[r, c])), np.int64(LARGEST)))


@numba.njit("int64(int32[:,::1], int64, int64)", cache=True, nogil=True, inline="always")
def _near(sizes: Plane, r: int, c: int) -> int:
    return np.int64(sizes[r - 1, c]) + sizes[r + 1, c] + sizes[r, c - 1] + sizes[r, c + 1]


@numba.njit("int64(int32[:,::1], int64, int64)", cache=True, nogil=True, inline="always")
def _corners(sizes: Plane, r: int, c: int) -> int:
    return np.int64(sizes[r - 1, c - 1]) + sizes[r - 1, c + 1] + sizes[r + 1, c - 1] + sizes[r + 1, c + 1]


@numba.njit(
    "void(int32[:,::1], int32[:,::1], uint8[:,:,::1], int16[:,:,::1])", cache=True, nogil=True
)
def tell(values: Plane, sizes: Plane, logs: Bytes, sums: NDArray[np.int16]) -> None:
    """Work out what a coded component tells the next three.

    Args:
        values: the component with margins.
        sizes: filled with its magnitudes.
        logs: ``(4, row, col)`` without margins, filled: logarithms of here, near and corners, and the coarse level.
        sums: ``(2, row, col)``, filled: features of all around, and of here and around.
    """
    _magnitudes(values, sizes)
    rows, cols = logs.shape[1], logs.shape[2]
    for r in range(rows):
        for c in range(cols):
            here = np.int64(sizes[r + MARGIN, c + MARGIN])
            near, corners = _near(sizes, r + MARGIN, c + MARGIN), _corners(sizes, r + MARGIN, c + MARGIN)
            around = 2 * near + corners
            logs[0, r, c] = LOGS[min(4 * here, 8191)]
            logs[1, r, c] = LOGS[min(near, 8191)]
            logs[2, r, c] = LOGS[min(corners, 8191)]
            logs[3, r, c] = COARSE_LOGS[min(here * 2 + (around >> 2), 1023)]
            sums[0, r, c] = np.int16(min(around, 3060) << 1)
            sums[1, r, c] = np.int16(min(here * 4 + around, 3060) << 1)


@numba.njit(
    "void(int32[:,::1], int32[:,::1], int32[:,::1], int64, int16[:,::1], int32[:,::1], uint8[::1])",
    cache=True, nogil=True,
)
def look_aside(
    parent: Plane, sibling: Plane, other: Plane, r: int, ahead: NDArray[np.int16], features: Plane, level_up: Bytes
) -> None:
    """Fill in what the coarser level and the siblings say of a row, given their magnitudes with margins."""
    cols = level_up.size
    pr = MARGIN + (r >> 1)
    down = pr - 1 if (r & 1) == 0 else pr + 1
    for half in range((cols + 1) >> 1):
        pc = MARGIN + half
        up, near, corners = np.int64(parent[pr, pc]), _near(parent, pr, pc), _corners(parent, pr, pc)
        around = 2 * near + corners
        here, all_around = LOGS[min(4 * up, 8191)], LOGS[min(near + corners, 8191)]
        below, level = LOGS[min(4 * parent[down, pc], 8191)], COARSE_LOGS[min(2 * up + (around >> 2), 1023)]
        for c in range(2 * half, min(2 * half + 2, cols)):
            beside = pc - 1 if (c & 1) == 0 else pc + 1
            ahead[8, c], ahead[9, c] = here, below
            ahead[10, c] = LOGS[min(4 * parent[pr, beside], 8191)]
            ahead[11, c] = LOGS[min(4 * parent[down, beside], 8191)]
            ahead[12, c] = all_around
            features[c, 4], features[c, 5] = min(up, 255) << 4, min(around, 3060) << 1
            level_up[c] = level
    y = r + MARGIN
    for c in range(cols):
        x = c + MARGIN
        first, second = np.int64(sibling[y, x]), np.int64(other[y, x])
        near1, near2 = _near(sibling, y, x), _near(other, y, x)
        ahead[23, c], ahead[24, c] = LOGS[min(4 * first, 8191)], LOGS[min(near1, 8191)]
        ahead[25, c], ahead[26, c] = LOGS[min(4 * second, 8191)], LOGS[min(near2, 8191)]
        beside = 4 * (first + second) + 2 * (near1 + near2)
        beside += _corners(sibling, y, x) + _corners(other, y, x)
        features[c, 9] = min(beside, 3060) << 1


@numba.njit(
    "void(uint8[:,:,::1], uint8[:,:,::1], uint8[:,:,::1], int16[:,:,::1], int16[:,:,::1], int32[:,::1], int64,"
    "int16[:,::1], int32[:,::1])",
    cache=True, nogil=True,
)
def look_before(
    one: Bytes, two: Bytes, three: Bytes, sums1: NDArray[np.int16], sums2: NDArray[np.int16], values1: Plane, r: int,
    ahead: NDArray[np.int16], features: Plane,
) -> None:
    """Fill in what the three components before say of a row; see :func:`tell`."""
    cols = one.shape[2]
    for i in range(3):
        for c in range(cols):
            ahead[13 + i, c] = one[i, r, c]
            ahead[16 + i, c] = two[i, r, c]
    for i in range(2):
        for c in range(cols):
            ahead[19 + i, c] = three[i, r, c]
    for c in range(cols):
        features[c, 6] = min(abs(np.int64(values1[r + MARGIN, c + MARGIN])), 255) << 4
        features[c, 7], features[c, 8] = sums1[0, r, c], sums2[1, r, c]


@numba.njit(
    "void(int32[:,::1], int32[:,::1], int64, int16[:,::1], int32[:,::1], int32[:,::1])", cache=True, nogil=True
)
def look_up(
    sizes: Plane, energy: Plane, r: int, ahead: NDArray[np.int16], features: Plane, above: Plane
) -> None:
    """Fill in what the rows above and the fading magnitudes say of a row.

    Args:
        sizes: magnitudes of this component with margins, known above the row.
        energy: fading magnitudes with margins; those of the rows above have this component in them.
        r: the row.
        ahead: inputs of the network, ``(input, col)``.
        features: of the expected magnitude, ``(col, feature)``.
        above: ``(4, col)``, filled: twice north and its corners, what is near of energy but for the west, what is left
            of view 4 without the west, the farther neighbours but for the west.
    """
    y = r + MARGIN
    for c in range(features.shape[0]):
        x = c + MARGIN
        n, nw, ne = np.int64(sizes[y - 1, x]), np.int64(sizes[y - 1, x - 1]), np.int64(sizes[y - 1, x + 1])
        nn, left, right = np.int64(sizes[y - 2, x]), np.int64(sizes[y - 1, x - 2]), np.int64(sizes[y - 1, x + 2])
        ahead[0, c], ahead[1, c] = LOGS[min(4 * n, 8191)], LOGS[min(4 * nw, 8191)]
        ahead[2, c], ahead[3, c] = LOGS[min(4 * ne, 8191)], LOGS[min(4 * nn, 8191)]
        ahead[4, c] = LOGS[min(4 * np.int64(sizes[y - 2, x + 1]), 8191)]
        ahead[5, c] = LOGS[min(4 * np.int64(sizes[y - 2, x - 1]), 8191)]
        ahead[6, c], ahead[7, c] = LOGS[min(4 * left, 8191)], LOGS[min(4 * right, 8191)]
        here = np.int64(energy[y, x])
        ahead[21, c] = LOGS[min(here >> 2, 8191)]
        ahead[22, c] = LOGS[min(_corners(energy, y, x) >> 4, 8191)]
        features[c, 1], features[c, 2] = min(n, 255) << 4, min(nw + ne, 511) << 3
        features[c, 10] = min(here, 4095)
        above[0, c] = 2 * n + nw + ne
        above[1, c] = np.int64(energy[y - 1, x]) + energy[y + 1, x] + energy[y, x + 1]
        above[2, c] = min(n, 3) * 16 + min(nw, 3) * 4 + min(ne, 3)
        above[3, c] = nn + left + right


@numba.njit("void(int16[:,::1], int32[:,:,::1], int32[:,::1])", cache=True, nogil=True)
def begin(ahead: NDArray[np.int16], weights: NDArray[np.int32], sums: Plane) -> None:
    """The network's first sums of a row, ``(col, unit)``, of the inputs that are known; weights ``(4, 7, unit)``."""
    units = sums.shape[1]
    for c in range(sums.shape[0]):
        row = sums[c]
        row[:] = 0
        for g in range(4):
            at = 7 * g
            v0, v1, v2 = np.int32(ahead[at, c]), np.int32(ahead[at + 1, c]), np.int32(ahead[at + 2, c])
            v3, v4 = np.int32(ahead[at + 3, c]), np.int32(ahead[at + 4, c])
            v5, v6 = np.int32(ahead[at + 5, c]), np.int32(ahead[at + 6, c])
            if (v0 | v1 | v2 | v3 | v4 | v5 | v6) != 0:
                w = weights[g]
                for j in range(units):
                    row[j] += np.int32(
                        v0 * w[0, j] + v1 * w[1, j] + v2 * w[2, j] + v3 * w[3, j] + v4 * w[4, j] + v5 * w[5, j]
                        + v6 * w[6, j]
                    )
