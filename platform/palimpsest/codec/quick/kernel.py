"""The kernel of the quick coder: expected magnitudes, the range coder, and one symbol a sample.

What it does and why is told in :mod:`palimpsest.codec.quick.coder`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from palimpsest.codec.quantisation.trellis import SIXTEEN
from palimpsest.codec.quick.lanes import LANES, LEAST, WHOLE, leading_zeros, learn_symbol, symbol_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Stack = NDArray[np.int32]
    Sizes = NDArray[np.uint8]
    Cells = NDArray[np.int64]

MARGIN = 2
LARGEST_SIZE = 255  # of a magnitude, as a neighbour
COARSE = 3
CLASSES = 29  # half octaves of the expected magnitude
ESCAPE = LANES - 1
LARGEST_EXPONENT = 29
ALIVE, GROWS = 0, 8  # where adaptive bits of empty components and of exponents begin
BITS = GROWS + 32
RAW_BITS = 15  # sent at a time, at most
BEYOND = 64  # bytes that an honest reader may ask for past an end

# What the expected magnitude is made of, in 1/2048, by orientation (the last row: the coarse plane): west and the next
# one; north, both corners beside it and the next one; fading sum of the components before; parent and those around
# it; both siblings and those around them. Non-negative least squares on Indian Pines, GatorSense and a made scene.
WEIGHTS = 16 * np.array([
    [15, 6, 14, 7, 6, 0, 7, 3, 0, 0, 0, 0],
    [13, 5, 13, 5, 4, 0, 7, 3, 7, 5, 0, 0],
    [11, 4, 10, 5, 4, 0, 3, 1, 8, 3, 7, 3],
    [20, 4, 16, 2, 4, 0, 0, 0, 0, 0, 0, 0],
], np.int64)
WEIGHTS[:, 5] = (28, 24, 20, 56)  # of a sum that is sixteen times a mean
_EIGHTHS = (1024, 1117, 1218, 1328, 1448, 1579, 1722, 1878)  # 1024 x 2^(n/8)
_FIRST_CLASS = 16  # in eighths of an octave of 1/128
_QUIET = 4  # 1/128; added to an expected magnitude
_LOOKED_UP = 1 << 15


def _classes() -> Sizes:
    """Class of an expected magnitude in 1/64."""
    table = np.zeros(_LOOKED_UP, np.uint8)
    for at in range(_LOOKED_UP):
        value = 2 * at + _QUIET
        octave = value.bit_length() - 1
        eighths = octave * 8 + ((value << 3 >> octave) & 7)
        table[at] = min((eighths - _FIRST_CLASS) >> 2, CLASSES - 1)
    return table


def _mean_of(kind: int) -> int:
    """Expected magnitude in the middle of a class, 1/2048."""
    eighths = _FIRST_CLASS + 4 * kind + 2
    return _EIGHTHS[eighths & 7] << (eighths >> 3) >> 6


def _shift_of(kind: int) -> int:
    """How many low bits of a magnitude of a class are sent as they are."""
    return (_mean_of(kind) // (4 * 2048)).bit_length()


def first_counts() -> NDArray[np.int32]:
    """Geometric distributions of each class's mean, for either quantiser: ``(side x class, symbol)`` cumulative."""
    table, room = np.zeros((2 * CLASSES, LANES), np.int32), WHOLE - LANES * LEAST
    for row in range(2 * CLASSES):
        mean = _mean_of(row % CLASSES) >> _shift_of(row % CLASSES)
        left = room
        for symbol in range(LANES):
            left = left * ((mean << 16) // (2048 + mean)) >> 16
            table[row, symbol] = (symbol + 1) * LEAST + room - left
        table[row, ESCAPE] = WHOLE
    return table


def _rates() -> Cells:
    """By how often a distribution was used: shifts from 3 to 8."""
    used = np.arange(256)
    rates: Cells = 3 + (used[:, None] > (5, 15, 40, 100, 250)).sum(axis=1)
    return rates


_CLASS_OF = _classes()
_SHIFT_OF = np.array([_shift_of(kind) for kind in range(CLASSES)], np.int64)
_RATE = _rates()
_FOLLOWING = SIXTEEN.following.ravel().copy()
_SIDES = SIXTEEN.sides.copy()
VALUE, REACH, WAITING, AT, END, RAW, RAW_HELD, RAW_AT, RAW_END = range(9)


@numba.njit(
    "Tuple((int64, int64, int64, int64))(boolean, int64, int64, int64, int64, int64, int64, uint8[::1])",
    cache=True, nogil=True,
)
def _narrow(
    encoding: bool, value: int, low: int, width: int, waiting: int, at: int, end: int, buffer: Sizes
) -> tuple[int, int, int, int]:
    """Go on with the part of the interval from ``low`` on, ``width`` wide: value, reach, bits waiting, place."""
    value = value + low if encoding else value - (low << 32)
    moved = leading_zeros(width)
    width <<= moved
    value <<= moved
    waiting += moved
    if waiting >= 16:
        waiting -= 16
        if encoding:
            out = value >> (31 + waiting)
            value &= (np.int64(1) << (31 + waiting)) - 1
            if out >= 65536:
                back = at - 1
                while buffer[back] == 255:
                    buffer[back] = 0
                    back -= 1
                buffer[back] += np.uint8(1)
            buffer[at], buffer[at + 1] = np.uint8((out >> 8) & 255), np.uint8(out & 255)
        else:
            first = np.int64(buffer[at]) if at < end else np.int64(0)
            other = np.int64(buffer[at + 1]) if at + 1 < end else np.int64(0)
            value |= ((first << 8) | other) << waiting
        at += 2
    return value, width, waiting, at


@numba.njit("int64(boolean, int64, int64, int64[::1], uint8[::1])", cache=True, nogil=True)
def _plain(encoding: bool, number: int, bits: int, coder: Cells, raw: Sizes) -> int:
    """Send ``bits`` (at most 15) of a number as they are, or read them."""
    held, at = coder[RAW_HELD], coder[RAW_AT]
    if encoding:
        coder[RAW] |= number << held
        held += bits
        while held >= 8:
            raw[at] = np.uint8(coder[RAW] & 255)
            coder[RAW] >>= 8
            at += 1
            held -= 8
    else:
        if held < bits:
            for n in range(4):
                byte = np.int64(raw[at + n]) if at + n < coder[RAW_END] else np.int64(0)
                coder[RAW] |= byte << (held + 8 * n)
            at += 4
            held += 32
        number = coder[RAW] & ((np.int64(1) << bits) - 1)
        coder[RAW] >>= bits
        held -= bits
    coder[RAW_HELD], coder[RAW_AT] = held, at
    return number


@numba.njit("int64(boolean, int64, int64[::1], int64, int64[::1], uint8[::1])", cache=True, nogil=True)
def _bit(encoding: bool, bit: int, bits: Cells, which: int, coder: Cells, buffer: Sizes) -> int:
    """Code one bit by its own adaptive probability, or read it."""
    chance = min(max(bits[which] >> 1, 32), 32736)
    split = (coder[REACH] >> 15) * chance
    if not encoding:
        bit = 1 if (coder[VALUE] >> 32) < split else 0
    low, width = (np.int64(0), split) if bit == 1 else (split, coder[REACH] - split)
    coder[VALUE], coder[REACH], coder[WAITING], coder[AT] = _narrow(
        encoding, coder[VALUE], low, width, coder[WAITING], coder[AT], coder[END], buffer
    )
    bits[which] += ((65535 if bit == 1 else 0) - bits[which]) >> 5
    return bit


@numba.njit(
    "void(uint8[:,::1], int64, int32[::1], uint8[:,::1], uint8[:,::1], uint8[:,::1], boolean, int64[::1], int64,"
    "int32[::1])",
    cache=True, nogil=True,
)
def _expect(
    own: Sizes, r: int, energy: Stack, parent: Sizes, one: Sizes, two: Sizes, has_parent: bool, weights: Cells,
    orient: int, expected: Stack,
) -> None:
    """What a row's expected magnitudes owe to all that is known before the row, 1/2048."""
    cols = expected.size
    up, far = own[r + 1], own[r]
    north, corner, second, before = weights[2], weights[3], weights[4], weights[5]
    for c in range(cols):
        total = north * up[c + 2] + corner * (np.int64(up[c + 1]) + np.int64(up[c + 3])) + second * far[c + 2]
        expected[c] = np.int32(total + before * energy[c])
    if has_parent:
        y = min(MARGIN + (r >> 1), parent.shape[0] - 2)
        above, mid, below = parent[y - 1], parent[y], parent[y + 1]
        here, around = weights[6], weights[7]
        for x in range((cols + 1) >> 1):
            near = np.int64(above[x + 2]) + np.int64(below[x + 2]) + np.int64(mid[x + 1]) + np.int64(mid[x + 3])
            share = np.int32(here * mid[x + 2] + around * near)
            expected[2 * x] += share
            if 2 * x + 1 < cols:
                expected[2 * x + 1] += share
    if orient in (1, 2):
        for turn in range(orient):
            beside = one if turn == 0 else two
            above, mid, below = beside[r + 1], beside[r + 2], beside[r + 3]
            here, around = weights[8 + 2 * turn], weights[9 + 2 * turn]
            for c in range(cols):
                near = np.int64(above[c + 2]) + np.int64(below[c + 2]) + np.int64(mid[c + 1]) + np.int64(mid[c + 3])
                expected[c] += np.int32(here * mid[c + 2] + around * near)


@numba.njit(
    "void(int32[:,:,::1], uint8[:,:,::1], uint8[:,:,::1], uint8[:,:,::1], uint8[:,:,::1], int64, boolean,"
    "int64[::1], int32[:,::1], int64[::1], int64[::1], int64[::1], uint8[::1], uint8[::1], boolean)",
    cache=True, nogil=True,
)
def code_samples(
    samples: Stack, sizes: Sizes, parents: Sizes, ones: Sizes, twos: Sizes, orient: int, has_parent: bool,
    weights: Cells, counts: NDArray[np.int32], used: Cells, bits: Cells, coder: Cells, buffer: Sizes, raw: Sizes,
    encoding: bool,
) -> None:
    """Code (or decode into) one oriented part of a level, all components.

    Args:
        samples: ``(component, row, col)`` int32.
        sizes: their magnitudes, at most 255, with a margin of two zeros; filled.
        parents: those of the same orientation one level coarser, or of no size.
        ones: those of the first orientation of this level, where this is the second or third.
        twos: those of the second one, where this is the third.
        orient: 0, 1 or 2; 3 for the coarse plane.
        has_parent: whether ``parents`` are there.
        weights: a row of ``WEIGHTS``.
        counts: cumulative distributions, ``(side x class, symbol)``; they learn.
        used: how often each was.
        bits: adaptive probabilities; they learn.
        coder: state of the range coder and of the plain bits.
        buffer: bytes of the range coder.
        raw: bytes of the plain bits.
        encoding: False to decode.
    """
    components, rows, cols = samples.shape
    energy, expected = np.zeros((rows, cols), np.int32), np.zeros(cols, np.int32)
    west, far_west = weights[0], weights[1]
    wider = 2 if orient < COARSE and not has_parent else 62  # a quarter more where the parent's part is missing
    before = np.int64(1)
    for k in range(components):
        q, own = samples[k], sizes[k]
        alive = np.int64(1 if encoding and np.any(q) else 0)
        before = alive = _bit(encoding, alive, bits, ALIVE + 2 * (orient & 3) + before, coder, buffer)
        if alive == 0:
            for r in range(rows):
                for c in range(cols):
                    energy[r, c] = (energy[r, c] * 3) >> 2
            continue
        parent = parents[k] if has_parent else own
        one = ones[k] if 0 < orient < COARSE else own
        two = twos[k] if orient == 2 else own
        state = np.int64(0)
        for r in range(rows):
            if encoding:
                if coder[AT] + 80 * cols > buffer.size:
                    coder[AT] = buffer.size + 1
                    return
            elif coder[AT] > coder[END] + BEYOND or coder[RAW_AT] > coder[RAW_END] + BEYOND:
                return  # a damaged stream; the caller refuses it
            _expect(own, r, energy[r], parent, one, two, has_parent, weights, orient, expected)
            last, last_but_one = np.int64(0), np.int64(0)
            value, reach, waiting, at, end = coder[VALUE], coder[REACH], coder[WAITING], coder[AT], coder[END]
            for c in range(cols):
                total = np.int64(expected[c]) + west * last + far_west * last_but_one
                total += total >> wider
                kind = np.int64(_CLASS_OF[min(total >> 5, _LOOKED_UP - 1)])
                shift = _SHIFT_OF[kind]
                row = _SIDES[state] * CLASSES + kind
                part = reach >> 16
                size, symbol = np.int64(0), np.int64(0)
                if encoding:
                    size = np.int64(abs(q[r, c]))
                    symbol = min(size >> shift, ESCAPE)
                else:
                    symbol = symbol_at(counts, row, part, value >> 32)
                low = part * np.int64(counts[row, symbol - 1] >> 12) if symbol > 0 else np.int64(0)
                high = part * np.int64(counts[row, symbol] >> 12) if symbol < ESCAPE else reach
                learn_symbol(counts, row, symbol, _RATE[used[row]])
                used[row] = min(used[row] + 1, 255)
                value, reach, waiting, at = _narrow(encoding, value, low, high - low, waiting, at, end, buffer)
                if symbol == ESCAPE:
                    coder[VALUE], coder[REACH], coder[WAITING], coder[AT] = value, reach, waiting, at
                    rest = (size >> shift) - ESCAPE + 1
                    exponent = np.int64(0)
                    while exponent < LARGEST_EXPONENT:
                        grows = np.int64(1 if rest >> (exponent + 1) > 0 else 0)
                        if _bit(encoding, grows, bits, GROWS + exponent, coder, buffer) == 0:
                            break
                        exponent += 1
                    value, reach, waiting, at = coder[VALUE], coder[REACH], coder[WAITING], coder[AT]
                    mantissa = rest - (np.int64(1) << exponent)
                    low_bits = min(exponent, RAW_BITS)
                    low_part = _plain(encoding, mantissa & ((np.int64(1) << low_bits) - 1), low_bits, coder, raw)
                    if exponent > RAW_BITS:
                        top = _plain(encoding, mantissa >> RAW_BITS, exponent - RAW_BITS, coder, raw)
                        low_part |= top << RAW_BITS
                    symbol = ESCAPE - 1 + (np.int64(1) << exponent) + low_part
                if encoding:
                    if size > 0 or shift > 0:
                        sign = np.int64(1 if q[r, c] < 0 else 0)
                        plain = (size & ((np.int64(1) << shift) - 1)) if shift > 0 else np.int64(0)
                        if size > 0:
                            _plain(encoding, plain | sign << shift, shift + 1, coder, raw)
                        else:
                            _plain(encoding, np.int64(0), shift, coder, raw)
                else:
                    size = symbol << shift
                    if shift > 0:
                        size |= _plain(encoding, np.int64(0), shift, coder, raw)
                    size = min(size, np.int64((1 << 30) - 1))
                    if size > 0:
                        sign = _plain(encoding, np.int64(0), np.int64(1), coder, raw)
                        q[r, c] = np.int32(-size if sign == 1 else size)
                last_but_one, last = last, min(size, LARGEST_SIZE)
                own[r + MARGIN, c + MARGIN] = np.uint8(last)
                state = _FOLLOWING[2 * state + (size & 1)]
            coder[VALUE], coder[REACH], coder[WAITING], coder[AT] = value, reach, waiting, at
            for c in range(cols):
                energy[r, c] = ((energy[r, c] * 3) >> 2) + (np.int32(own[r + MARGIN, c + MARGIN]) << 2)
