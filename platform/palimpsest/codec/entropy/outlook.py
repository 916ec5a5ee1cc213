"""What a row of samples can know before its first one is coded, for the fast form of the coder.

Most of what :mod:`palimpsest.codec.entropy.details` looks at lies in planes that are complete (components before, the
coarser level, siblings) or in rows above. Here it is gathered a row at a time, in small types, and what a component
tells those after it is worked out once: the same numbers as there, for a fraction of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from palimpsest.codec.entropy.contexts import COARSE, FINE
from palimpsest.codec.entropy.foresight import LOGARITHM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.int32]
    Bytes = NDArray[np.uint8]
    Halves = NDArray[np.int16]

MARGIN = 2
LARGEST = 1 << 24
AHEAD = 28  # inputs of the network that are known before a row begins
PADDED = 28
# Where they stand among the network's inputs, then those that wait for the samples to the left.
KNOWN = (1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 28, 29,
         37)
WAITING = (0, 4, 24, 30, 31, 32, 33, 34, 35, 36)
FEATURES = 16  # of the expected magnitude, the last four always zero
LOGS = LOGARITHM.astype(np.uint8)
COARSE_LOGS = COARSE.astype(np.uint8)
FINE_LOGS = FINE.astype(np.uint8)


@numba.njit("void(int32[:,::1], int32[:,::1])", cache=True, nogil=True)
def _magnitudes(values: Plane, sizes: Plane) -> None:
    """Magnitudes of a plane with its margins, at most 2^24."""
    for r in range(values.shape[0]):
        for c in range(values.shape[1]):
            sizes[r, c] = np.int32(min(abs(int(values[r, c])), int(LARGEST)))


@numba.njit("int64(int32[:,::1], int64, int64)", cache=True, nogil=True, inline="always")
def _near(sizes: Plane, r: int, c: int) -> int:
    return int(sizes[r - 1, c]) + sizes[r + 1, c] + sizes[r, c - 1] + sizes[r, c + 1]


@numba.njit("int64(int32[:,::1], int64, int64)", cache=True, nogil=True, inline="always")
def _corners(sizes: Plane, r: int, c: int) -> int:
    return int(sizes[r - 1, c - 1]) + sizes[r - 1, c + 1] + sizes[r + 1, c - 1] + sizes[r + 1, c + 1]


@numba.njit("void(int32[:,::1], uint8[:,:,::1], int16[:,:,::1])", cache=True, nogil=True)
def tell(sizes: Plane, logs: Bytes, sums: NDArray[np.int16]) -> None:
    """Work out what a coded component tells those that are coded after it.

    Args:
        sizes: its magnitudes, with margins.
        logs: ``(5, row, col)`` with margins, filled: logarithms of here, near and corners, the coarse level, and the
            logarithm of all around.
        sums: ``(2, row, col)``, filled: features of all around, and of here and around.
    """
    for r in range(sums.shape[1]):
        y = r + MARGIN
        for c in range(sums.shape[2]):
            x = c + MARGIN
            here = int(sizes[y, x])
            near, corners = _near(sizes, y, x), _corners(sizes, y, x)
            around = 2 * near + corners
            logs[0, y, x], logs[1, y, x] = LOGS[min(4 * here, 8191)], LOGS[min(near, 8191)]
            logs[2, y, x], logs[3, y, x] = LOGS[min(corners, 8191)], COARSE_LOGS[min(here * 2 + (around >> 2), 1023)]
            logs[4, y, x] = LOGS[min(near + corners, 8191)]
            sums[0, r, c], sums[1, r, c] = min(around, 3060) << 1, min(here * 4 + around, 3060) << 1


@numba.njit("void(int32[:,:,::1], uint8[:,:,:,::1], int16[:,:,:,::1])", cache=True, nogil=True)
def tell_all(stack: NDArray[np.int32], logs: NDArray[np.uint8], sums: NDArray[np.int16]) -> None:
    """:func:`tell` of each component of a stack with margins."""
    sizes = np.zeros(stack.shape[1:], np.int32)
    for k in range(stack.shape[0]):
        _magnitudes(stack[k], sizes)
        tell(sizes, logs[k], sums[k])


@numba.njit(
    "void(int32[:,::1], uint8[:,:,::1], int16[:,:,::1], uint8[:,:,::1], int16[:,:,::1], uint8[:,:,::1],"
    "int16[:,:,::1], int64, int16[:,::1], int32[:,::1], uint8[::1])",
    cache=True, nogil=True,
)
def look_aside(
    parent: Plane, parent_logs: Bytes, parent_sums: NDArray[np.int16], sibling_logs: Bytes,
    sibling_sums: NDArray[np.int16], other_logs: Bytes, other_sums: NDArray[np.int16], r: int, ahead: Halves,
    features: Plane, level_up: Bytes,
) -> None:
    """Fill in what the coarser level and the siblings say of a row; see :func:`tell`."""
    cols = level_up.size
    pr, y = MARGIN + (r >> 1), r + MARGIN
    down = pr - 1 if (r & 1) == 0 else pr + 1
    here, below = parent_logs[0, pr], parent_logs[0, down]
    for c in range(cols):
        pc = MARGIN + (c >> 1)
        beside = pc - 1 + 2 * (c & 1)
        ahead[c, 8], ahead[c, 9] = here[pc], below[pc]
        ahead[c, 10], ahead[c, 11] = here[beside], below[beside]
        ahead[c, 12] = parent_logs[4, pr, pc]
        level_up[c] = parent_logs[3, pr, pc]
        features[c, 4] = min(abs(int(parent[pr, pc])), 255) << 4
        features[c, 5] = parent_sums[0, r >> 1, c >> 1]
        features[c, 9] = min(int(sibling_sums[1, r, c]) + int(other_sums[1, r, c]), 6120)
    for i in range(2):
        sibling, other = sibling_logs[i, y], other_logs[i, y]
        for c in range(cols):
            ahead[c, 23 + i] = sibling[c + MARGIN]
            ahead[c, 25 + i] = other[c + MARGIN]


@numba.njit(
    "void(uint8[:,:,::1], uint8[:,:,::1], uint8[:,:,::1], int16[:,:,::1], int16[:,:,::1], int32[:,::1], int64,"
    "int16[:,::1], int32[:,::1])",
    cache=True, nogil=True,
)
def look_before(
    one: Bytes, two: Bytes, three: Bytes, sums1: NDArray[np.int16], sums2: NDArray[np.int16], values1: Plane, r: int,
    ahead: Halves, features: Plane,
) -> None:
    """Fill in what the three components before say of a row; see :func:`tell`."""
    cols, y = features.shape[0], r + MARGIN
    for i in range(3):
        first, second = one[i, y], two[i, y]
        for c in range(cols):
            ahead[c, 13 + i] = first[c + MARGIN]
            ahead[c, 16 + i] = second[c + MARGIN]
    for i in range(2):
        third = three[i, y]
        for c in range(cols):
            ahead[c, 19 + i] = third[c + MARGIN]
    for c in range(cols):
        features[c, 6] = min(abs(int(values1[y, c + MARGIN])), 255) << 4
        features[c, 7], features[c, 8] = sums1[0, r, c], sums2[1, r, c]


@numba.njit(
    "void(int32[:,::1], uint8[:,::1], int32[:,::1], int64, int16[:,::1], int32[:,::1], int32[:,::1])",
    cache=True, nogil=True,
)
def look_up(
    sizes: Plane, logs: Bytes, energy: Plane, r: int, ahead: Halves, features: Plane, above: Plane
) -> None:
    """Fill in what the rows above and the fading magnitudes say of a row.

    Args:
        sizes: magnitudes of this component with margins, known above the row.
        logs: their logarithms.
        energy: fading magnitudes with margins; those of the rows above have this component in them.
        r: the row.
        ahead: inputs of the network, ``(col, input)``.
        features: of the expected magnitude, ``(col, feature)``.
        above: ``(4, col)``, filled: twice north and its corners, what is near of energy but for the west, what is left
            of view 4 without the west, the farther neighbours but for the west.
    """
    y, cols = r + MARGIN, features.shape[0]
    north, farther = logs[y - 1], logs[y - 2]
    for c in range(cols):
        ahead[c, 0], ahead[c, 1], ahead[c, 2] = north[c + MARGIN], north[c + MARGIN - 1], north[c + MARGIN + 1]
        ahead[c, 3], ahead[c, 4] = farther[c + MARGIN], farther[c + MARGIN + 1]
        ahead[c, 5], ahead[c, 6], ahead[c, 7] = farther[c + MARGIN - 1], north[c + MARGIN - 2], north[c + MARGIN + 2]
    for c in range(cols):
        x = c + MARGIN
        here = int(energy[y, x])
        ahead[c, 21] = LOGS[min(here >> 2, 8191)]
        ahead[c, 22] = LOGS[min(_corners(energy, y, x) >> 4, 8191)]
        features[c, 10] = min(here, 4095)
        above[1, c] = int(energy[y - 1, x]) + energy[y + 1, x] + energy[y, x + 1]
    for c in range(cols):
        x = c + MARGIN
        n, nw, ne = int(sizes[y - 1, x]), int(sizes[y - 1, x - 1]), int(sizes[y - 1, x + 1])
        features[c, 1], features[c, 2] = min(n, 255) << 4, min(nw + ne, 511) << 3
        above[0, c] = 2 * n + nw + ne
        above[2, c] = min(n, 3) * 16 + min(nw, 3) * 4 + min(ne, 3)
        above[3, c] = int(sizes[y - 2, x]) + sizes[y - 1, x - 2] + sizes[y - 1, x + 2]
