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

from palimpsest.codec import lifting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.int32]
    Stack = NDArray[np.int32]
    Rows = NDArray[np.int64]

TAP_SHIFT = 14  # of `taps` and `second`
FIRST_SHIFT = 12  # of `first`
ACTIVITY_SHIFT = 20
LARGEST_REACH = 16  # columns


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

    def split(self, plane: Plane) -> tuple[Plane, Plane]:
        """Low and high rows of a plane."""
        low, high = plane[0::2].copy(), plane[1::2].copy()
        for index, step in enumerate(self.steps):
            target, source = (high, low) if index % 2 == 0 else (low, high)
            apply_step(target, source, index % 2, step.taps, step.first, step.second, 1)
        return low, high

    def join(self, low: Plane, high: Plane) -> Plane:
        """The plane whose :meth:`split` is ``(low, high)``."""
        low, high = low.copy(), high.copy()
        for index in (3, 2, 1, 0):
            step = self.steps[index]
            target, source = (high, low) if index % 2 == 0 else (low, high)
            apply_step(target, source, index % 2, step.taps, step.first, step.second, -1)
        plane = np.empty((low.shape[0] + high.shape[0], low.shape[1]), np.int32)
        plane[0::2], plane[1::2] = low, high
        return plane


    def join_stack(self, low: Stack, high: Stack) -> Stack:
        """As :meth:`join`, of many planes ``(component, row, col)`` at a time."""
        low, high = low.copy(), high.copy()
        for index in (3, 2, 1, 0):
            step = self.steps[index]
            target, source = (high, low) if index % 2 == 0 else (low, high)
            apply_steps(target, source, index % 2, step.taps, step.first, step.second, -1)
        planes = np.empty((low.shape[0], low.shape[1] + high.shape[1], low.shape[2]), np.int32)
        planes[:, 0::2], planes[:, 1::2] = low, high
        return planes


@dataclass(frozen=True, slots=True)
class Level:
    """The trained transform of one level: rows first, then the columns of each half with weights of their own."""

    rows: Lift
    low_cols: Lift
    high_cols: Lift

    def split(self, plane: Plane) -> tuple[Plane, Plane, Plane, Plane]:
        """(ll, hl, lh, hh) of a plane; as :func:`palimpsest.codec.lifting.split_level`."""
        low, high = self.rows.split(plane)
        ll, hl = self.low_cols.split(_turned(low))
        lh, hh = self.high_cols.split(_turned(high))
        return _turned(ll), _turned(hl), _turned(lh), _turned(hh)

    def join(self, ll: Plane, hl: Plane, lh: Plane, hh: Plane) -> Plane:
        """The plane whose :meth:`split` is the four arguments, integer-exact."""
        low = _turned(self.low_cols.join(_turned(ll), _turned(hl)))
        high = _turned(self.high_cols.join(_turned(lh), _turned(hh)))
        return self.rows.join(low, high)


    def join_stack(self, ll: Stack, hl: Stack, lh: Stack, hh: Stack) -> Stack:
        """As :meth:`join`, of many planes ``(component, row, col)`` at a time."""
        low = _turned_stack(self.low_cols.join_stack(_turned_stack(ll), _turned_stack(hl)))
        high = _turned_stack(self.high_cols.join_stack(_turned_stack(lh), _turned_stack(hh)))
        return self.rows.join_stack(low, high)


class PlainLevel:
    """CDF 9/7: a level without training."""

    split = staticmethod(lifting.split_level)
    join = staticmethod(lifting.join_level)
    join_stack = staticmethod(lifting.join_levels)


def _turned(plane: Plane) -> Plane:
    return np.ascontiguousarray(plane.T)


def _turned_stack(planes: Stack) -> Stack:
    return np.ascontiguousarray(planes.transpose(0, 2, 1))


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


@numba.njit("void(int64[::1], int32[::1], int64)", cache=True, nogil=True)
def _pad(out: Rows, row: NDArray[np.int32], edge: int) -> None:
    cols = row.shape[0]
    for c in range(edge):
        out[c] = row[0]
        out[edge + cols + c] = row[cols - 1]
    for c in range(cols):
        out[edge + c] = row[c]


@numba.njit("void(int64[::1], int64, int64[::1], int64[::1])", cache=True, nogil=True)
def _add_pair(answer: Rows, weight: int, one: Rows, other: Rows) -> None:
    # Plain counters over whole slices: the compiler turns these into vector instructions.
    for c in range(answer.shape[0]):
        answer[c] += weight * (one[c] + other[c])


@numba.njit("void(int64[::1], int64[::1], int64[::1])", cache=True, nogil=True)
def _add_change(total: Rows, one: Rows, other: Rows) -> None:
    for c in range(total.shape[0]):
        total[c] += abs(one[c] - other[c])


