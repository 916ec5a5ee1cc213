"""One trained lifting step in integers: a linear predictor and a small clamped network, the same sums on every machine.

A step adds to one half of the rows a function of the other half. The function is linear taps on the nearest rows above
and below (those of CDF 9/7 see one row each way, trained ones more) plus, where training kept it, a two-layer network
over a window of the same rows::

    activity = mean absolute difference between neighbours in the window
    hidden_j = clamp(sum_i first[j, i] * sample_i, -activity, activity)        weights of a unit sum to zero
    answer   = taps . samples + sum_j second[j] * hidden_j

The clamp by local activity takes the place of a bias and of a division: the answer scales with the plane, flips sign
with it, and the network is blind to a constant. Weights are int16, samples int32, sums int64; one rounding shift at
the end. The inverse subtracts the same integers, so no training can break the round trip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.int32]
    Stack = NDArray[np.int32]
    Row = NDArray[np.int32]
    Rows = NDArray[np.int64]

TAP_SHIFT = 14  # of `taps` and `second`
FIRST_SHIFT = 12  # of `first`
ACTIVITY_SHIFT = 20
LARGEST_REACH = 16  # columns
_PORTION = 1 << 15  # samples that are worked on at a time


@dataclass(frozen=True, slots=True)
class Step:
    """Weights of one lifting step.

    Args:
        taps: int16 ``(distance, column)``: of the rows 0, 1, ... beyond the nearest on both sides, straight and 1, 2,
            ... columns to either side.
        first: int16 ``(hidden, 2 * depth, 2 * half + 1)``: rows from above to below; no hidden units, no network.
        second: int16 ``(hidden,)``.
    """

    taps: NDArray[np.int16]
    first: NDArray[np.int16]
    second: NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Lift:
    """Four steps that split rows into a low and a high half: predict, update, predict, update."""

    steps: tuple[Step, Step, Step, Step]

    @property
    def reach(self) -> int:
        """How many columns to either side any of the steps sees."""
        return max(max(step.taps.shape[1] - 1, step.first.shape[2] // 2) for step in self.steps)

    def split_stack(self, planes: Stack) -> tuple[Stack, Stack]:
        """Low and high rows of many planes ``(component, row, col)``."""
        low, high = _wide(planes[:, 0::2], self.reach), _wide(planes[:, 1::2], self.reach)
        self._run(low, high, planes.shape[0], (0, 1, 2, 3), 1)
        return self._narrow(low, len(planes)), self._narrow(high, len(planes))

    def join_stack(self, low: Stack, high: Stack) -> Stack:
        """The planes whose :meth:`split_stack` is ``(low, high)``."""
        count, reach = low.shape[0], self.reach
        wide_low, wide_high = _wide(low, reach), _wide(high, reach)
        self._run(wide_low, wide_high, count, (3, 2, 1, 0), -1)
        planes = np.empty((count, low.shape[1] + high.shape[1], low.shape[2]), np.int32)
        planes[:, 0::2], planes[:, 1::2] = self._narrow(wide_low, count), self._narrow(wide_high, count)
        return planes

    def _run(self, low: Plane, high: Plane, count: int, order: tuple[int, ...], sign: int) -> None:
        reach = self.reach
        for index in order:
            step = self.steps[index]
            target, source = (high, low) if index % 2 == 0 else (low, high)
            apply_step(target, source, count, reach, index % 2, step.taps, step.first, step.second, sign)

    def _narrow(self, wide: Plane, count: int) -> Stack:
        reach = self.reach
        inside = wide.reshape(wide.shape[0], count, wide.shape[1] // count)
        return inside[:, :, reach : inside.shape[2] - reach].transpose(1, 0, 2)


@dataclass(frozen=True, slots=True)
class Level:
    """The trained transform of one level: rows first, then the columns of each half with weights of their own."""

    rows: Lift
    low_cols: Lift
    high_cols: Lift

    def split_stack(self, planes: Stack) -> tuple[Stack, Stack, Stack, Stack]:
        """(ll, hl, lh, hh) of planes ``(component, row, col)``; as ``lifting.split_levels``."""
        parts: tuple[list[Stack], ...] = ([], [], [], [])
        for some in _portions(planes):
            low, high = self.rows.split_stack(some)
            ll, hl = self.low_cols.split_stack(low.transpose(0, 2, 1))
            lh, hh = self.high_cols.split_stack(high.transpose(0, 2, 1))
            for part, found in zip(parts, (ll, hl, lh, hh), strict=True):
                part.append(found.transpose(0, 2, 1))
        ll, hl, lh, hh = (np.ascontiguousarray(np.concatenate(part)) for part in parts)
        return ll, hl, lh, hh

    def join_stack(self, ll: Stack, hl: Stack, lh: Stack, hh: Stack) -> Stack:
        """The planes whose :meth:`split_stack` is the four arguments, integer-exact."""
        planes = np.empty((ll.shape[0], ll.shape[1] + lh.shape[1], ll.shape[2] + hl.shape[2]), np.int32)
        at = 0
        for some in zip(_portions(ll), _portions(hl, ll), _portions(lh, ll), _portions(hh, ll), strict=True):
            turned = [part.transpose(0, 2, 1) for part in some]
            low = self.low_cols.join_stack(turned[0], turned[1]).transpose(0, 2, 1)
            high = self.high_cols.join_stack(turned[2], turned[3]).transpose(0, 2, 1)
            planes[at : at + len(low)] = self.rows.join_stack(low, high)
            at += len(low)
        return planes


def _portions(planes: Stack, like: Stack | None = None) -> list[Stack]:
    """Some planes at a time, so many that they stay in a processor's cache."""
    shape = planes.shape if like is None else like.shape
    count = max(1, _PORTION // max(1, shape[1] * shape[2]))
    return [planes[at : at + count] for at in range(0, len(planes), count)]


def _wide(planes: Stack, reach: int) -> Plane:
    """Planes side by side, ``(row, component x (col + 2 reach))``, their edge samples repeated to either side."""
    count, rows, cols = planes.shape
    wide = np.empty((rows, count, cols + 2 * reach), np.int32)
    wide[:, :, reach : reach + cols] = planes.transpose(1, 0, 2)
    flat = wide.reshape(rows, count * (cols + 2 * reach))
    if planes.size:
        _repeat_edges(flat, count, reach)
    return flat


@numba.njit("int64(int64, int64)", cache=True, nogil=True)
def mirrored(position: int, length: int) -> int:
    """A position of ``[0, length)`` that a position beyond the edges stands for; the edge sample is not repeated.

    Even positions stay even and odd ones odd, so each half is extended from itself.
    """
    if length == 1:
        return 0
    period = 2 * (length - 1)
    position = abs(position) % period
    return period - position if position > length - 1 else position


@numba.njit("void(int32[:,::1], int64, int64)", cache=True, nogil=True)
def _repeat_edges(wide: Plane, count: int, reach: int) -> None:
    width = wide.shape[1] // count
    for r in range(wide.shape[0]):
        for k in range(count):
            start, end = k * width, (k + 1) * width
            for c in range(reach):
                wide[r, start + c] = wide[r, start + reach]
                wide[r, end - 1 - c] = wide[r, end - 1 - reach]


@numba.njit("void(int64[::1], int64, int64, int32[::1], int32[::1], int64)", cache=True, nogil=True)
def _add_pair(answer: Rows, weight: int, shift: int, one: Row, other: Row, edge: int) -> None:
    # Plain counters over whole slices: the compiler turns these into vector instructions.
    inside = answer[edge : answer.shape[0] - edge]
    first, second = one[edge + shift :], other[edge + shift :]
    for c in range(inside.shape[0]):
        inside[c] += weight * np.int64(first[c]) + weight * np.int64(second[c])


@numba.njit("void(int64[::1], int64, int64, int32[::1], int32[::1], int64)", cache=True, nogil=True)
def _add_four(answer: Rows, weight: int, shift: int, one: Row, other: Row, edge: int) -> None:
    inside = answer[edge : answer.shape[0] - edge]
    left1, left2 = one[edge - shift :], other[edge - shift :]
    right1, right2 = one[edge + shift :], other[edge + shift :]
    for c in range(inside.shape[0]):
        total = np.int64(left1[c]) + np.int64(right1[c]) + np.int64(left2[c]) + np.int64(right2[c])
        inside[c] += weight * total


@numba.njit("void(int32[::1], int32[::1], int64, int64[::1])", cache=True, nogil=True)
def _add_change(one: Row, other: Row, shift: int, total: Rows) -> None:
    later = other[shift:]
    for c in range(later.shape[0]):
        total[c] += abs(np.int64(later[c]) - np.int64(one[c]))


@numba.njit("void(int64[::1], int64[::1], int64, int64, int64)", cache=True, nogil=True)
def _add_boxes(activity: Rows, change: Rows, edge: int, start: int, width: int) -> None:
    inside = activity[edge : activity.shape[0] - edge]
    for k in range(width):
        part = change[edge + start + k :]
        for c in range(inside.shape[0]):
            inside[c] += part[c]


@numba.njit("void(int64[::1], int64[::1], int64, int64[::1])", cache=True, nogil=True)
def _add_clamped(answer: Rows, unit: Rows, weight: int, activity: Rows) -> None:
    for c in range(answer.shape[0]):
        answer[c] += weight * min(max(unit[c] >> FIRST_SHIFT, -activity[c]), activity[c])


@numba.njit("void(int32[:,::1], int64[::1], int16[:,::1], int64[::1], int64)", cache=True, nogil=True)
def _measure_unit(source: Plane, nearest: Rows, weights: NDArray[np.int16], unit: Rows, edge: int) -> None:
    half = weights.shape[1] // 2
    inside = unit[edge : unit.shape[0] - edge]
    unit[:] = 1 << (FIRST_SHIFT - 1)
    for i in range(weights.shape[0]):
        for k in range(weights.shape[1]):
            weight, part = np.int64(weights[i, k]), source[nearest[i], edge + k - half :]
            for c in range(inside.shape[0]):
                inside[c] += weight * np.int64(part[c])


@numba.njit(
    "void(int32[:,::1], int32[:,::1], int64, int64, int64, int16[:,::1], int16[:,:,::1], int16[::1], int64)",
    cache=True, nogil=True,
)
def apply_step(
    target: Plane, source: Plane, count: int, edge: int, is_update: int, taps: NDArray[np.int16],
    first: NDArray[np.int16], second: NDArray[np.int16], sign: int,
) -> None:
    """Add ``sign`` x the step's answer to each row of ``target``.

    ``target`` and ``source`` hold ``count`` planes side by side, each with ``edge`` samples more to either side. The
    nearest source rows of row r are r and r + 1 for a prediction, r - 1 and r for an update. Rows beyond an edge are
    mirrored, columns beyond an edge repeat it.
    """
    rows, width = target.shape
    if source.shape[0] == 0 or rows == 0 or width == 0:
        return
    hidden, network_depth, half = first.shape[0], first.shape[1] // 2, first.shape[2] // 2
    if hidden == 0:
        network_depth = half = 0
    depth = max(taps.shape[0], network_depth)
    length, top, height = rows + source.shape[0], depth - network_depth, 2 * network_depth
    changes = max(1, height * 2 * half + (height - 1) * (2 * half + 1))
    scale = ((1 << ACTIVITY_SHIFT) + changes // 2) // changes
    nearest = np.zeros(2 * depth, np.int64)
    answer, unit, activity = np.zeros(width, np.int64), np.zeros(width, np.int64), np.zeros(width, np.int64)
    change = np.zeros(width, np.int64)
    for r in range(rows):
        for i in range(2 * depth):
            position = 2 * (r - depth + 1 + i) - 1 if is_update else 2 * (r - depth + 1 + i)
            nearest[i] = mirrored(position, length) >> 1
        answer[:] = 1 << (TAP_SHIFT - 1)
        for m in range(taps.shape[0]):
            above, below = source[nearest[depth - 1 - m]], source[nearest[depth + m]]
            _add_pair(answer, np.int64(taps[m, 0]), 0, above, below, edge)
            for k in range(1, taps.shape[1]):
                _add_four(answer, np.int64(taps[m, k]), k, above, below, edge)
        if hidden > 0:
            activity[:] = 0
            change[:] = 0
            for i in range(top, top + height):
                _add_change(source[nearest[i]], source[nearest[i]], 1, change)
            _add_boxes(activity, change, edge, -half, 2 * half)
            change[:] = 0
            for i in range(top + 1, top + height):
                _add_change(source[nearest[i - 1]], source[nearest[i]], 0, change)
            _add_boxes(activity, change, edge, -half, 2 * half + 1)
            for c in range(width):
                activity[c] = (activity[c] * scale) >> ACTIVITY_SHIFT
            for j in range(hidden):
                _measure_unit(source, nearest[top:], first[j], unit, edge)
                _add_clamped(answer, unit, np.int64(second[j]), activity)
        row = target[r]
        for c in range(edge, width - edge):
            row[c] = np.int32(row[c] + sign * (answer[c] >> TAP_SHIFT))
    _repeat_edges(target, count, edge)
