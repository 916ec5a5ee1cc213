"""A signed guess of each sample from the components before and from its neighbours, learnt while coding.

The components are uncorrelated over a whole scene, but not hereabouts and not within one part of a level. A linear
guess with weights that learn from every coded sample finds what is left: recursive least squares with the covariance
of its inputs taken as diagonal, which they nearly are, and with a memory of about 340 samples. The weights of a
component run on from part to part of a tile, coarse to fine. Integers only; inputs are in units of their own spread,
8 fraction bits, the weights have 16.

Source: Haykin 2002, Adaptive Filter Theory, chapter 9; the diagonal form is the normalised LMS of each input alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Cells = NDArray[np.int64]
    Plane = NDArray[np.int32]
    Row = NDArray[np.int32]

BEFORE = 25  # components before that a guess listens to
NEAR = 7  # west, north, their corners, the parent, two siblings
TAPS = BEFORE + NEAR
GUIDES = 512  # components with weights of their own; those beyond share the last
MARGIN = 2
LIMIT = 4095  # of inputs, 16 spreads
FARTHEST = 1024  # of an error that is learnt from, 4 spreads
FARTHEST_MISS = 1 << 20  # that is remembered of a guess, 8 fraction bits of a sample
USUAL_MISS = 256  # before anything was guessed: one spread
POWER = 100 << 8  # of an input before anything was seen: a hundred samples of unit spread
LEAST_POWER = 64 << 8
REFRESH = 16  # samples between two looks at the spreads and powers; a power of two


@numba.njit("int64(int64)", cache=True, nogil=True)
def root(value: int) -> int:
    """Integer square root, rounded down; 0 to 2^62."""
    found, bit = 0, 1 << 60
    while bit > value:
        bit >>= 2
    while bit:
        if value >= found + bit:
            value -= found + bit
            found = (found >> 1) + bit
        else:
            found >>= 1
        bit >>= 2
    return found


@numba.njit("void(int32[:,:,::1], int64, int64[::1])", cache=True, nogil=True)
def next_scales(stack: NDArray[np.int32], k: int, scales: Cells) -> None:
    """Make room for component k: ``scales[j]`` is 2^16 over the spread (4 fraction bits) of component k - 1 - j."""
    for j in range(BEFORE - 1, 0, -1):
        scales[j] = scales[j - 1]
    scales[0] = 0
    if k > 0:
        height, width = stack.shape[1], stack.shape[2]
        total = np.int64(0)
        for r in range(MARGIN, height - MARGIN):
            for c in range(MARGIN, width - MARGIN):
                value = min(abs(np.int64(stack[k - 1, r, c])), np.int64(LIMIT))
                total += value * value
        if total > 0:
            scales[0] = 65536 // root((total << 8) // ((height - 2 * MARGIN) * (width - 2 * MARGIN)) + 13)


@numba.njit("int64(int64, int64)", cache=True, nogil=True)
def scaled(value: int, scale: int) -> int:
    """A sample in units of a spread, 8 fraction bits."""
    inside = min(max(value, -LIMIT), LIMIT)
    return min(max((inside * scale) >> 4, -LIMIT), LIMIT)


@numba.njit("void(int32[:,:,::1], int64, int64, int64[::1], int32[:,::1])", cache=True, nogil=True)
def fill_row(stack: NDArray[np.int32], k: int, r: int, scales: Cells, row: Row) -> None:
    """Inputs from the components before along a row, ``(col, tap)``."""
    cols = stack.shape[2] - 2 * MARGIN
    for j in range(BEFORE):
        scale = scales[j]
        if scale == 0 or j >= k:
            for c in range(cols):
                row[c, j] = 0
        else:
            for c in range(cols):
                row[c, j] = np.int32(scaled(np.int64(stack[k - 1 - j, r, c + MARGIN]), scale))


@numba.njit("int64(int32[:,::1], int64, int32[:,::1], int64)", cache=True, nogil=True)
def guessed(row: Row, c: int, guides: Row, k: int) -> int:
    """The guess in units of the component's spread, 8 fraction bits."""
    total = np.int64(0)
    for i in range(TAPS):
        total += np.int64(row[c, i]) * np.int64(guides[k, i])
    return int(min(max(total >> 16, np.int64(-LIMIT)), np.int64(LIMIT)))


@numba.njit("void(int32[:,::1], int64, int32[:,::1], int64, int64[::1], int64[::1], int64)", cache=True, nogil=True)
def follow(row: Row, c: int, guides: Row, k: int, powers: Cells, inverses: Cells, error: int) -> None:
    """Learn from a guess that was ``error`` too small, 8 fraction bits."""
    error = min(max(error, -FARTHEST), FARTHEST)
    surprise = np.int64(0)
    for i in range(TAPS):
        square = np.int64(row[c, i]) * np.int64(row[c, i])
        surprise += square * inverses[i]
        powers[i] += (square >> 8) - (powers[i] * 3 >> 10)
    step = (error << 28) // ((np.int64(1) << 28) + (surprise >> 8))
    for i in range(TAPS):
        moved = np.int64(guides[k, i]) + ((np.int64(row[c, i]) * inverses[i] * step + (1 << 19)) >> 20)
        guides[k, i] = np.int32(min(max(moved, np.int64(-(1 << 20))), np.int64(1 << 20)))


@numba.njit("void(int64[::1], int64[::1])", cache=True, nogil=True)
def invert(powers: Cells, inverses: Cells) -> None:
    """2^28 over the power of each input."""
    for i in range(TAPS):
        inverses[i] = (np.int64(1) << 28) // max(powers[i], np.int64(LEAST_POWER))
