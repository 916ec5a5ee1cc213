"""The spatial levels' samples, coded with a signed guess and, where there is one, a trained network's foresight.

As in :mod:`palimpsest.codec.entropy.contexts`, whose views and expected magnitude this uses, each decision is predicted
by adaptive states and mixed; here :mod:`palimpsest.codec.entropy.guess` guesses the sample with its sign, and
:mod:`palimpsest.codec.entropy.foresight` gives the odds of each decision: both choose a state of their own and are
mixed with the others. With a network six of the fourteen views do; without one all are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from palimpsest.codec.entropy.binary_coder import POSITION
from palimpsest.codec.entropy.contexts import (
    FEATURES,
    FLAG_RATE,
    INPUTS,
    LARGEST_EXPONENT,
    MARGIN,
    MIXER_RATE,
    NODES,
    SIGN_INPUTS,
    SIGN_RATE,
    SLOWEST,
    UNARY,
    fill_signs,
    fine_log,
    learn,
    surroundings,
)
from palimpsest.codec.entropy.foresight import INPUTS as SEEN
from palimpsest.codec.entropy.foresight import SIGNS, foresee, logarithm, look, odds, settle
from palimpsest.codec.entropy.guess import (
    BEFORE,
    FARTHEST_MISS,
    GUIDES,
    LIMIT,
    POWER,
    REFRESH,
    TAPS,
    USUAL_MISS,
    fill_row,
    follow,
    guessed,
    invert,
    next_scales,
    root,
    scaled,
)
from palimpsest.codec.entropy.logistic import mixed_bit
from palimpsest.codec.quantisation.cells import hint_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Cells = NDArray[np.int64]
    Plane = NDArray[np.int32]

ALL_VIEWS = tuple(range(INPUTS))
VIEWS_WITH_FORESIGHT = (0, 1, 4, 8, 10, 13)
RECORDED = SEEN + 6  # inputs of the network; then level, orientation, turn, component, magnitude, sign as guessed


@numba.njit(
    "void(int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int64, int64, int64)",
    cache=True, nogil=True,
)
def _near_inputs(
    q: Plane, parent: Plane, sibling: Plane, other: Plane, row: Plane, r: int, c: int, scale: int
) -> None:
    """Fill the inputs of the guess that lie in this plane and beside it."""
    at = c - MARGIN
    pr, pc = MARGIN + ((r - MARGIN) >> 1), MARGIN + ((c - MARGIN) >> 1)
    row[at, BEFORE] = np.int32(scaled(np.int64(q[r, c - 1]), scale))
    row[at, BEFORE + 1] = np.int32(scaled(np.int64(q[r - 1, c]), scale))
    row[at, BEFORE + 2] = np.int32(scaled(np.int64(q[r - 1, c - 1]), scale))
    row[at, BEFORE + 3] = np.int32(scaled(np.int64(q[r - 1, c + 1]), scale))
    row[at, BEFORE + 4] = np.int32(scaled(np.int64(parent[pr, pc]), scale))
    row[at, BEFORE + 5] = np.int32(scaled(np.int64(sibling[r, c]), scale))
    row[at, BEFORE + 6] = np.int32(scaled(np.int64(other[r, c]), scale))


@numba.njit("int64(int64, int64)", cache=True, nogil=True)
def _step_of(value: int, widest: int) -> int:
    """Odds in 1/256 as one of 128 contexts (widest 2048) or 64 (1024)."""
    return min(max(value + widest, 0), 2 * widest - 1) >> 5


@numba.njit(
    "int64(int64, int64[::1], int64[::1], int64, int64, int64, int64, int64, int32[:,::1], int32[:,::1],"
    "int32[:,::1], int32[:,::1], int64[::1], int64[::1], int64[::1], int64[::1], int32[::1], int32[:,::1],"
    "int32[:,::1], int64[::1], uint8[::1], boolean)",
    cache=True, nogil=True,
)
def _code_magnitude(
    size: int, base: Cells, views: Cells, fine: int, guess_view: int, dq: int, band: int, depth: int,
    states: Plane, weights: Plane, flag_states: Plane, flag_weights: Plane, slots: Cells, inputs: Cells,
    flag_slots: Cells, flag_inputs: Cells, later: Plane, third: Plane, third_bias: Plane, coder: Cells,
    buffer: NDArray[np.uint8], encoding: bool,
) -> int:
    kept, foresees = views.size, third.shape[0] > 0
    node = foreseen = 0
    while node < UNARY:
        for i in range(kept):
            slots[i] = base[views[i]] * NODES + node
        view = guess_view
        if foresees:
            foreseen = odds(later, third, third_bias, dq, node)
            view = _step_of(foreseen, 2048)
        slots[kept] = (view * 2 + dq) * NODES + node
        inputs[kept + 1] = foreseen
        first = ((node * 2 + dq) * 16 + (fine >> 2)) * 4
        second = 1024 + (node * 8 + depth) * 16 + min(band, 15)
        more = mixed_bit(
            states, slots, inputs, weights, first, second, SLOWEST, MIXER_RATE, 1 if size > node else 0,
            coder, buffer, encoding,
        )
        if more == 0:
            return node
        node += 1
    rest = size - UNARY + 1  # from 1 on, as Elias gamma: exponent by contexts, mantissa by its leading digits
    exponent = 0
    while exponent < LARGEST_EXPONENT:
        at = min(UNARY + exponent, NODES - 1)
        for i in range(kept):
            slots[i] = base[views[i]] * NODES + at
        view = guess_view
        if foresees:
            foreseen = odds(later, third, third_bias, dq, min(at, SIGNS - 1))
            view = _step_of(foreseen, 2048)
        slots[kept] = (view * 2 + dq) * NODES + at
        inputs[kept + 1] = foreseen
        first = ((UNARY * 2 + dq) * 16 + min(exponent, 15)) * 4
        second = 1024 + (UNARY * 8 + depth) * 16 + min(band, 15)
        grows = 1 if (rest >> (exponent + 1)) > 0 else 0
        grows = mixed_bit(
            states, slots, inputs, weights, first, second, SLOWEST, MIXER_RATE, grows, coder, buffer, encoding
        )
        if grows == 0:
            break
        exponent += 1
    mantissa = 1
    for at in range(exponent - 1, -1, -1):
        done = exponent - 1 - at
        flag_slots[0] = 128 + exponent * 32 + min(done, 3) * 8 + (mantissa & 7 if done < 3 else at & 7)
        flag_slots[1] = 1152 + exponent * 8 + min(at, 7)
        bit = mixed_bit(
            flag_states, flag_slots, flag_inputs, flag_weights, 2, 3, 255, FLAG_RATE, (rest >> at) & 1, coder, buffer,
            encoding,
        )
        mantissa = (mantissa << 1) | bit
    return UNARY - 1 + mantissa


@numba.njit(
    "int64(int32[:,:,::1], int32[:,:,::1], int32[:,:,:,::1], int64, int64, int32[:,::1], int32[:,::1],"
    "int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int64[::1], int64[:,::1],"
    "int64[::1], int32[:,::1], int32[::1], int32[:,::1], int32[:,::1], int32[::1], int32[:,::1], int32[:,::1],"
    "int32[::1], int64[::1], uint8[::1], boolean, int16[:,::1], int64, uint16[:,:,::1])",
    cache=True, nogil=True,
)
def code_details(
    stack: NDArray[np.int32], parents: NDArray[np.int32], siblings: NDArray[np.int32], depth: int, orient: int,
    states: Plane, weights: Plane, sign_states: Plane, sign_weights: Plane, flag_states: Plane, flag_weights: Plane,
    lms: Plane, guides: Plane, views: Cells, following: NDArray[np.int64], sides: Cells, net_first: Plane,
    net_order: Plane, net_places: Plane, net_second: Plane, net_second_bias: Plane, net_third: Plane,
    net_third_places: Plane, net_third_order: Plane, coder: Cells,
    buffer: NDArray[np.uint8], encoding: bool, record: NDArray[np.int16], stride: int, hints: NDArray[np.uint16],
) -> int:
    """Code (or decode into) one oriented part of a level, all components; samples of the dependent quantiser.

    Args:
        stack: samples ``(component, row, col)`` with a margin of two zeros around the last two axes.
        parents: the same orientation one level coarser, with margins; zeros where there is none.
        siblings: two orientations of this level already coded, ``(2, component, row, col)`` with margins, or zeros.
        depth: 0 finest ... 4; 5 for the coarse plane.
        orient: 0, 1 or 2; 3 for the coarse plane.
        states: the tables of a :class:`~palimpsest.codec.entropy.planes.MixerState`, as are the next seven; they learn.
        weights: see there.
        sign_states: see there.
        sign_weights: see there.
        flag_states: see there.
        flag_weights: see there.
        lms: see there.
        guides: see there.
        views: see there.
        following: states of the quantiser, as in :class:`~palimpsest.codec.quantisation.trellis.Trellis`.
        sides: see there.
        net_first: weights of a :class:`~palimpsest.codec.entropy.foresight.Foresight`, as are the next seven.
        net_order: see there.
        net_places: see there.
        net_second: see there.
        net_second_bias: see there.
        net_third: see there.
        net_third_places: see there.
        net_third_order: see there.
        coder: state of the range coder.
        buffer: its bytes.
        encoding: False to decode.
        record: filled with what the network would see of every ``stride``-th sample, for training; empty otherwise.
        stride: see ``record``.
        hints: ``(component, row, col)``, filled with what was expected of each sample; empty where nobody asks.

    Returns:
        How many rows of ``record`` were filled.
    """
    components, height, width = stack.shape
    rows, cols = height - 2 * MARGIN, width - 2 * MARGIN
    kept, foresees = views.size, net_third.shape[0] > 0
    slots, inputs, base = np.zeros(kept + 1, np.int64), np.zeros(kept + 2, np.int64), np.zeros(INPUTS, np.int64)
    sign_slots, sign_inputs = np.zeros(SIGN_INPUTS + 1, np.int64), np.zeros(SIGN_INPUTS + 2, np.int64)
    flag_slots, flag_inputs = np.zeros(2, np.int64), np.zeros(2, np.int64)
    features = np.zeros(FEATURES, np.int64)
    energy = np.zeros((height, width), np.int32)  # magnitudes of all components before, fading
    nothing = np.zeros((height, width), np.int32)
    misses = np.zeros((height, width), np.int32)  # how far guesses of this component were off, 8 fraction bits
    estimate = lms[depth * 4 + orient]
    scales, row = np.zeros(BEFORE, np.int64), np.zeros((cols, TAPS), np.int32)
    powers, inverses = np.zeros(TAPS, np.int64), np.zeros(TAPS, np.int64)
    seen = np.zeros(SEEN, np.int32)
    hidden, later = np.zeros(net_first.shape[1], np.int32), np.zeros(net_second.shape[1], np.int32)
    bias, third_bias = np.zeros((2, hidden.size), np.int32), np.zeros((2, net_third.shape[0]), np.int32)
    block_cols = np.arange(cols) * 16 // cols
    recording, counted, written, noting = record.shape[0] > 0, 0, 0, foresees and hints.size > 0
    before = np.int64(1)
    for k in range(components):
        band = k if k < 16 else min(16 + ((k - 16) >> 3), 31)
        q = stack[k]
        next_scales(stack, k, scales)
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
        three = stack[k - 3] if k > 2 else nothing
        parent, sibling, other = parents[k], siblings[0, k], siblings[1, k]
        guide = min(k, GUIDES - 1)
        for i in range(TAPS):
            powers[i] = POWER
        invert(powers, inverses)
        if foresees:
            settle(depth, orient, k, net_order, net_places, net_third_places, net_third_order, bias, third_bias)
        state = running = count = 0
        missing = USUAL_MISS
        misses[:] = 0
        mean_square, spread, scale = 1 << 16, 16, 4096
        for r in range(MARGIN, MARGIN + rows):
            if not encoding and coder[POSITION] > buffer.size + 64:
                return written  # a damaged stream; the caller refuses it
            fill_row(stack, k, r, scales, row)
            block = ((r - MARGIN) * 16 // rows) * 16
            for c in range(MARGIN, MARGIN + cols):
                place = block + block_cols[c - MARGIN]
                dq = sides[state]
                expected = surroundings(
                    q, one, two, parent, sibling, other, energy, r, c, running, dq, band, depth, orient, place,
                    estimate, features, base,
                )
                if count & (REFRESH - 1) == 0:
                    invert(powers, inverses)
                    spread = max(root(mean_square >> 8), 4)
                    scale = 65536 // spread
                _near_inputs(q, parent, sibling, other, row, r, c, scale)
                guess = guessed(row, c - MARGIN, guides, guide)
                far = abs(guess) * spread >> 8  # the guess in sixteenths of a sample
                if foresees or recording:
                    look(q, one, two, three, parent, sibling, other, energy, r, c, seen)
                    seen[30], seen[31] = logarithm(running >> 2), logarithm(expected >> 2)
                    seen[33], seen[34] = logarithm(far), logarithm(spread)
                    seen[35] = logarithm(missing >> 2)
                    seen[36] = logarithm((misses[r - 1, c] + misses[r, c - 1]) >> 4)
                    seen[37] = logarithm((misses[r - 1, c - 1] + misses[r - 1, c + 1] + misses[r - 2, c]) >> 4)
                if foresees:
                    foresee(seen, bias, dq, net_first, net_second, net_second_bias, hidden, later)
                if noting:
                    likely = odds(later, net_third, third_bias, dq, 0)
                    sure = odds(later, net_third, third_bias, dq, SIGNS)
                    hints[k, r - MARGIN, c - MARGIN] = np.uint16(hint_of(likely, sure, guess))
                value = np.int64(q[r, c])
                coarse_far = min(logarithm(far) >> 2, 31)
                fine = fine_log(expected)
                size = _code_magnitude(
                    abs(value), base, views, fine, coarse_far * 64 + fine, dq, band, depth, states, weights,
                    flag_states, flag_weights, slots, inputs, flag_slots, flag_inputs, later, net_third, third_bias,
                    coder, buffer, encoding,
                )
                if size > 0:
                    if foresees:
                        leaning = odds(later, net_third, third_bias, dq, SIGNS - 1 + min(size, 3))
                    else:
                        leaning = min(abs(guess) * scaled(size, scale) >> 8, 2047)
                    if guess < 0:
                        leaning = -leaning
                    elif guess == 0:
                        leaning = 0
                    fill_signs(size, q, one, two, parent, sibling, other, r, c, band, orient, sign_slots)
                    sign_slots[SIGN_INPUTS] = _step_of(leaning, 1024) * 8 + depth
                    sign_inputs[SIGN_INPUTS + 1] = leaning
                    positive = mixed_bit(
                        sign_states, sign_slots, sign_inputs, sign_weights, orient, 4 + depth, 255, SIGN_RATE,
                        np.int64(1 if value > 0 else 0), coder, buffer, encoding,
                    )
                    value = size if positive == 1 else -size
                    q[r, c] = np.int32(value)
                else:
                    value = np.int64(0)
                    q[r, c] = 0
                if recording:
                    if counted % stride == 0 and written < record.shape[0]:
                        for i in range(SEEN):
                            record[written, i] = np.int16(seen[i])
                        record[written, SEEN], record[written, SEEN + 1] = np.int16(depth), np.int16(orient)
                        record[written, SEEN + 2], record[written, SEEN + 3] = np.int16(dq), np.int16(k)
                        record[written, SEEN + 4] = np.int16(min(size, 32767))
                        record[written, SEEN + 5] = np.int16(1 if (value > 0) == (guess > 0) else 0)
                        written += 1
                    counted += 1
                learn(size, expected, features, estimate)
                here = min(size, 4095)
                # Sixteen fraction bits; quicker while a plane is young.
                mean_square += ((here * here << 16) - mean_square) >> (4 if count < 32 else 7)
                miss = scaled(value, scale) - guess
                follow(row, c - MARGIN, guides, guide, powers, inverses, miss)
                misses[r, c] = np.int32(min(abs(miss) * spread >> 4, FARTHEST_MISS))
                missing += (min(abs(miss), LIMIT) - missing) >> 5
                count += 1
                running += ((min(size, 255) << 4) - running) >> 4
                energy[r, c] = np.int32(((np.int64(energy[r, c]) * 3) >> 2) + (min(size, 255) << 2))
                state = following[state, size & 1]
    return written
