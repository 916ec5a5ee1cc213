"""Dependent quantisation chosen by a trellis: which integers cost least, rate and error together.

Two quantisers take turns. One rebuilds even multiples of the step, the other odd multiples and zero; the parities of
the samples before decide which of them comes next, so the decoder follows without being told, and the union of both is
finer than either: of the 1.5 dB of packing gain that can be had four states get 1.05 and sixteen 1.23. The encoder
runs the Viterbi algorithm along each plane, with bits estimated from how large the neighbourhood is. Encoder only,
floating point; the decoder's half is :func:`dequantise_dependent`, in integers.

Source: Schwarz et al. 2019, "Hybrid video coding with trellis-coded quantization" (DCC); as in ITU-T H.266.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from palimpsest.codec.trellis import SIXTEEN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.codec.trellis import Trellis

    Stack = NDArray[np.int32]
    Scaled = NDArray[np.float32]

CLASSES = 20  # how large the neighbourhood is
SIZES = 18  # magnitudes with a price of their own
PASSES = 3  # each prices magnitudes by what the one before chose
SLOPE = 0.36  # squared steps that a bit is worth at high rate


def quantise_dependent(
    scaled: Scaled, slope: float = SLOPE, passes: int = PASSES, trellis: Trellis = SIXTEEN
) -> Stack:
    """Samples of the dependent quantiser.

    Args:
        scaled: ``(component, row, col)`` float32 in units of the step of the finer union of both quantisers.
        slope: squared steps of error that one bit is worth; 0 minimises the error alone.
        passes: how often the trellis is run, at least once.
        trellis: which states follow each other.

    Returns:
        ``(component, row, col)`` int32; :func:`dequantise_dependent` rebuilds them.
    """
    if scaled.size == 0:
        return np.zeros(scaled.shape, np.int32)
    size = np.abs(scaled)
    first = np.floor(size / 2 + 0.36).astype(np.int32)
    prices = np.zeros((2, CLASSES, SIZES), np.float32)
    classes = np.zeros(scaled.shape, np.uint8)
    chosen = np.zeros(scaled.shape, np.int32)
    _classify(first, classes)
    _set_prices(np.stack([_counts(first, classes)] * 2), prices)
    for _ in range(passes):
        counted = np.zeros((2, CLASSES, SIZES), np.int64)
        _viterbi(
            np.ascontiguousarray(size), classes, prices, np.float32(slope), trellis.following, trellis.sides, chosen,
            counted,
        )
        _set_prices(counted, prices)
        _classify(chosen, classes)
    return np.where(scaled < 0, -chosen, chosen).astype(np.int32)


def _counts(magnitudes: Stack, classes: NDArray[np.uint8]) -> NDArray[np.int64]:
    flat = classes.astype(np.int64) * SIZES + np.minimum(magnitudes, SIZES - 1)
    return np.bincount(flat.ravel(), minlength=CLASSES * SIZES).reshape(CLASSES, SIZES).astype(np.int64)


def _set_prices(counted: NDArray[np.int64], prices: NDArray[np.float32]) -> None:
    """Bits of each magnitude in each class, one bit for the sign included; unseen ones extrapolate."""
    smoothed = counted + 0.5 * np.exp2(-np.arange(SIZES) / 2.0)
    bits = -np.log2(smoothed / smoothed.sum(axis=2, keepdims=True))
    bits[:, :, 1:] += 1.0
    # A gap in a histogram is no reason to avoid a magnitude: prices may not fall as magnitudes grow.
    prices[:, :, 1:] = np.maximum.accumulate(bits[:, :, 1:], axis=2)
    prices[:, :, 0] = bits[:, :, 0]


@numba.njit("void(int32[:,:,::1], uint8[:,:,::1])", cache=True, nogil=True)
def _classify(magnitudes: Stack, classes: NDArray[np.uint8]) -> None:
    """Class of each sample from the magnitudes around it and in the component before."""
    components, rows, cols = magnitudes.shape
    for k in range(components):
        for r in range(rows):
            for c in range(cols):
                total = np.int64(0)
                weight = np.int64(0)
                for y in range(max(r - 2, 0), min(r + 3, rows)):
                    for x in range(max(c - 2, 0), min(c + 3, cols)):
                        if y == r and x == c:
                            continue
                        share = 4 // ((y - r) * (y - r) + (x - c) * (x - c)) + 1
                        total += share * min(magnitudes[k, y, x], 64)
                        weight += share
                if k > 0:
                    total += 4 * min(magnitudes[k - 1, r, c], 64)
                    weight += 4
                mean = 64 * total // max(weight, 1)
                size = np.int64(0)
                while (np.int64(1) << size) <= mean:
                    size += 1
                half = np.int64(0)
                if size >= 2 and mean >= 3 * (np.int64(1) << (size - 2)):
                    half = 1
                classes[k, r, c] = np.uint8(min(2 * size + half, CLASSES - 1))


@numba.njit("float32(float32[:,:,::1], int64, int64, int64)", cache=True, nogil=True)
def _price(prices: NDArray[np.float32], which: int, kind: int, size: int) -> float:
    if size < SIZES:
        return prices[which, kind, size]
    extra = np.float32(0)
    while size >= SIZES:
        size >>= 1
        extra += np.float32(2)
    return prices[which, kind, SIZES - 1] + extra


@numba.njit(
    "void(float32[:,:,::1], uint8[:,:,::1], float32[:,:,::1], float32, int64[:,::1], int64[::1], int32[:,:,::1],"
    "int64[:,:,::1])",
    cache=True, nogil=True,
)
def _viterbi(
    sizes: Scaled, classes: NDArray[np.uint8], prices: NDArray[np.float32], slope: float,
    following: NDArray[np.int64], sides: NDArray[np.int64], chosen: Stack, counted: NDArray[np.int64],
) -> None:
    components, rows, cols = sizes.shape
    count, states = rows * cols, len(sides)
    came_from = np.zeros((count, states), np.uint8)
    taken = np.zeros((count, 2, 2), np.int32)  # cheapest magnitude of each parity in either quantiser
    cost, new_cost = np.zeros(states, np.float64), np.zeros(states, np.float64)
    dear = np.zeros((2, 2), np.float64)
    for k in range(components):
        cost[:] = 1e30
        cost[0] = 0.0
        for at in range(count):
            size = sizes[k, at // cols, at % cols]
            kind = np.int64(classes[k, at // cols, at % cols])
            for which in range(2):
                dear[which, 0] = dear[which, 1] = 1e31
                near = np.int64((size + which) * np.float32(0.5))
                for option in range(3):
                    magnitude = np.int64(0) if option == 2 else near + option
                    rebuilt = np.float32(2 * magnitude - (which if magnitude > 0 else 0))
                    error = size - rebuilt
                    total = error * error + slope * _price(prices, which, kind, magnitude)
                    if total < dear[which, magnitude & 1]:
                        dear[which, magnitude & 1] = total
                        taken[at, which, magnitude & 1] = magnitude
            new_cost[:] = 1e31
            for state in range(states):
                which = sides[state]
                for parity in range(2):
                    total = cost[state] + dear[which, parity]
                    to = following[state, parity]
                    if total < new_cost[to]:
                        new_cost[to] = total
                        came_from[at, to] = state
            low = new_cost.min()
            for state in range(states):
                cost[state] = new_cost[state] - low
        state = np.int64(np.argmin(cost))
        for at in range(count - 1, -1, -1):
            before = np.int64(came_from[at, state])
            which = sides[before]
            magnitude = np.int64(taken[at, which, 0 if following[before, 0] == state else 1])
            state = before
            chosen[k, at // cols, at % cols] = np.int32(magnitude)
            counted[which, classes[k, at // cols, at % cols], min(magnitude, SIZES - 1)] += 1


@numba.njit("void(int32[:,:,::1], int64[:,::1], int64[::1], int32[:,:,::1])", cache=True, nogil=True)
def _stand_for(
    quantised: Stack, following: NDArray[np.int64], sides: NDArray[np.int64], doubled: Stack
) -> None:
    for k in range(quantised.shape[0]):
        state = np.int64(0)
        for r in range(quantised.shape[1]):
            for c in range(quantised.shape[2]):
                value = np.int64(quantised[k, r, c])
                magnitude = abs(value)
                rebuilt = 2 * magnitude - (sides[state] if magnitude > 0 else 0)
                doubled[k, r, c] = np.int32(rebuilt if value >= 0 else -rebuilt)
                state = following[state, magnitude & 1]


def dequantise_dependent(quantised: Stack, doubled: Stack, trellis: Trellis = SIXTEEN) -> None:
    """Fill ``doubled`` with what the samples stand for, in steps of the union of both quantisers, signs included.

    Args:
        quantised: ``(component, row, col)`` int32.
        doubled: the same shape; even multiples in the first quantiser, odd ones in the second.
        trellis: that they were chosen with.
    """
    _stand_for(quantised, trellis.following, trellis.sides, doubled)
