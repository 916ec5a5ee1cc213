"""What predicts a quantised sample: its neighbours in space, in scale, in orientation and in the spectrum.

A stack of planes ``(component, row, col)`` is coded component by component, strongest first, so when one is coded the
same places in the components before it are known with all their neighbours, as are the coarser level and the
orientations of this level that came before. From these a running least-mean-squares estimate says how large the sample
should be; it and thirteen other views of the surroundings each look up an adaptive probability, and
:mod:`palimpsest.codec.entropy.logistic` mixes them. Magnitudes are coded as 'more than n?' decisions and an Elias gamma
tail, signs by the signs around and by whether this component follows the ones before it hereabouts.

Source: logistic mixing after Mahoney 2005; expected magnitude after ECECOW (Wu 1997, DCC); contexts across components
are what JPEG 2000 leaves out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from palimpsest.codec.entropy.binary_coder import POSITION
from palimpsest.codec.entropy.logistic import mixed_bit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Cells = NDArray[np.int64]
    Plane = NDArray[np.int32]

MARGIN = 2
UNARY = 6  # decisions 'more than n?' before the tail
NODES = 32  # 0..5 unary, 6..30 exponent of the tail
INPUTS = 14
CONTEXTS = 4096  # of each input, times NODES states
SIGN_INPUTS = 7
SIGN_CONTEXTS = 1024
FLAG_CONTEXTS = 2048
MIXER_ROWS = 2048
SIGN_ROWS = 16
FLAG_ROWS = 4
FEATURES = 12
LEVELS = 6  # 0 finest ... 4, and 5 for the coarse plane and for side information
LARGEST_EXPONENT = 29  # a damaged stream must not make samples that int32 cannot hold
SLOWEST = 1023  # states may come to forget as slowly as this many decisions
MIXER_RATE, SIGN_RATE, FLAG_RATE = 6, 2, 4


def _coarse_table() -> Cells:
    """Coarse logarithm of a sum of magnitudes: 0..15."""
    edges = (1, 2, 3, 4, 5, 7, 9, 12, 16, 22, 30, 44, 64, 100, 180)
    return np.searchsorted(np.array(edges), np.arange(1024), side="right").astype(np.int64)


def _fine_table() -> Cells:
    """Finer logarithm: 0..63."""
    values = np.arange(4096)
    exponents = np.array([int(v).bit_length() for v in values + 4])
    mantissas = ((values + 4) << 8 >> (exponents - 1)) - 256  # 0..255 within an octave
    return np.minimum((exponents - 3) * 6 + mantissas * 6 // 256, 63).astype(np.int64)


COARSE = _coarse_table()
FINE = _fine_table()


@numba.njit("int64(int64)", cache=True, nogil=True)
def _coarse(total: int) -> int:
    return int(COARSE[min(max(total, 0), 1023)])


@numba.njit("int64(int64)", cache=True, nogil=True)
def fine_log(total: int) -> int:
    """Logarithm of an expected magnitude in sixteenths: 0 to 63."""
    return int(FINE[min(max(total, 0), 4095)])


@numba.njit("int64(int64)", cache=True, nogil=True)
def _sign(value: int) -> int:
    return 1 if value > 0 else (2 if value < 0 else 0)


@numba.njit("int64(int32[:,::1], int64, int64)", cache=True, nogil=True)
def _around(plane: Plane, r: int, c: int) -> int:
    """Magnitudes of the eight neighbours, the near ones twice."""
    near = abs(plane[r - 1, c]) + abs(plane[r + 1, c]) + abs(plane[r, c - 1]) + abs(plane[r, c + 1])
    far = abs(plane[r - 1, c - 1]) + abs(plane[r - 1, c + 1]) + abs(plane[r + 1, c - 1]) + abs(plane[r + 1, c + 1])
    return int(2 * near + far)


@numba.njit(
    "int64(int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1],"
    "int64, int64, int64, int64, int64, int64, int64, int64, int32[::1], int64[::1], int64[::1])",
    cache=True, nogil=True,
)
def surroundings(
    q: Plane, one: Plane, two: Plane, parent: Plane, sibling: Plane, other: Plane, energy: Plane, r: int, c: int,
    running: int, dq: int, band: int, depth: int, orient: int, place: int, lms: NDArray[np.int32], features: Cells,
    base: Cells,
) -> int:
    """Fill the features of the estimate and the contexts; the expected magnitude in sixteenths."""
    pr, pc = MARGIN + ((r - MARGIN) >> 1), MARGIN + ((c - MARGIN) >> 1)
    w, n = abs(np.int64(q[r, c - 1])), abs(np.int64(q[r - 1, c]))
    nw, ne = abs(np.int64(q[r - 1, c - 1])), abs(np.int64(q[r - 1, c + 1]))
    local = 2 * (w + n) + nw + ne
    wide = (
        abs(np.int64(q[r, c - 2])) + abs(np.int64(q[r - 2, c]))
        + abs(np.int64(q[r - 1, c - 2])) + abs(np.int64(q[r - 1, c + 2]))
    )
    up, up_around = abs(np.int64(parent[pr, pc])), _around(parent, pr, pc)
    here1, around1 = abs(np.int64(one[r, c])), _around(one, r, c)
    here2, around2 = abs(np.int64(two[r, c])), _around(two, r, c)
    beside = 4 * (abs(np.int64(sibling[r, c])) + abs(np.int64(other[r, c])))
    beside += _around(sibling, r, c) + _around(other, r, c)
    past = np.int64(energy[r, c])
    past_around = np.int64(energy[r - 1, c]) + np.int64(energy[r + 1, c])
    past_around += np.int64(energy[r, c - 1]) + np.int64(energy[r, c + 1])
    features[0] = min(w, 255) << 4
    features[1] = min(n, 255) << 4
    features[2] = min(nw + ne, 511) << 3
    features[3] = min(wide, 1023) << 2
    features[4] = min(up, 255) << 4
    features[5] = min(up_around, 3060) << 1
    features[6] = min(here1, 255) << 4
    features[7] = min(around1, 3060) << 1
    features[8] = min(here2 * 4 + around2, 3060) << 1
    features[9] = min(beside, 3060) << 1
    features[10] = min(past, 4095)
    features[11] = min(running, 4095)
    expected = np.int64(0)
    for i in range(FEATURES):
        expected += np.int64(lms[i]) * features[i]
    expected = min(max(expected >> 16, np.int64(0)), np.int64(8191))
    fine = fine_log(expected)
    level_local, level_up = _coarse(local), _coarse(2 * up + (up_around >> 2))
    level_one, level_two = _coarse(here1 * 2 + (around1 >> 2)), _coarse(here2 * 2 + (around2 >> 2))
    level_past = _coarse((2 * past + (past_around >> 1)) >> 3)
    base[0] = fine * 2 + dq
    base[1] = (level_local * 16 + level_up) * 2 + dq
    base[2] = (level_local * 16 + level_one) * 2 + dq
    base[3] = (level_one * 16 + level_two) * 4 + orient
    base[4] = (min(w, 3) * 4 + min(n, 3)) * 16 + min(nw, 3) * 4 + min(ne, 3)
    base[5] = (band * 8 + depth) * 4 + orient
    base[6] = ((level_up * 16 + _coarse(beside >> 1)) * 4 + orient) * 2 + dq
    base[7] = ((fine >> 1) * 32 + band) * 2 + dq
    base[8] = (level_past * 16 + level_local) * 2 + dq
    base[9] = (min(here1, 3) * 4 + min(here2, 3)) * 64 + fine
    base[10] = (level_past * 16 + level_one) * 4 + orient
    base[11] = (_coarse(wide) * 16 + level_local) * 8 + min(_coarse(running >> 3), 7)
    base[12] = (_coarse(running >> 2) * 32 + (fine >> 1)) * 4 + orient
    base[13] = place * 8 + depth
    return int(expected)


@numba.njit(
    "int64(int64, int64[::1], int64, int64, int64, int64, int64, int32[:,::1], int32[:,::1], int32[:,::1],"
    "int32[:,::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], uint8[::1], boolean)",
    cache=True, nogil=True,
)
def _code_magnitude(
    size: int, base: Cells, fine: int, dq: int, band: int, depth: int, orient: int, states: NDArray[np.int32],
    weights: NDArray[np.int32], flag_states: NDArray[np.int32], flag_weights: NDArray[np.int32], slots: Cells,
    inputs: Cells, flag_slots: Cells, flag_inputs: Cells, coder: Cells, buffer: NDArray[np.uint8], encoding: bool,
) -> int:
    node = np.int64(0)
    while node < UNARY:
        for i in range(INPUTS):
            slots[i] = base[i] * NODES + node
        first = ((node * 2 + dq) * 16 + (fine >> 2)) * 4
        second = 1024 + (node * 8 + depth) * 16 + min(band, 15)
        more = mixed_bit(
            states, slots, inputs, weights, first, second, SLOWEST, MIXER_RATE, np.int64(1 if size > node else 0),
            coder, buffer, encoding,
        )
        if more == 0:
            return int(node)
        node += 1
    rest = size - UNARY + 1  # from 1 on, as Elias gamma: exponent by contexts, mantissa by its leading digits
    exponent = np.int64(0)
    while exponent < LARGEST_EXPONENT:
        for i in range(INPUTS):
            slots[i] = base[i] * NODES + min(UNARY + exponent, NODES - 1)
        first = ((UNARY * 2 + dq) * 16 + min(exponent, 15)) * 4
        second = 1024 + (UNARY * 8 + depth) * 16 + min(band, 15)
        grows = np.int64(1 if (rest >> (exponent + 1)) > 0 else 0)
        grows = mixed_bit(
            states, slots, inputs, weights, first, second, SLOWEST, MIXER_RATE, grows, coder, buffer, encoding
        )
        if grows == 0:
            break
        exponent += 1
    mantissa = np.int64(1)
    for at in range(exponent - 1, -1, -1):
        done = exponent - 1 - at
        flag_slots[0] = 128 + exponent * 32 + min(done, 3) * 8 + (mantissa & 7 if done < 3 else at & 7)
        flag_slots[1] = 1152 + exponent * 8 + min(at, 7)
        bit = mixed_bit(
            flag_states, flag_slots, flag_inputs, flag_weights, 2, 3, 255, FLAG_RATE, (rest >> at) & 1, coder, buffer,
            encoding,
        )
        mantissa = (mantissa << 1) | bit
    return int(UNARY - 1 + mantissa)


@numba.njit(
    "void(int64, int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int64, int64,"
    "int64, int64, int64[::1])",
    cache=True, nogil=True,
)
def fill_signs(
    size: int, q: Plane, one: Plane, two: Plane, parent: Plane, sibling: Plane, other: Plane, r: int, c: int,
    band: int, orient: int, slots: Cells,
) -> None:
    """Fill the contexts of a sign."""
    west, north = np.int64(q[r, c - 1]), np.int64(q[r - 1, c])
    north_west, north_east = np.int64(q[r - 1, c - 1]), np.int64(q[r - 1, c + 1])
    # Does this component follow the ones before it hereabouts, or oppose them?
    together1 = west * one[r, c - 1] + north * one[r - 1, c] + (
        (north_west * one[r - 1, c - 1] + north_east * one[r - 1, c + 1]) >> 1
    )
    together2 = west * two[r, c - 1] + north * two[r - 1, c] + (
        (north_west * two[r - 1, c - 1] + north_east * two[r - 1, c + 1]) >> 1
    )
    s1, s2 = _sign(one[r, c]), _sign(two[r, c])
    t1 = 0 if s1 == 0 or together1 == 0 else (1 if (together1 > 0) == (s1 == 1) else 2)
    t2 = 0 if s2 == 0 or together2 == 0 else (1 if (together2 > 0) == (s2 == 1) else 2)
    sw, sn = _sign(west), _sign(north)
    pr, pc = MARGIN + ((r - MARGIN) >> 1), MARGIN + ((c - MARGIN) >> 1)
    slots[0] = ((sw * 3 + sn) * 3 + _sign(north_west)) * 3 + _sign(north_east) + 81 * orient
    slots[1] = (s1 * 3 + s2) * 32 + band
    slots[2] = (t1 * 3 + t2) * 16 + _coarse(min(abs(together1), np.int64(1023)))
    slots[3] = ((_sign(parent[pr, pc]) * 3 + sw) * 3 + sn) * 4 + orient
    slots[4] = ((_sign(sibling[r, c]) * 3 + _sign(other[r, c])) * 3 + s1) * 4 + orient
    slots[5] = ((sw * 3 + _sign(q[r, c - 2])) * 9 + sn * 3 + _sign(q[r - 2, c])) * 4 + orient
    slots[6] = ((t1 * 3 + t2) * 4 + min(size, 3)) * 4 + orient


@numba.njit("int64(int64, int64)", cache=True, nogil=True)
def next_state(state: int, size: int) -> int:
    """State of the four-state dependent quantiser after a sample: its parity drives it (VVC, ITU-T H.266 7.3.11)."""
    odd = size & 1
    if state < 2:
        return int(2 * odd if state == 0 else 2 - 2 * odd)
    return int(1 + 2 * odd if state == 2 else 3 - 2 * odd)


@numba.njit("void(int64, int64, int64[::1], int32[::1])", cache=True, nogil=True)
def learn(size: int, expected: int, features: Cells, lms: NDArray[np.int32]) -> None:
    """Move the weights of the expected magnitude towards the one that came."""
    error = (min(size, 255) << 4) - expected
    norm = np.int64(64)
    for i in range(FEATURES):
        norm += features[i] * features[i]
    for i in range(FEATURES):
        step = ((error * features[i]) << 8) // norm
        lms[i] = np.int32(min(max(np.int64(lms[i]) + step, np.int64(-65536)), np.int64(131072)))


@numba.njit(
    "void(int32[:,:,::1], int32[:,:,::1], int32[:,:,:,::1], int64, int64, boolean, int32[:,::1], int32[:,::1],"
    "int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int64[::1], uint8[::1], boolean)",
    cache=True, nogil=True,
)
def code_stack(
    stack: NDArray[np.int32], parents: NDArray[np.int32], siblings: NDArray[np.int32], depth: int, orient: int,
    dependent: bool, states: NDArray[np.int32], weights: NDArray[np.int32], sign_states: NDArray[np.int32],
    sign_weights: NDArray[np.int32], flag_states: NDArray[np.int32], flag_weights: NDArray[np.int32],
    lms: NDArray[np.int32], coder: Cells, buffer: NDArray[np.uint8], encoding: bool,
) -> None:
    """Code (or decode into) one oriented part of a level, all components.

    Args:
        stack: samples ``(component, row, col)`` with a margin of two zeros around the last two axes.
        parents: the same orientation one level coarser, with margins; zeros where there is none.
        siblings: two orientations of this level already coded, ``(2, component, row, col)`` with margins, or zeros.
        depth: 0 finest ... 4; 5 for the coarse plane and side information.
        orient: 0, 1 or 2; 3 for the coarse plane.
        dependent: whether the quantiser's state follows the parities.
        states: the tables of a :class:`~palimpsest.codec.entropy.planes.MixerState`, as are the next six; they learn.
        weights: see there.
        sign_states: see there.
        sign_weights: see there.
        flag_states: see there.
        flag_weights: see there.
        lms: see there.
        coder: state of the range coder.
        buffer: its bytes.
        encoding: False to decode.
    """
    components, height, width = stack.shape
    rows, cols = height - 2 * MARGIN, width - 2 * MARGIN
    slots, inputs, base = np.zeros(INPUTS, np.int64), np.zeros(INPUTS, np.int64), np.zeros(INPUTS, np.int64)
    sign_slots, sign_inputs = np.zeros(SIGN_INPUTS, np.int64), np.zeros(SIGN_INPUTS, np.int64)
    flag_slots, flag_inputs = np.zeros(2, np.int64), np.zeros(2, np.int64)
    features = np.zeros(FEATURES, np.int64)
    energy = np.zeros((height, width), np.int32)  # magnitudes of all components before, fading
    nothing = np.zeros((height, width), np.int32)
    estimate = lms[depth * 4 + orient]
    before = np.int64(1)
    for k in range(components):
        band = k if k < 16 else min(16 + ((k - 16) >> 3), 31)
        q = stack[k]
        alive = np.int64(0)
        if encoding:
            alive = np.int64(1 if np.any(q) else 0)
        flag_slots[0], flag_slots[1] = before * 4 + orient, 8 + min(k, 15) * 4 + orient
        alive = mixed_bit(
            flag_states, flag_slots, flag_inputs, flag_weights, 0, 1, 30, FLAG_RATE, alive, coder, buffer, encoding
        )
        before = alive
        if alive == 0:
            for r in range(MARGIN, MARGIN + rows):
                for c in range(MARGIN, MARGIN + cols):
                    energy[r, c] = (energy[r, c] * 3) >> 2
            continue
        one = stack[k - 1] if k > 0 else nothing
        two = stack[k - 2] if k > 1 else nothing
        parent, sibling, other = parents[k], siblings[0, k], siblings[1, k]
        state, running = np.int64(0), np.int64(0)
        for r in range(MARGIN, MARGIN + rows):
            if not encoding and coder[POSITION] > buffer.size + 64:
                return  # a damaged stream; the caller refuses it
            for c in range(MARGIN, MARGIN + cols):
                place = ((r - MARGIN) * 16 // rows) * 16 + (c - MARGIN) * 16 // cols
                dq = state >> 1
                expected = surroundings(
                    q, one, two, parent, sibling, other, energy, r, c, running, dq, band, depth, orient, place,
                    estimate, features, base,
                )
                value = np.int64(q[r, c])
                size = _code_magnitude(
                    abs(value), base, fine_log(expected), dq, band, depth, orient, states, weights, flag_states,
                    flag_weights, slots, inputs, flag_slots, flag_inputs, coder, buffer, encoding,
                )
                if size > 0:
                    fill_signs(size, q, one, two, parent, sibling, other, r, c, band, orient, sign_slots)
                    positive = mixed_bit(
                        sign_states, sign_slots, sign_inputs, sign_weights, orient, 4 + depth, 255, SIGN_RATE,
                        np.int64(1 if value > 0 else 0), coder, buffer, encoding,
                    )
                    q[r, c] = np.int32(size if positive == 1 else -size)
                else:
                    q[r, c] = 0
                learn(size, expected, features, estimate)
                running += ((min(size, 255) << 4) - running) >> 4
                energy[r, c] = np.int32(((np.int64(energy[r, c]) * 3) >> 2) + (min(size, 255) << 2))
                if dependent:
                    state = next_state(state, size)
