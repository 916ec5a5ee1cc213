"""The fast form of :mod:`palimpsest.codec.entropy.details`, for models with foresight: the same bytes in less time.

What a sample can know before its row begins is gathered a row at a time (:mod:`palimpsest.codec.entropy.outlook`);
inputs of the guess lie in one piece; divisions are done in floating point where their rounded-down result is exact; the
number of views and of units is fixed, so that loops unroll. The slow form says what is computed and why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from palimpsest.codec.entropy.binary_coder import POSITION
from palimpsest.codec.entropy.contexts import FLAG_RATE, LARGEST_EXPONENT, MARGIN, NODES, SIGN_INPUTS, UNARY, fill_signs
from palimpsest.codec.entropy.details import VIEWS_WITH_FORESIGHT
from palimpsest.codec.entropy.foresight import INPUTS, OUTPUTS, SIGNS, settle
from palimpsest.codec.entropy.guess import (
    BEFORE,
    FARTHEST_MISS,
    GUIDES,
    LIMIT,
    POWER,
    REFRESH,
    TAPS,
    USUAL_MISS,
    root,
    scaled,
)
from palimpsest.codec.entropy.lanes import LARGEST, SMALLEST, in_pairs
from palimpsest.codec.entropy.learners import (
    DECISIONS,
    FLANK,
    KEPT,
    LATER,
    UNITS,
    add_ahead,
    expect,
    follow_error,
    foresee_with,
    guessed_from,
    inverted,
    learn_size,
    mixed_sign,
    mixed_size,
)
from palimpsest.codec.entropy.logistic import mixed_bit
from palimpsest.codec.entropy.outlook import (
    AHEAD,
    COARSE_LOGS,
    FEATURES,
    FINE_LOGS,
    KNOWN,
    LOGS,
    PADDED,
    WAITING,
    look_aside,
    look_before,
    look_up,
    tell,
)
from palimpsest.codec.quantisation.cells import hint_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.codec.entropy.foresight import Foresight

    Cells = NDArray[np.int64]
    Plane = NDArray[np.int32]
    Halves = NDArray[np.int16]


def fits(net: Foresight, views: tuple[int, ...]) -> bool:
    """Whether a model is of the one shape that this form knows."""
    if net.first.shape != (INPUTS, UNITS) or net.second.shape != (UNITS, LATER) or views != VIEWS_WITH_FORESIGHT:
        return False
    return all(part.min() >= SMALLEST and part.max() <= LARGEST for part in (net.first, net.second, net.third))


def packed(net: Foresight) -> tuple[NDArray[np.generic], ...]:
    """A network as :func:`code_foreseen` takes it: inputs ahead and beside, order and places, then the other layers."""
    ahead = np.zeros((PADDED, UNITS), np.int32)
    ahead[: len(KNOWN)] = net.first[list(KNOWN)]
    third = np.zeros((LATER, DECISIONS), np.int32)
    third[:, :OUTPUTS] = net.third.T
    return (
        in_pairs(ahead), in_pairs(net.first[list(WAITING)]), net.order, net.places, in_pairs(net.second),
        net.second_bias, in_pairs(third), net.third_places, net.third_order,
    )


@numba.njit("void(int32[:,::1], int16[:,:,::1], int64)", cache=True, nogil=True)
def _hear(values: Plane, heard: NDArray[np.int16], at: int) -> None:
    """Note a coded component in units of its spread; see :func:`palimpsest.codec.entropy.guess.next_scales`."""
    rows, cols = heard.shape[0], heard.shape[1]
    total = 0
    for r in range(rows):
        for c in range(cols):
            value = min(abs(int(values[r + MARGIN, c + MARGIN])), int(LIMIT))
            total += value * value
    scale = 65536 // root((total << 8) // (rows * cols) + 13)
    for r in range(rows):
        for c in range(cols):
            heard[r, c, at] = np.int16(scaled(int(values[r + MARGIN, c + MARGIN]), scale))


@numba.njit(
    "void(int32[:,:,::1], int32[:,:,::1], int32[:,:,:,::1], int64, int64, int32[:,::1], int32[:,::1],"
    "int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int64[:,::1],"
    "int64[::1], int16[:,::1], int16[:,::1], int32[::1], int32[:,::1], int16[:,::1], int32[::1], int16[:,::1],"
    "int32[:,::1], int32[::1], int64[::1], uint8[::1], boolean, uint8[:,:,:,::1], int16[:,:,:,::1],"
    "uint8[:,:,:,::1], int16[:,:,:,::1], uint8[:,:,:,:,::1], int16[:,:,:,:,::1], uint16[:,:,::1])",
    cache=True, nogil=True,
)
def code_foreseen(
    stack: NDArray[np.int32], parents: NDArray[np.int32], siblings: NDArray[np.int32], depth: int, orient: int,
    states: Plane, weights: Plane, sign_states: Plane, sign_weights: Plane, flag_states: Plane, flag_weights: Plane,
    lms: Plane, guides: Plane, following: NDArray[np.int64], sides: Cells, net_ahead: Halves, net_beside: Halves,
    net_order: Plane, net_places: Plane, net_second: Halves, net_second_bias: Plane, net_third: Halves,
    net_third_places: Plane, net_third_order: Plane, coder: Cells, buffer: NDArray[np.uint8],
    encoding: bool, logs: NDArray[np.uint8], sums: NDArray[np.int16], parent_logs: NDArray[np.uint8],
    parent_sums: NDArray[np.int16], sibling_logs: NDArray[np.uint8], sibling_sums: NDArray[np.int16],
    hints: NDArray[np.uint16],
) -> None:
    """As :func:`palimpsest.codec.entropy.details.code_details`, with the views of a model that has foresight.

    The parts of the network come from :func:`packed`. ``logs`` ``(component, 5, row, col)`` with margins and ``sums``
    ``(component, 2, row, col)`` are zero and become what this part tells others; those of the parents and of both
    siblings, ``(2, component, ...)``, are known. Everything else is as there.
    """
    components, height, width = stack.shape
    rows, cols = height - 2 * MARGIN, width - 2 * MARGIN
    slots, inputs = np.zeros(KEPT, np.int64), np.zeros(KEPT + 1, np.int32)
    sign_slots, sign_inputs = np.zeros(SIGN_INPUTS + 1, np.int64), np.zeros(SIGN_INPUTS + 2, np.int32)
    flag_slots, flag_inputs = np.zeros(2, np.int64), np.zeros(2, np.int64)
    base = np.zeros(KEPT, np.int64)
    energy = np.zeros((height, width), np.int32)
    nothing = np.zeros((height, width), np.int32)
    estimate = np.zeros(FEATURES, np.int32)
    for i in range(lms.shape[1]):
        estimate[i] = lms[depth * 4 + orient, i]
    # Samples in units of their spread, newest component first, so that what a guess hears lies in one piece.
    heard = np.zeros((rows, cols, components + BEFORE), np.int16)
    row, powers, inverses = np.zeros(TAPS, np.int32), np.zeros(TAPS, np.int32), np.zeros(TAPS, np.int32)
    nothing_logs, nothing_sums = np.zeros((5, height, width), np.uint8), np.zeros((2, rows, cols), np.int16)
    sizes, misses = np.zeros((height, width), np.int32), np.zeros((height, width), np.int32)
    ahead, features = np.zeros((cols, PADDED), np.int16), np.zeros((cols, FEATURES), np.int32)
    above, begun, level_up = np.zeros((4, cols), np.int32), np.zeros(UNITS, np.int32), np.zeros(cols, np.uint8)
    flank, hidden, later = np.zeros(FLANK, np.int16), np.zeros(UNITS, np.int16), np.zeros(LATER, np.int16)
    later_sums, odds = np.zeros(LATER, np.int32), np.zeros(DECISIONS, np.int32)
    bias, third_bias = np.zeros((2, UNITS), np.int32), np.zeros((2, DECISIONS), np.int32)
    block_cols = np.arange(cols) * 16 // cols
    before, noting = 1, hints.size > 0
    for k in range(components):
        band = k if k < 16 else min(16 + ((k - 16) >> 3), 31)
        q = stack[k]
        alive = 0
        if encoding:
            alive = 1 if np.any(q) else 0
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
        logs1 = logs[k - 1] if k > 0 else nothing_logs
        logs2 = logs[k - 2] if k > 1 else nothing_logs
        logs3 = logs[k - 3] if k > 2 else nothing_logs
        sums1 = sums[k - 1] if k > 0 else nothing_sums
        sums2 = sums[k - 2] if k > 1 else nothing_sums
        own = logs[k, 0]
        guide = guides[min(k, GUIDES - 1)]
        powers[:] = POWER
        inverted(powers, inverses)
        settle(depth, orient, k, net_order, net_places, net_third_places, net_third_order, bias, third_bias)
        state = 0
        running = 0
        count = 0
        missing = USUAL_MISS
        misses[:] = 0
        spread = 16
        scale = 4096
        mean_square = 1 << 16
        for r in range(rows):
            if not encoding and coder[POSITION] > buffer.size + 64:
                return  # a damaged stream; the caller refuses it
            look_up(sizes, own, energy, r, ahead, features, above)
            look_aside(
                parent, parent_logs[k], parent_sums[k], sibling_logs[0, k], sibling_sums[0, k], sibling_logs[1, k],
                sibling_sums[1, k], r, ahead, features, level_up,
            )
            look_before(logs1, logs2, logs3, sums1, sums2, one, r, ahead, features)
            y = r + MARGIN
            north, farther = misses[y - 1], misses[y - 2]
            for c in range(cols):
                x = c + MARGIN
                ahead[c, AHEAD - 1] = LOGS[min((north[x - 1] + north[x + 1] + farther[x]) >> 4, 8191)]
            block = (r * 16 // rows) * 16
            for c in range(cols):
                x = c + MARGIN
                place = block + block_cols[c]
                dq = sides[state]
                near_energy = int(above[1, c]) + int(energy[y, x - 1])
                w = int(sizes[y, x - 1])
                ww = int(sizes[y, x - 2])
                feature = features[c]
                feature[0] = min(w, 255) << 4
                feature[3] = min(above[3, c] + ww, 1023) << 2
                feature[11] = running
                expected = expect(feature, estimate)
                fine = int(FINE_LOGS[min(expected, 4095)])
                local = 2 * w + int(above[0, c])
                level_local = int(COARSE_LOGS[min(local, 1023)])
                past = int(feature[10])
                level_past = int(COARSE_LOGS[min((2 * past + (near_energy >> 1)) >> 3, 1023)])
                base[0] = (fine * 2 + dq) * NODES
                base[1] = ((level_local * 16 + int(level_up[c])) * 2 + dq) * NODES
                base[2] = (min(w, 3) * 64 + int(above[2, c])) * NODES
                base[3] = ((level_past * 16 + level_local) * 2 + dq) * NODES
                base[4] = ((level_past * 16 + int(logs1[3, y, x])) * 4 + orient) * NODES
                base[5] = (place * 8 + depth) * NODES
                if count & (REFRESH - 1) == 0:
                    inverted(powers, inverses)
                    spread = max(root(mean_square >> 8), 4)
                    scale = 65536 // spread
                near = heard[r, c, components - k : components - k + BEFORE]
                for i in range(BEFORE):
                    row[i] = near[i]
                row[BEFORE] = scaled(int(q[y, x - 1]), scale)
                row[BEFORE + 1] = scaled(int(q[y - 1, x]), scale)
                row[BEFORE + 2] = scaled(int(q[y - 1, x - 1]), scale)
                row[BEFORE + 3] = scaled(int(q[y - 1, x + 1]), scale)
                row[BEFORE + 4] = scaled(int(parent[MARGIN + (r >> 1), MARGIN + (c >> 1)]), scale)
                row[BEFORE + 5] = scaled(int(sibling[y, x]), scale)
                row[BEFORE + 6] = scaled(int(other[y, x]), scale)
                guess = guessed_from(row, guide)
                far = abs(guess) * spread >> 8
                far_log = int(LOGS[min(far, 8191)])
                flank[0], flank[1] = own[y, x - 1], own[y, x - 2]
                flank[2] = LOGS[min(near_energy >> 4, 8191)]
                flank[3], flank[4] = LOGS[running >> 2], LOGS[expected >> 2]
                flank[5] = LOGS[min(local, 8191)]
                flank[6], flank[7] = far_log, LOGS[min(spread, 8191)]
                flank[8] = LOGS[missing >> 2]
                flank[9] = LOGS[min((north[x] + misses[y, x - 1]) >> 4, 8191)]
                begun[:] = 0
                add_ahead(begun, net_ahead, ahead[c])
                foresee_with(
                    flank, net_beside, begun, bias[dq], net_second, net_second_bias, net_third, third_bias[dq], hidden,
                    later, later_sums, odds,
                )
                if noting:
                    hints[k, r, c] = np.uint16(hint_of(int(odds[0]), int(odds[SIGNS]), guess))
                value = int(q[y, x])
                size = abs(value)
                node = 0
                more = 1
                while node < UNARY:
                    for i in range(KEPT - 1):
                        slots[i] = base[i] + node
                    foreseen = int(odds[node])
                    slots[KEPT - 1] = ((min(foreseen + 2048, 4095) >> 5) * 2 + dq) * NODES + node
                    inputs[KEPT] = foreseen
                    more = mixed_size(
                        states, slots, inputs, weights, ((node * 2 + dq) * 16 + (fine >> 2)) * 4,
                        1024 + (node * 8 + depth) * 16 + min(band, 15), 1 if size > node else 0, coder,
                        buffer, encoding,
                    )
                    if more == 0:
                        break
                    node += 1
                if more == 0:
                    size = node
                else:
                    rest = size - UNARY + 1
                    exponent = 0
                    while exponent < LARGEST_EXPONENT:
                        at = min(UNARY + exponent, NODES - 1)
                        for i in range(KEPT - 1):
                            slots[i] = base[i] + at
                        foreseen = int(odds[min(at, SIGNS - 1)])
                        slots[KEPT - 1] = ((min(foreseen + 2048, 4095) >> 5) * 2 + dq) * NODES + at
                        inputs[KEPT] = foreseen
                        grows = mixed_size(
                            states, slots, inputs, weights, ((UNARY * 2 + dq) * 16 + min(exponent, 15)) * 4,
                            1024 + (UNARY * 8 + depth) * 16 + min(band, 15),
                            1 if (rest >> (exponent + 1)) > 0 else 0, coder, buffer, encoding,
                        )
                        if grows == 0:
                            break
                        exponent += 1
                    mantissa = 1
                    for at in range(exponent - 1, -1, -1):
                        done = exponent - 1 - at
                        low = mantissa & 7 if done < 3 else at & 7
                        flag_slots[0] = 128 + exponent * 32 + min(done, 3) * 8 + low
                        flag_slots[1] = 1152 + exponent * 8 + min(at, 7)
                        bit = mixed_bit(
                            flag_states, flag_slots, flag_inputs, flag_weights, 2, 3, 255, FLAG_RATE, (rest >> at) & 1,
                            coder, buffer, encoding,
                        )
                        mantissa = (mantissa << 1) | bit
                    size = UNARY - 1 + mantissa
                if size > 0:
                    leaning = int(odds[SIGNS - 1 + min(size, 3)])
                    if guess < 0:
                        leaning = -leaning
                    elif guess == 0:
                        leaning = 0
                    fill_signs(size, q, one, two, parent, sibling, other, y, x, band, orient, sign_slots)
                    sign_slots[SIGN_INPUTS] = (min(max(leaning + 1024, 0), 2047) >> 5) * 8 + depth
                    sign_inputs[SIGN_INPUTS + 1] = leaning
                    positive = mixed_sign(
                        sign_states, sign_slots, sign_inputs, sign_weights, orient, 4 + depth,
                        1 if value > 0 else 0, coder, buffer, encoding,
                    )
                    value = size if positive == 1 else -size
                    q[y, x] = np.int32(value)
                else:
                    value = 0
                    q[y, x] = 0
                sizes[y, x] = np.int32(min(size, 1 << 24))
                own[y, x] = LOGS[min(4 * size, 8191)]
                learn_size(size, expected, feature, estimate)
                here = min(size, 4095)
                mean_square += ((here * here << 16) - mean_square) >> (4 if count < 32 else 7)
                miss = scaled(value, scale) - guess
                follow_error(row, guide, powers, inverses, miss)
                misses[y, x] = np.int32(min(abs(miss) * spread >> 4, FARTHEST_MISS))
                missing += (min(abs(miss), int(LIMIT)) - missing) >> 5
                count += 1
                running += ((min(size, 255) << 4) - running) >> 4
                energy[y, x] = np.int32(((int(energy[y, x]) * 3) >> 2) + (min(size, 255) << 2))
                state = following[state, size & 1]
        tell(sizes, logs[k], sums[k])
        _hear(q, heard, components - 1 - k)
    for i in range(lms.shape[1]):
        lms[depth * 4 + orient, i] = estimate[i]
