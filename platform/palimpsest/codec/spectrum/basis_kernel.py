"""The vectors of a spectral basis, entry by entry: what predicts one, and how it is coded.

Vectors come strongest first. Of a vector two things are known beforehand: it is smooth along the spectrum (it told
which predictor from two or three bands before leaves least), and it is orthogonal to all vectors before it. Both
together are a Gaussian process: innovations w of the predictor, independent, with the variances that the vectors before
had band by band, and for each vector before one sum over w that is known to be zero, but for rounding. The mean and
spread of an entry given those before it follow exactly, by a matrix inverse that grows backwards from the last band.
The rest is coded by context mixing; how large it should be is learnt from the neighbours, the vectors before, and the
spread.

Floating point here is additions, multiplications, divisions and square roots of IEEE 754 in the order written, which
are the same on every machine; nothing is reordered or fused.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numba
import numpy as np

from palimpsest.codec.entropy.binary_coder import POSITION
from palimpsest.codec.entropy.contexts import fine_log
from palimpsest.codec.entropy.logistic import mixed_bit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Cells = NDArray[np.int64]
    Reals = NDArray[np.float64]
    Table = NDArray[np.int32]

INPUTS, CONTEXTS, NODES = 9, 4096, 32
UNARY = 6  # decisions 'more than n?' before the Elias gamma tail
LARGEST_EXPONENT = 40
ROWS = 512  # of mixing weights: (decision, expected size), then (decision, where the mean lies), exponents, mantissas
SECOND, EXPONENTS, MANTISSA = 448, 470, 486
SIGN_INPUTS, SIGN_CONTEXTS, SIGN_ROWS = 4, 512, 16
TREE_INPUTS, TREE_CONTEXTS, TREE_ROWS = 2, 8192, 2  # of symbols: precision and predictor of each vector
SYMBOL_BITS = 6
FEATURES = 12
TAP_UNIT = 256
MOST = 16383  # of a feature, in 1/16 of a unit
LARGEST_MEAN = 2.0**40
ROUNDING = 1.0 / 12.0  # variance of what rounding to whole units takes away
FADING, FLOOR = 0.9, 0.5  # of the vectors before, in what tells a band's variance; and what is added to it
LIMIT = 255  # states forget as fast as this many decisions
MIXING, SIGN_MIXING, MANTISSA_MIXING = 10, 3, 4  # rates
PACE = 120  # of the expected size's weights


@numba.njit("float64(float64[::1], float64[::1])", cache=True, nogil=True)
def _gain(taps: Reals, profile: Reals) -> float:
    """Squared length of a vector whose innovations have these variances."""
    bands, reach = profile.size, taps.size
    response, total, energy = np.zeros(bands), 0.0, 0.0
    for i in range(bands):
        value = 1.0 if i == 0 else 0.0
        for j in range(min(reach, i)):
            value += taps[j] * response[i - 1 - j]
        response[i] = value
        energy += value * value
        total += profile[bands - 1 - i] * energy
    return total


@numba.njit(
    "void(float64[:,::1], int64, float64, float64[::1], float64[::1], float64[:,::1], float64[:,::1], float64[::1])",
    cache=True, nogil=True,
)
def _constrain(
    before: Reals, first: int, noise: float, taps: Reals, variances: Reals, sums: Reals, pulls: Reals, kept: Reals
) -> None:
    """What orthogonality to vectors ``before[first:]``, each ``(band,)``, tells of each band, from the last one back.

    Fills ``sums[b]``: what the innovation of band b adds to each product; ``pulls[b]``: how far what the products still
    lack moves its mean, in its variance; ``kept[b]``: the share of its variance that is left.
    """
    bands, count = variances.size, before.shape[0] - first
    inverse, toward = np.zeros((count, count)), np.zeros(count)
    for c in range(count):
        inverse[c, c] = 1.0 / noise
    for b in range(bands - 1, -1, -1):
        for c in range(count):
            value = before[first + c, b]
            for j in range(min(taps.size, bands - 1 - b)):
                value += taps[j] * sums[b + 1 + j, c]
            sums[b, c] = value
            toward[c] = 0.0
        for d in range(count):
            factor = sums[b, d]
            for c in range(count):
                toward[c] += inverse[d, c] * factor
        total = 0.0
        for c in range(count):
            total += toward[c] * sums[b, c]
        share = 1.0 / (1.0 + variances[b] * max(total, 0.0))
        kept[b] = share
        scale = variances[b] * share
        for c in range(count):
            factor = scale * toward[c]
            for d in range(count):
                inverse[c, d] -= factor * toward[d]
            pulls[b, c] = toward[c] * share


@numba.njit(
    "int64(int64, int64[::1], int64, int64, int32[:,::1], int32[:,::1], int64[::1], int64[::1], int64[::1], uint8[::1],"
    "boolean)",
    cache=True, nogil=True,
)
def _code_size(
    size: int, base: Cells, fine: int, side: int, states: Table, weights: Table, slots: Cells, inputs: Cells,
    coder: Cells, buffer: NDArray[np.uint8], encoding: bool,
) -> int:
    for node in range(UNARY):
        for i in range(INPUTS):
            slots[i] = base[i] * NODES + node
        more = mixed_bit(
            states, slots, inputs, weights, node * 64 + fine, SECOND + node * 3 + side, LIMIT, MIXING,
            np.int64(1 if size > node else 0), coder, buffer, encoding,
        )
        if more == 0:
            return int(node)
    rest = size - UNARY + 1  # from 1 on, as Elias gamma
    exponent = np.int64(0)
    while exponent < LARGEST_EXPONENT:
        for i in range(INPUTS):
            slots[i] = base[i] * NODES + min(UNARY + exponent, NODES - 2)
        grows = mixed_bit(
            states, slots, inputs, weights, UNARY * 64 + fine, EXPONENTS + min(exponent, np.int64(15)), LIMIT, MIXING,
            np.int64(1 if (rest >> (exponent + 1)) > 0 else 0), coder, buffer, encoding,
        )
        if grows == 0:
            break
        exponent += 1
    value = np.int64(1)
    for at in range(exponent - 1, -1, -1):
        turn = exponent - 1 - at  # the first two digits have contexts
        place = np.int64(0)
        if turn < 2:
            place = 1 + min(exponent, np.int64(15)) * 4 + turn * 2 + (value & 1) * turn
        for i in range(INPUTS):
            slots[i] = place * NODES + NODES - 1
        bit = mixed_bit(
            states, slots, inputs, weights, MANTISSA + min(turn, np.int64(2)), MANTISSA + 3, LIMIT, MANTISSA_MIXING,
            (rest >> at) & 1, coder, buffer, encoding,
        )
        value = (value << 1) | bit
    return int(value + UNARY - 1)


@numba.njit("int64(float64)", cache=True, nogil=True)
def _limited(value: float) -> int:
    """A feature, whatever the number is."""
    return int(np.int64(value)) if 0.0 <= value < MOST else (0 if value < 0.0 else MOST)


@numba.njit("int64(int64)", cache=True, nogil=True)
def _sign(value: int) -> int:
    return 0 if value == 0 else (1 if value > 0 else 2)


@numba.njit(
    "int64(int64, int64, int32[:,::1], int32[:,::1], int64[::1], uint8[::1], boolean)", cache=True, nogil=True
)
def code_symbol(
    symbol: int, context: int, states: Table, weights: Table, coder: Cells, buffer: NDArray[np.uint8], encoding: bool
) -> int:
    """A symbol of ``SYMBOL_BITS`` bits, from the top, by what came before it (``context`` under 128)."""
    slots, inputs = np.zeros(TREE_INPUTS, np.int64), np.zeros(TREE_INPUTS, np.int64)
    node = np.int64(1)
    kind = context >> 6
    for at in range(SYMBOL_BITS - 1, -1, -1):
        slots[0] = (kind << SYMBOL_BITS) + node
        slots[1] = (context << SYMBOL_BITS) + node
        bit = mixed_bit(
            states, slots, inputs, weights, kind, kind, LIMIT, MIXING, (symbol >> at) & 1, coder, buffer, encoding
        )
        node = (node << 1) | bit
    return int(node - (1 << SYMBOL_BITS))


@numba.njit("void(int64[::1], int64[::1], int64)", cache=True, nogil=True)
def _learn(expected: Cells, features: Cells, error: int) -> None:
    """Weights of the expected size, by normalised least mean squares."""
    power = np.int64(1)
    for i in range(FEATURES):
        power += (features[i] * features[i]) >> 4
    for i in range(FEATURES):
        # Division of whole numbers under 2^53, rounded towards zero.
        expected[i] += np.int64(np.float64(features[i] * error * PACE) / np.float64(power))


@numba.njit(
    "void(int64[::1], int64, int64, float64[:,::1], int64[:,::1], float64[::1], int64[::1], float64[::1], float64[::1],"
    "int64, int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int64[::1], int64[::1], uint8[::1], boolean)",
    cache=True, nogil=True,
)
def code_vector(
    entries: Cells, at: int, first: int, vectors: Reals, rests: Cells, energy: Reals, shifts: Cells, taps: Reals,
    profile: Reals, largest: int, states: Table, weights: Table, sign_states: Table, sign_weights: Table,
    expected: Cells, coder: Cells, buffer: NDArray[np.uint8], encoding: bool,
) -> None:
    """Write or read vector ``at`` of a basis, ``entries`` in units of 2^-shift, ``(band,)``.

    It is orthogonal to those from ``first`` on, ``at`` where to none. ``vectors``, ``(vector, band)``, and ``rests``,
    what was coded of each, ``(vector, 2 + band + 2)``: its row is filled. ``energy``, a fading mean of the rests'
    sizes, ``(1 + band + 1)``: is brought up to date. ``profile``, the variance of each band's innovations up to a
    factor: their squares are left there. No entry is larger than ``largest``.
    """
    bands = entries.size
    slots, inputs, base = np.zeros(INPUTS, np.int64), np.zeros(INPUTS, np.int64), np.zeros(INPUTS, np.int64)
    sign_slots, sign_inputs = np.zeros(SIGN_INPUTS, np.int64), np.zeros(SIGN_INPUTS, np.int64)
    features, count = np.zeros(FEATURES, np.int64), at - first
    unit = 1.0 / np.float64(np.int64(1) << shifts[at])
    variances = profile / _gain(taps, profile)
    sums, pulls, lacking = np.zeros((bands, count)), np.zeros((bands, count)), np.zeros(count)
    kept = np.ones(bands)
    if count > 0:
        _constrain(vectors[:at], first, unit * unit * ROUNDING, taps, variances, sums, pulls, kept)
    own, one, two = rests[at], rests[max(at - 1, 0)], rests[max(at - 2, 0)]
    finer = 0.0 if at < 1 else np.float64(np.int64(1) << shifts[at]) / np.float64(np.int64(1) << shifts[at - 1])
    finest = 0.0 if at < 2 else np.float64(np.int64(1) << shifts[at]) / np.float64(np.int64(1) << shifts[at - 2])
    running = np.int64(0)
    for b in range(bands):
        before = 0.0
        for j in range(min(taps.size, b)):
            before += taps[j] * vectors[at, b - 1 - j]
        pulled = 0.0
        for c in range(count):
            pulled -= pulls[b, c] * lacking[c]
        mean = (before + variances[b] * pulled) / unit
        if not -LARGEST_MEAN < mean < LARGEST_MEAN:
            mean = 0.0
        middle = np.int64(np.rint(mean))
        spread = math.sqrt(variances[b] * kept[b] / (unit * unit) + ROUNDING)
        w, ww = abs(own[b + 1]), abs(own[b])
        features[0] = _limited(16.0 * w)
        features[1] = _limited(16.0 * ww)
        features[2] = _limited(16.0 * abs(own[b - 1])) if b > 0 else 0
        features[3] = _limited(16.0 * finer * abs(one[b + 2]))
        features[4] = _limited(8.0 * finer * (abs(one[b + 1]) + abs(one[b + 3])))
        features[5] = _limited(16.0 * finest * abs(two[b + 2]))
        features[6] = _limited(8.0 * finest * (abs(two[b + 1]) + abs(two[b + 3])))
        features[7] = _limited(16.0 * energy[b + 1] / unit)
        features[8] = _limited(8.0 * (energy[b] + energy[b + 2]) / unit)
        features[9] = _limited(16.0 * spread)
        features[10] = min(running, np.int64(MOST))
        features[11] = _limited(16.0 * spread * math.sqrt(kept[b]))
        size16 = np.int64(0)
        for i in range(FEATURES):
            size16 += expected[i] * features[i]
        size16 = min(max(size16 >> 16, np.int64(0)), np.int64(8191))
        fine, spread_log = fine_log(size16), fine_log(features[9])
        off = mean - np.float64(middle)
        side = 0 if -0.17 < off < 0.17 else (1 if off > 0.0 else 2)
        near, past = fine_log(_limited(8.0 * (2 * w + ww))) >> 1, fine_log(features[7]) >> 1
        last = fine_log((2 * features[3] + features[4]) // 3) >> 1
        base[0] = fine * 4
        base[1] = fine * 64 + spread_log
        base[2] = near * 64 + fine
        base[3] = past * 64 + near
        base[4] = last * 64 + past
        base[5] = last * 64 + (fine_log((features[5] + features[6]) >> 1) >> 1)
        base[6] = (at if at < 31 else 31) * 64 + fine
        base[7] = (fine_log(running) >> 1) * 64 + fine
        base[8] = spread_log * 32 + (fine_log(_limited(64.0 * math.sqrt(kept[b]))) >> 1)
        rest = entries[b] - middle if encoding else np.int64(0)
        size = _code_size(abs(rest), base, fine, side, states, weights, slots, inputs, coder, buffer, encoding)
        if size > 0:
            leaning = 0 if off == 0.0 else (1 if off > 0.0 else 2)
            few = min(size, np.int64(7))
            west = _sign(own[b + 1])
            north = _sign(one[b + 2]) if at > 0 else 0
            sign_slots[0] = (leaning * 4 + min(_limited(8.0 * abs(off)), np.int64(3))) * 8 + few
            sign_slots[1] = west * 16 + few + 128
            sign_slots[2] = west * 9 + north * 3 + 256 + _sign(own[b])
            sign_slots[3] = north * 3 + 400
            negative = mixed_bit(
                sign_states, sign_slots, sign_inputs, sign_weights, min(size, np.int64(3)), 8 + leaning, LIMIT,
                SIGN_MIXING, np.int64(1 if rest < 0 else 0), coder, buffer, encoding,
            )
            rest = -size if negative == 1 else size
        if not encoding:
            entries[b] = min(max(middle + rest, -largest), largest)
        vectors[at, b] = np.float64(entries[b]) * unit
        own[b + 2] = rest
        innovation = vectors[at, b] - before
        for c in range(count):
            lacking[c] += sums[b, c] * innovation
        profile[b] = innovation * innovation
        actual = _limited(16.0 * size)
        _learn(expected, features, min(actual, np.int64(8191)) - size16)
        running = (running * 7 + min(actual, np.int64(MOST))) >> 3
        energy[b + 1] = 0.75 * energy[b + 1] + 0.25 * unit * abs(rest)
        if coder[POSITION] > buffer.size + 64:
            return  # damaged: what follows is nothing
