"""Binary decisions predicted by several adaptive states and mixed in the logistic domain.

Each decision is predicted by every context's own state (a 20-bit probability and a count that slows its updates); the
predictions are combined by weights that learn while coding. Everything is integer arithmetic on tables that come from
an integer recurrence, so encoder and decoder agree on every machine.

Source: Mahoney 2005, "Adaptive weighing of context models for lossless data compression" (Florida Tech CS-2005-16).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from palimpsest.codec.entropy.binary_coder import code_bit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Cells = NDArray[np.int64]

STRETCH_LIMIT = 3071  # logistic domain in units of 1/256
FRESH_STATE = (1 << 19) << 10  # probability one half, never seen
COUNT_LIMIT = 1023
_E_256TH = 1303154733462745672296708485454506  # e^(1/256) * 2^110, truncated


def _squash_table() -> NDArray[np.int64]:
    """Logistic function of x / 256 for x in [-STRETCH_LIMIT, STRETCH_LIMIT], 16 bits, never 0 or 1."""
    power, powers = 1 << 110, [1 << 110]
    for _ in range(STRETCH_LIMIT):
        power = power * _E_256TH >> 110
        powers.append(power)
    upper = [(power << 16) // (power + (1 << 110)) for power in powers]
    table = [65536 - value for value in upper[:0:-1]] + upper
    return np.clip(np.array(table, np.int64), 1, 65535)


def _stretch_table(squash: NDArray[np.int64]) -> NDArray[np.int64]:
    """Inverse of the squash table for 12-bit probabilities."""
    centres = np.arange(4096, dtype=np.int64) * 16 + 8
    return np.clip(np.searchsorted(squash, centres).astype(np.int64) - STRETCH_LIMIT, -2400, 2400)


SQUASH = _squash_table()
STRETCH = _stretch_table(SQUASH)
# How far a state moves towards what it saw, by how often it was asked; in 1/65536.
RATES = np.array([65536 * 2 // (2 * n + 3) for n in range(COUNT_LIMIT + 1)], np.int64)
# A state that was hardly asked says little.
TRUST = np.array([0, 128, 176, 204, 220, 232, 240, 246, 250, 253] + [256] * (COUNT_LIMIT - 9), np.int64)


@numba.njit(
    "int64(int32[:,::1], int64[::1], int64[::1], int32[:,::1], int64, int64, int64, int64,"
    "int64, int64[::1], uint8[::1], boolean)",
    cache=True, nogil=True,
)
def mixed_bit(
    states: NDArray[np.int32], slots: Cells, inputs: Cells, weights: NDArray[np.int32], first: int, second: int,
    limit: int, rate: int, bit: int, coder: Cells, buffer: NDArray[np.uint8], encoding: bool,
) -> int:
    """Write or read one bit predicted by the states at ``slots``, mixed by two rows of weights.

    ``inputs`` may be longer than ``slots``: what it holds beyond is mixed as well, in units of 1/256. The last column
    of a weight row counts how often it was used; the one before it weighs a constant.
    """
    count, every = slots.size, inputs.size
    total = np.int64(0)
    for i in range(count):
        state = states[i, slots[i]]
        inputs[i] = (STRETCH[state >> 18] * TRUST[state & 1023]) >> 8
        total += np.int64(weights[first, i] + weights[second, i]) * inputs[i]
    for i in range(count, every):
        total += np.int64(weights[first, i] + weights[second, i]) * inputs[i]
    total += np.int64(weights[first, every] + weights[second, every]) * 256
    at = min(max(total >> 16, -STRETCH_LIMIT), STRETCH_LIMIT)
    probability = SQUASH[at + STRETCH_LIMIT]
    bit = code_bit(bit, probability, coder, buffer, encoding)
    error = (bit << 16) - probability
    for row in (first, second):
        used = weights[row, every + 1]
        speed = error * (rate + max(0, 3 * rate - (used >> 4)))
        for i in range(every):
            weights[row, i] += np.int32((inputs[i] * speed + (1 << 20)) >> 21)
        weights[row, every] += np.int32((256 * speed + (1 << 20)) >> 21)
        if used < 4096:
            weights[row, every + 1] = used + 1
    target = ((1 << 20) - 1) * bit
    for i in range(count):
        state = states[i, slots[i]]
        seen = state & 1023
        moved = (state >> 10) + (((target - (state >> 10)) * RATES[seen]) >> 16)
        states[i, slots[i]] = np.int32((moved << 10) | (seen + 1 if seen < limit else seen))
    return bit
