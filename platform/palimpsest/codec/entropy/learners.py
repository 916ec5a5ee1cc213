"""The parts of :mod:`palimpsest.codec.entropy.foreseen` that learn: mixer, guess, expected magnitude, and the network.

Each is the same arithmetic as in :mod:`palimpsest.codec.entropy.logistic`, ``guess``, ``contexts`` and ``foresight``,
in types and lengths that let a compiler do many at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from palimpsest.codec.entropy.binary_coder import HIGH, LOW, OVERFLOW, POSITION, WINDOW
from palimpsest.codec.entropy.contexts import MIXER_RATE, SIGN_INPUTS, SIGN_RATE, SLOWEST
from palimpsest.codec.entropy.foresight import HIGHEST
from palimpsest.codec.entropy.guess import FARTHEST, LEAST_POWER, LIMIT, TAPS
from palimpsest.codec.entropy.lanes import adder
from palimpsest.codec.entropy.logistic import RATES, SQUASH, STRETCH, STRETCH_LIMIT, TRUST
from palimpsest.codec.entropy.outlook import FEATURES, PADDED

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Cells = NDArray[np.int64]
    Plane = NDArray[np.int32]
    Halves = NDArray[np.int16]

UNITS, LATER = 32, 16
KEPT = 7  # states that predict a magnitude's decision
FLANK = 10  # inputs of the network that wait for the samples to the left
DECISIONS = 16  # that odds are foreseen of, one of them none
add_ahead, add_flank = adder(PADDED, UNITS), adder(FLANK, UNITS)
add_second, add_third = adder(UNITS, LATER), adder(LATER, DECISIONS)
_TOP, _ALL = 0xFF000000, 0xFFFFFFFF
_STRETCHED, _TRUSTED, _RATED = STRETCH.astype(np.int16), TRUST.astype(np.int16), RATES.astype(np.int32)
_SQUASHED = SQUASH.astype(np.uint16)


def _mixer(name: str, count: int, limit: int, rate: int) -> Callable[..., int]:
    """As :func:`palimpsest.codec.entropy.logistic.mixed_bit`, for ``count`` states and one input of odds.

    The kernel bears ``name``, its own: two of one name are one symbol to the linker if one comes from the cache and
    the other is compiled as the first was, the n-th of its process. Two processes that fill a cache at once then leave
    one in which the smaller kernel runs on the larger one's lengths, until somebody deletes it.
    """
    every = count + 1

    def mixed(
        states: Plane, slots: Cells, inputs: Plane, weights: Plane, first: int, second: int, bit: int, coder: Cells,
        buffer: NDArray[np.uint8], encoding: bool,
    ) -> int:
        total = np.int64(0)
        for i in range(count):
            state = states[i, slots[i]]
            inputs[i] = (np.int32(_STRETCHED[state >> 18]) * np.int32(_TRUSTED[state & 1023])) >> 8
        one, two = weights[first], weights[second]
        for i in range(every):
            total += np.int64(np.int32(one[i] + two[i])) * np.int64(inputs[i])
        total += np.int64(one[every] + two[every]) * 256
        at = min(max(int(total >> 16), -STRETCH_LIMIT), STRETCH_LIMIT)
        probability = np.int64(_SQUASHED[at + STRETCH_LIMIT])
        low, high = coder[LOW], coder[HIGH]
        middle = low + (((high - low) * probability) >> 16)
        if not encoding:
            bit = 1 if coder[WINDOW] <= middle else 0
        high = middle if bit == 1 else high
        low = low if bit == 1 else middle + 1
        while ((low ^ high) & _TOP) == 0:
            place = coder[POSITION]
            if encoding:
                if place < buffer.size:
                    buffer[place] = high >> 24
                else:
                    coder[OVERFLOW] = 1
            else:
                following = np.int64(buffer[place]) if place < buffer.size else np.int64(0)
                coder[WINDOW] = ((coder[WINDOW] << 8) & _ALL) | following
            coder[POSITION] = place + 1
            low = (low << 8) & _ALL
            high = ((high << 8) & _ALL) | 255
        coder[LOW], coder[HIGH] = low, high
        error = (bit << 16) - probability
        for row in (one, two):
            used = np.int64(row[every + 1])
            speed = np.int32(error * (rate + max(np.int64(0), 3 * rate - (used >> 4))))
            for i in range(every):
                row[i] += np.int32((np.int64(inputs[i]) * np.int64(speed) + (1 << 20)) >> 21)
            row[every] += np.int32((256 * np.int64(speed) + (1 << 20)) >> 21)
            row[every + 1] = np.int32(used + (1 if used < 4096 else 0))
        target = np.int32(((1 << 20) - 1) * bit)
        for i in range(count):
            state = states[i, slots[i]]
            seen = state & 1023
            moved = (state >> 10) + ((np.int64(target - (state >> 10)) * np.int64(_RATED[seen])) >> 16)
            states[i, slots[i]] = np.int32((moved << 10) | (seen + (1 if seen < limit else 0)))
        return bit

    mixed.__name__ = mixed.__qualname__ = name
    signature = (
        "int64(int32[:,::1], int64[::1], int32[::1], int32[:,::1], int64, int64, int64, int64[::1], uint8[::1],"
        "boolean)"
    )
    compiled: Callable[..., int] = numba.njit(signature, cache=True, nogil=True)(mixed)
    return compiled


mixed_size = _mixer("mixed_size", KEPT, SLOWEST, MIXER_RATE)
mixed_sign = _mixer("mixed_sign", SIGN_INPUTS + 1, 255, SIGN_RATE)


@numba.njit("void(int32[::1], int32[::1])", cache=True, nogil=True)
def inverted(powers: Plane, inverses: Plane) -> None:
    """As :func:`palimpsest.codec.entropy.guess.invert`: quotients of 28 bits, which 53 hold exactly."""
    for i in range(TAPS):
        inverses[i] = np.int32(268435456.0 / np.float64(max(powers[i], np.int32(LEAST_POWER))))


@numba.njit("int64(int32[::1], int32[::1])", cache=True, nogil=True)
def guessed_from(row: Plane, guide: Plane) -> int:
    """As :func:`palimpsest.codec.entropy.guess.guessed`, inputs in one piece."""
    total = np.int64(0)
    for i in range(TAPS):
        total += np.int64(row[i]) * np.int64(guide[i])
    return int(min(max(total >> 16, np.int64(-LIMIT)), np.int64(LIMIT)))


@numba.njit("void(int32[::1], int32[::1], int32[::1], int32[::1], int64)", cache=True, nogil=True)
def follow_error(row: Plane, guide: Plane, powers: Plane, inverses: Plane, error: int) -> None:
    """As :func:`palimpsest.codec.entropy.guess.follow`."""
    error = min(max(error, -FARTHEST), FARTHEST)
    surprise = np.int64(0)
    for i in range(TAPS):
        square = np.int32(row[i] * row[i])
        surprise += np.int64(square) * np.int64(inverses[i])
        powers[i] += np.int32(square >> 8) - np.int32(np.int32(powers[i] * 3) >> 10)
    step = np.int32((error << 28) // ((np.int64(1) << 28) + (surprise >> 8)))
    for i in range(TAPS):
        change = (np.int64(np.int32(row[i] * inverses[i])) * np.int64(step) + (1 << 19)) >> 20
        guide[i] = np.int32(min(max(np.int64(guide[i]) + change, np.int64(-(1 << 20))), np.int64(1 << 20)))


@numba.njit("int64(int32[::1], int32[::1])", cache=True, nogil=True)
def expect(features: Plane, lms: Plane) -> int:
    """The expected magnitude in sixteenths, from its features and their weights."""
    total = np.int64(0)
    for i in range(FEATURES):
        total += np.int64(lms[i]) * np.int64(features[i])
    return int(min(max(total >> 16, np.int64(0)), np.int64(8191)))


@numba.njit("void(int64, int64, int32[::1], int32[::1])", cache=True, nogil=True)
def learn_size(size: int, expected: int, features: Plane, lms: Plane) -> None:
    """As :func:`palimpsest.codec.entropy.contexts.learn`: quotients of at most 34 by 31 bits, which 53 hold exactly."""
    error = ((min(size, 255) << 4) - expected) << 8
    norm = np.int32(64)
    for i in range(FEATURES):
        norm += np.int32(features[i] * features[i])
    divisor, factor = np.float64(norm), np.float64(error)
    for i in range(FEATURES):
        step = np.floor(factor * np.float64(features[i]) / divisor)
        lms[i] = np.int32(min(max(np.float64(lms[i]) + step, -65536.0), 131072.0))


@numba.njit(
    "void(int16[::1], int16[:,::1], int32[::1], int32[::1], int16[:,::1], int32[::1], int16[:,::1], int32[::1],"
    "int16[::1], int16[::1], int32[::1], int32[::1])",
    cache=True, nogil=True,
)
def foresee_with(
    flank: Halves, beside: Halves, begun: Plane, bias: Plane, second: Halves, second_bias: Plane, third: Halves,
    third_bias: Plane, hidden: Halves, later: Halves, sums: Plane, odds: Plane,
) -> None:
    """Odds of all decisions; the first layer goes on from the sums of the inputs that were known before.

    Sums fit 32 bits, which was checked when weights were read, and units 16, being clamped.
    """
    add_flank(begun, beside, flank)
    for j in range(UNITS):
        hidden[j] = np.int16(min(max(int(np.int32(begun[j] + bias[j]) >> 8), 0), HIGHEST))
    for j in range(LATER):
        sums[j] = second_bias[j]
    add_second(sums, second, hidden)
    for j in range(LATER):
        later[j] = np.int16(min(max(int(np.int32(sums[j]) >> 12), 0), HIGHEST))
    for j in range(DECISIONS):
        odds[j] = third_bias[j]
    add_third(odds, third, later)
    for j in range(DECISIONS):
        odds[j] = np.int32(min(max(int(np.int32(odds[j]) >> 12), -2047), 2047))
