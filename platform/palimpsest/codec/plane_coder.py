"""Integer context mixing: how likely each binary decision about a quantised sample is, from all that is already known.

A sample is told by its size class (number of bits of its magnitude, unary), the bits below the leading one, and its
sign. For each class decision ten adaptive probabilities are looked up by different contexts (neighbours already coded,
the coarser level, the sibling orientations of the same level, the two components before at the same place), stretched,
mixed by weights that learn as they go, and squashed. Everything is integer arithmetic with tables: encoder and decoder
stay in step on every machine.

Source: logistic mixing after Mahoney 2005 (PAQ8); the choice of contexts follows what JPEG 2000 (parent, neighbours)
leaves out: other components of the same place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

from palimpsest.codec.binary_coder import code_bit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Planes = NDArray[np.int32]

INPUTS = 10
CONTEXT_BITS = 16
CONTEXTS = 1 << CONTEXT_BITS
CLASSES = 16  # size classes that have contexts of their own; larger ones share the last
LEVELS = 6  # 0 finest ... 4, and 5 for the coarse plane and for side information
TOTALS = 32
SETS = CLASSES * LEVELS * TOTALS
COUNT_LIMIT = 220
LEARNING_RATE = 10
LARGEST_CLASS = 30

_logistic = np.arange(-2048, 2048) / 256.0
SQUASH = np.clip(np.rint(65536 / (1 + np.exp(-_logistic))), 16, 65520).astype(np.int64)
_middle = (np.arange(4096) + 0.5) / 4096
STRETCH = np.clip(np.rint(256 * np.log(_middle / (1 - _middle))), -2047, 2047).astype(np.int64)
RATE = np.array([int(65536 / (count + 1.6)) for count in range(256)], np.int64)
# Size of a magnitude sum on a scale of half octaves: 0 1 2 3 4 4 5 5 6 6 6 6 7 ...
_sizes = [n if n < 4 else int(np.floor(2 * np.log2(n) + 1e-9)) for n in range(4096)]
SIZE = np.array(_sizes, np.int64)


@dataclass(frozen=True, slots=True)
class MixerState:
    """What the coder has learned so far; encoder and decoder hold equal ones.

    Args:
        probabilities: of a one, 16 bits, ``(input, context)`` int64.
        counts: how often a context was seen, ``(input, context)`` int64, up to ``COUNT_LIMIT``.
        weights: of the mixer, ``(set, input + 1)`` int64, 16 fraction bits; the last is a bias.
        simple: adaptive probabilities of signs and low bits, ``(context,)`` int64.
    """

    probabilities: NDArray[np.int64]
    counts: NDArray[np.int64]
    weights: NDArray[np.int64]
    simple: NDArray[np.int64]

    @classmethod
    def neutral(cls) -> MixerState:
        """A state that has seen nothing."""
        weights = np.full((SETS, INPUTS + 1), 1 << 14, np.int64)
        weights[:, INPUTS] = 0
        return cls(
            np.full((INPUTS, CONTEXTS), 1 << 15, np.int64), np.zeros((INPUTS, CONTEXTS), np.int64), weights,
            np.full(1 << 13, 1 << 15, np.int64),
        )

    def copy(self) -> MixerState:
        """An independent state that continues from here."""
        return MixerState(
            self.probabilities.copy(), self.counts.copy(), self.weights.copy(), self.simple.copy()
        )


@numba.njit("int64(int64)", cache=True, nogil=True, inline="always")
def _size(total: int) -> int:
    return int(SIZE[min(total, 4095)])


@numba.njit("int64(int32[:,::1],int64,int64)", cache=True, nogil=True, inline="always")
def _cross(plane: Planes, r: int, c: int) -> int:
    """Sum of magnitudes of the four neighbours."""
    total = np.int64(0)
    if r > 0:
        total += abs(plane[r - 1, c])
    if c > 0:
        total += abs(plane[r, c - 1])
    if r < plane.shape[0] - 1:
        total += abs(plane[r + 1, c])
    if c < plane.shape[1] - 1:
        total += abs(plane[r, c + 1])
    return int(total)


@numba.njit("int64(int64,int64,int64[::1],int64[::1],uint8[::1],boolean)", cache=True, nogil=True, inline="always")
def _simple_bit(
    bit: int, at: int, simple: NDArray[np.int64], coder: NDArray[np.int64], buffer: NDArray[np.uint8], encoding: bool
) -> int:
    bit = code_bit(bit, simple[at], coder, buffer, encoding)
    simple[at] += (((bit << 16) - simple[at]) * 5) >> 7
    simple[at] = min(max(simple[at], 64), 65472)
    return bit


@numba.njit(
    "void(int32[:,:,::1],int32[:,:,::1],int32[:,:,:,::1],int64,int64,int64,int64[:,::1],int64[:,::1],int64[:,::1],"
    "int64[::1],int64[::1],uint8[::1],boolean)",
    cache=True, nogil=True,
)
def code_planes(
    planes: Planes, parents: Planes, siblings: Planes, sibling_count: int, level: int, orientation: int,
    probabilities: NDArray[np.int64], counts: NDArray[np.int64], weights: NDArray[np.int64],
    simple: NDArray[np.int64], coder: NDArray[np.int64], buffer: NDArray[np.uint8], encoding: bool,
) -> None:
    """Code (or decode into) one oriented part of a level, all components.

    Args:
        planes: quantised samples, ``(component, row, col)``; written when decoding.
        parents: the same orientation one level coarser, ``(component, row, col)``; no rows where there is none.
        siblings: orientations of this level already coded, ``(sibling, component, row, col)``, two slots.
        sibling_count: how many slots are filled.
        level: 0 finest ... 4; 5 for the coarse plane and side information.
        orientation: 0, 1 or 2.
        probabilities, counts, weights, simple: the parts of a :class:`MixerState`.
        coder: state of the range coder; ``buffer`` its bytes.
        encoding: False to decode.
    """
    components, rows, cols = planes.shape
    has_parents = parents.shape[1] > 0 and parents.shape[2] > 0
    here = np.zeros((rows + 4, cols + 4), np.int64)  # magnitudes with a margin of two
    before = np.zeros((rows + 4, cols + 4), np.int64)
    before2 = np.zeros((rows + 4, cols + 4), np.int64)
    index = np.zeros(INPUTS, np.int64)
    stretched = np.zeros(INPUTS + 1, np.int64)
    stretched[INPUTS] = 256
    for k in range(components):
        before2[:] = before
        before[:] = here
        here[:] = 0
        alive = 0
        if encoding:
            for r in range(rows):
                for c in range(cols):
                    if planes[k, r, c] != 0:
                        alive = 1
        alive = _simple_bit(alive, 8000 + level * 3 + orientation, simple, coder, buffer, encoding)
        if alive == 0:
            if not encoding:
                planes[k] = 0
            continue
        kind = min(_size(k + 1), 15)
        for r in range(rows):
            for c in range(cols):
                y, x = r + 2, c + 2
                west, north = here[y, x - 1], here[y - 1, x]
                northwest, northeast = here[y - 1, x - 1], here[y - 1, x + 1]
                far = here[y, x - 2] + here[y - 2, x]
                near = 2 * (west + north) + northwest + northeast + far
                one = before[y, x]
                one_all = (
                    4 * one + 2 * (before[y - 1, x] + before[y + 1, x] + before[y, x - 1] + before[y, x + 1])
                    + before[y - 1, x - 1] + before[y + 1, x + 1] + before[y + 1, x - 1] + before[y - 1, x + 1]
                )
                two_all = 4 * before2[y, x] + 2 * (
                    before2[y - 1, x] + before2[y + 1, x] + before2[y, x - 1] + before2[y, x + 1]
                )
                parent = np.int64(0)
                if has_parents:
                    pr, pc = min(r >> 1, parents.shape[1] - 1), min(c >> 1, parents.shape[2] - 1)
                    parent = 2 * abs(np.int64(parents[k, pr, pc])) + _cross(parents[k], pr, pc)
                first = np.int64(0)
                second = np.int64(0)
                if sibling_count > 0:
                    first = 2 * abs(np.int64(siblings[0, k, r, c])) + _cross(siblings[0, k], r, c)
                if sibling_count > 1:
                    second = 2 * abs(np.int64(siblings[1, k, r, c])) + _cross(siblings[1, k], r, c)
                total = 4 * near + one_all + two_all + 2 * parent + 2 * (first + second)
                q_near, q_one, q_two, q_parent = _size(near), _size(one_all), _size(two_all), _size(parent)
                q_total = min(_size(total), TOTALS - 1)

                value = np.int64(planes[k, r, c])
                magnitude = abs(value)
                size = 0
                if encoding:
                    while (magnitude >> size) > 0:
                        size += 1
                bit = 1
                j = 0
                while bit == 1 and j < LARGEST_CLASS:
                    jj = min(j, CLASSES - 1)
                    base = jj * 3 + orientation
                    index[0] = (base * 24 + q_near) * 24 + q_one
                    index[1] = (
                        ((base * 4 + min(west, 3)) * 4 + min(north, 3)) * 54
                        + (min(northwest, 2) * 3 + min(northeast, 2)) * 6 + min(q_parent, 5)
                    )
                    index[2] = (base * 24 + q_parent) * 24 + min(_size(first + second), 23)
                    index[3] = (base * 24 + q_one) * 24 + q_two
                    index[4] = (base * LEVELS + level) * 64 + min(k, 63)
                    index[5] = (base * TOTALS + q_total) * LEVELS + level
                    index[6] = (base * 24 + _size(far + northwest + northeast)) * 24 + _size(west + north)
                    index[7] = (base * TOTALS + q_total) * 16 + kind
                    index[8] = (base * 24 + _size(first)) * 24 + _size(second)
                    index[9] = (
                        ((base * 12 + min(_size(one), 11)) * 12 + min(q_near >> 1, 11)) * 12 + min(q_parent >> 1, 11)
                    )
                    chosen = (jj * LEVELS + level) * TOTALS + q_total
                    dot = weights[chosen, INPUTS] * 256
                    for i in range(INPUTS):
                        hashed = (index[i] * 2654435761 + i * 0x9E3779B1) & 0xFFFFFFFF
                        index[i] = (hashed >> 13) & (CONTEXTS - 1)
                        stretched[i] = STRETCH[probabilities[i, index[i]] >> 4]
                        dot += weights[chosen, i] * stretched[i]
                    mixed = min(max(dot >> 16, -2047), 2047)
                    p = SQUASH[mixed + 2048]
                    bit = code_bit(1 if size > j else 0, p, coder, buffer, encoding)
                    error = ((bit << 16) - p) * LEARNING_RATE
                    for i in range(INPUTS + 1):
                        weights[chosen, i] += (stretched[i] * error + (1 << 17)) >> 18
                    for i in range(INPUTS):
                        seen = counts[i, index[i]]
                        old = probabilities[i, index[i]]
                        new = old + ((((bit << 16) - old) * RATE[seen]) >> 16)
                        probabilities[i, index[i]] = min(max(new, 16), 65519)
                        if seen < COUNT_LIMIT:
                            counts[i, index[i]] = seen + 1
                    j += bit
                if not encoding:
                    size = j
                    magnitude = 1 if size > 0 else 0
                prefix = 1
                for low in range(size - 2, -1, -1):
                    wanted = (magnitude >> low) & 1 if encoding else 0
                    depth = size - 2 - low
                    at = 1000 + (size * 4 + prefix) * 3 + 0 if depth < 2 else 2000 + size * 32 + low
                    wanted = _simple_bit(wanted, at, simple, coder, buffer, encoding)
                    if depth < 2:
                        prefix = (prefix << 1) | wanted
                        if depth == 1:
                            prefix = 1
                    if not encoding:
                        magnitude = (magnitude << 1) | wanted
                here[y, x] = magnitude
                if size > 0:
                    negative = 1 if value < 0 else 0
                    negative = _simple_bit(negative, 4000 + level * 3 + orientation, simple, coder, buffer, encoding)
                    if not encoding:
                        planes[k, r, c] = -magnitude if negative == 1 else magnitude
                elif not encoding:
                    planes[k, r, c] = 0