@numba.njit("void(int64[::1], int64[::1], int64[:,::1], int64, int64, int64, int64)", cache=True, nogil=True)
def _measure_activity(
    activity: Rows, change: Rows, window: Rows, top: int, height: int, edge: int, half: int
) -> None:
    cols, width = activity.shape[0], 2 * half + 1
    count = height * (width - 1) + (height - 1) * width
    scale = ((1 << ACTIVITY_SHIFT) + count // 2) // count
    start, length = edge - half, cols + 2 * half
    activity[:] = 0
    change[:] = 0
    for i in range(top, top + height):
        _add_change(change[: length - 1], window[i, start + 1 : start + length], window[i, start : start + length - 1])
    for k in range(width - 1):
        part = change[k : k + cols]
        for c in range(cols):
            activity[c] += part[c]
    change[:] = 0
    for i in range(top + 1, top + height):
        _add_change(change, window[i, start : start + length], window[i - 1, start : start + length])
    for k in range(width):
        part = change[k : k + cols]
        for c in range(cols):
            activity[c] += part[c]
    for c in range(cols):
        activity[c] = (activity[c] * scale) >> ACTIVITY_SHIFT


@numba.njit("void(int64[::1], int64[:,::1], int64, int64, int16[:,::1])", cache=True, nogil=True)
def _measure_unit(unit: Rows, window: Rows, top: int, edge: int, weights: NDArray[np.int16]) -> None:
    height, width = weights.shape
    cols = unit.shape[0]
    unit[:] = 1 << (FIRST_SHIFT - 1)
    for i in range(height):
        for k in range(width):
            start = edge + k - width // 2
            weight, part = np.int64(weights[i, k]), window[top + i, start : start + cols]
            for c in range(cols):
                unit[c] += weight * part[c]
    for c in range(cols):
        unit[c] >>= FIRST_SHIFT


@numba.njit("void(int64[::1], int64[:,::1], int64, int64, int16[:,::1])", cache=True, nogil=True)
def _add_linear(answer: Rows, window: Rows, depth: int, edge: int, taps: NDArray[np.int16]) -> None:
    cols = answer.shape[0]
    for m in range(taps.shape[0]):
        above, below = window[depth - 1 - m], window[depth + m]
        _add_pair(answer, np.int64(taps[m, 0]), above[edge : edge + cols], below[edge : edge + cols])
        for k in range(1, taps.shape[1]):
            tap, left, right = np.int64(taps[m, k]), edge - k, edge + k
            _add_pair(answer, tap, above[left : left + cols], below[left : left + cols])
            _add_pair(answer, tap, above[right : right + cols], below[right : right + cols])


@numba.njit(
    "void(int32[:,::1], int32[:,::1], int64, int16[:,::1], int16[:,:,::1], int16[::1], int64)", cache=True, nogil=True
)
def apply_step(
    target: Plane, source: Plane, is_update: int, taps: NDArray[np.int16], first: NDArray[np.int16],
    second: NDArray[np.int16], sign: int,
) -> None:
    """Add ``sign`` x the step's answer to each row of ``target``.

    The nearest source rows of row r are r and r + 1 for a prediction, r - 1 and r for an update. Rows beyond an edge
    are mirrored, columns beyond an edge repeat it.
    """
    rows, cols = target.shape
    if source.shape[0] == 0:
        return
    hidden, network_depth, half = first.shape[0], first.shape[1] // 2, first.shape[2] // 2
    if hidden == 0:
        network_depth = half = 0
    depth = max(taps.shape[0], network_depth)
    edge = max(taps.shape[1] - 1, half)
    length = rows + source.shape[0]
    window = np.empty((2 * depth, cols + 2 * edge), np.int64)
    answer, unit, activity = np.empty(cols, np.int64), np.empty(cols, np.int64), np.empty(cols, np.int64)
    change = np.empty(cols + 2 * half, np.int64)
    for r in range(rows):
        for i in range(2 * depth):
            position = 2 * (r - depth + 1 + i) - 1 if is_update else 2 * (r - depth + 1 + i)
            _pad(window[i], source[mirrored(position, length) >> 1], edge)
        answer[:] = 1 << (TAP_SHIFT - 1)
        _add_linear(answer, window, depth, edge, taps)
        if hidden > 0:
            top = depth - network_depth
            _measure_activity(activity, change, window, top, 2 * network_depth, edge, half)
            for j in range(hidden):
                _measure_unit(unit, window, top, edge, first[j])
                weight = np.int64(second[j])
                for c in range(cols):
                    answer[c] += weight * min(max(unit[c], -activity[c]), activity[c])
        for c in range(cols):
            target[r, c] = np.int32(target[r, c] + sign * (answer[c] >> TAP_SHIFT))


@numba.njit(
    "void(int32[:,:,::1], int32[:,:,::1], int64, int16[:,::1], int16[:,:,::1], int16[::1], int64)", cache=True,
    nogil=True,
)
def apply_steps(
    targets: Stack, sources: Stack, is_update: int, taps: NDArray[np.int16], first: NDArray[np.int16],
    second: NDArray[np.int16], sign: int,
) -> None:
    """:func:`apply_step` on plane after plane: calling it for each from Python takes longer than a small plane does."""
    for k in range(targets.shape[0]):
        apply_step(targets[k], sources[k], is_update, taps, first, second, sign)
