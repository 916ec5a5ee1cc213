"""The dependent quantiser with steps that follow importance, in integers on the decoder's side.

A detail sample of level l spreads into the plane by the gain of its synthesis function, so its step is the plane's step
divided by that gain. Pixels that matter more have finer steps: a gain in half octaves for each block of 8 x 8 pixels,
transmitted. A decoded sample stands where the model's table says (:mod:`palimpsest.codec.quantisation.cells`), its
magnitude pulled towards zero by what the encoder measured beyond that (1/256 of a step), for ones and for larger ones
apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

from palimpsest.codec.quantisation import cells, rdoq
from palimpsest.codec.quantisation.cells import row_of
from palimpsest.codec.quantisation.trellis import SIXTEEN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.codec.quantisation.cells import Hints, Offsets
    from palimpsest.codec.quantisation.trellis import Trellis

    Stack = NDArray[np.int32]

BLOCK = 8  # pixels that share one importance gain
GAIN_STEPS = 16  # half octaves, the middle one neutral
NEUTRAL = 8
UNION = 0.6  # step of the union of both dependent quantisers, in steps of the plain quantiser of about equal error
GAINS = np.array([round(1024 * 2 ** ((step - NEUTRAL) / 2)) for step in range(GAIN_STEPS)], np.int64)


@dataclass(frozen=True, slots=True)
class Pull:
    """How far decoded magnitudes are pulled towards zero, in 1/256 step: of ones and of larger ones."""

    ones: int
    larger: int


def unit_step(fraction_bits: int, gain: float) -> int:
    """Step of a part of the pyramid, of the union of both quantisers, in 1/256 of a component sample's unit."""
    return max(1, round((256 << fraction_bits) * UNION / gain))


def block_gains(gains: NDArray[np.uint8] | None, shape: tuple[int, int], reach: int) -> NDArray[np.int64] | None:
    """Gain of each sample of a part in 1/1024, ``shape``; None where all are neutral.

    Args:
        gains: half octaves a block, ``(block row, block col)``.
        shape: rows and columns of the part.
        reach: pixels that a sample stands for along each axis (2^level).
    """
    if gains is None:
        return None
    rows = np.minimum((np.arange(shape[0]) * reach + reach // 2) // BLOCK, gains.shape[0] - 1)
    cols = np.minimum((np.arange(shape[1]) * reach + reach // 2) // BLOCK, gains.shape[1] - 1)
    table: NDArray[np.int64] = GAINS[gains[np.ix_(rows, cols)]]
    return table


def quantise(
    samples: NDArray[np.int32], step: int, gains: NDArray[np.int64] | None, passes: int = rdoq.PASSES,
    trellis: Trellis = SIXTEEN,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Quantised samples ``(component, row, col)``, and the samples in steps of both quantisers' union.

    Args:
        samples: ``(component, row, col)``.
        step: of the part, see :func:`unit_step`.
        gains: of each sample, or None.
        passes: of the trellis.
        trellis: its states.
    """
    scaled = np.empty(samples.shape, np.float32)
    local = np.full(samples.shape[1:], 1024, np.int64) if gains is None else gains
    _scale(np.ascontiguousarray(samples), local * (256.0 / step / 1024), scaled)
    return rdoq.quantise_dependent(scaled, passes=passes, trellis=trellis), scaled


def pull_of(
    quantised: NDArray[np.int32], scaled: NDArray[np.float32], trellis: Trellis = SIXTEEN,
    hints: Hints | None = None, offsets: Offsets | None = None,
) -> Pull:
    """How far magnitudes are to be pulled, measured on what :func:`quantise` gave; see :func:`dequantise`."""
    sums = np.zeros((3, 2))
    noted, table = _looked_up(hints, offsets)
    _measure_pulls(quantised, scaled, noted, table, trellis.following, trellis.sides, sums)
    return Pull(_mean_pull(*sums[1]), _mean_pull(*sums[2]))


def _looked_up(hints: Hints | None, offsets: Offsets | None) -> tuple[Hints, Offsets]:
    if hints is None or offsets is None or not offsets.size:
        return cells.blank_hints(), cells.blank()
    return hints, offsets


def _mean_pull(total: float, count: float) -> int:
    return int(np.clip(round(total / count * 256), -127, 127)) if count else 0


def dequantise(
    quantised: NDArray[np.int32], step: int, gains: NDArray[np.int64] | None, pull: Pull, trellis: Trellis = SIXTEEN,
    hints: Hints | None = None, offsets: Offsets | None = None,
) -> NDArray[np.int32]:
    """Samples ``(component, row, col)`` int32 in component units; integer arithmetic.

    Args:
        quantised: of the dependent quantiser.
        step: of the part, see :func:`unit_step`.
        gains: of each sample, or None.
        pull: of magnitudes.
        trellis: states of the quantiser.
        hints: of each sample, what the coder noted of it; where there are offsets.
        offsets: the model's table; None or a blank one moves nothing.
    """
    rebuilt = np.empty(quantised.shape, np.int32)
    local = np.zeros((0, 0), np.int64) if gains is None else gains
    pulls = np.array([0, pull.ones, pull.larger], np.int64)
    noted, table = _looked_up(hints, offsets)
    _rebuild(
        np.ascontiguousarray(quantised), step, local, pulls, noted, table, trellis.following, trellis.sides, rebuilt
    )
    return rebuilt


@numba.njit("void(int32[:,:,::1], float64[:,::1], float32[:,:,::1])", cache=True, nogil=True)
def _scale(samples: Stack, factors: NDArray[np.float64], scaled: NDArray[np.float32]) -> None:
    for k in range(samples.shape[0]):
        for r in range(samples.shape[1]):
            for c in range(samples.shape[2]):
                scaled[k, r, c] = np.float32(samples[k, r, c] * factors[r, c])


@numba.njit(
    "void(int32[:,:,::1], float32[:,:,::1], uint16[:,:,::1], int16[:,::1], int64[:,::1], int64[::1], float64[:,::1])",
    cache=True, nogil=True,
)
def _measure_pulls(
    quantised: Stack, scaled: NDArray[np.float32], hints: Hints, offsets: Offsets, following: NDArray[np.int64],
    sides: NDArray[np.int64], sums: NDArray[np.float64],
) -> None:
    """What ones (row 1) and larger magnitudes (row 2) stand for beyond the samples: sums, and how many there are."""
    looks_up = offsets.size > 0
    for k in range(quantised.shape[0]):
        state = np.int64(0)
        for r in range(quantised.shape[1]):
            for c in range(quantised.shape[2]):
                size = np.int64(abs(quantised[k, r, c]))
                row = size if size < 2 else np.int64(2)
                real = scaled[k, r, c] if quantised[k, r, c] > 0 else -scaled[k, r, c]
                point = np.float64(2 * size - sides[state])
                if looks_up:
                    hint = np.int64(hints[k, r, c])
                    point += offsets[row_of(np.int64(quantised[k, r, c]), sides[state], hint), hint >> 1] / 256.0
                sums[row, 0] += point - np.float64(real)
                sums[row, 1] += 1
                state = following[state, size & 1]


@numba.njit(
    "void(int32[:,:,::1], int64, int64[:,:], int64[::1], uint16[:,:,::1], int16[:,::1], int64[:,::1], int64[::1],"
    "int32[:,:,::1])",
    cache=True, nogil=True,
)
def _rebuild(
    quantised: Stack, step: int, gains: NDArray[np.int64], pulls: NDArray[np.int64], hints: Hints, offsets: Offsets,
    following: NDArray[np.int64], sides: NDArray[np.int64], rebuilt: Stack,
) -> None:
    weighs, looks_up = gains.size > 0, offsets.size > 0
    for k in range(quantised.shape[0]):
        state = np.int64(0)
        for r in range(quantised.shape[1]):
            for c in range(quantised.shape[2]):
                value = np.int64(quantised[k, r, c])
                size, is_positive, moved = abs(value), value > 0, np.int64(0)
                if looks_up:
                    hint = np.int64(hints[k, r, c])
                    moved = np.int64(offsets[row_of(value, sides[state], hint), hint >> 1])
                    is_positive = is_positive if size > 0 else (hint & 1) == 0
                if size == 0 and moved == 0:
                    rebuilt[k, r, c] = 0
                else:
                    point = 2 * size - sides[state] if size > 0 else np.int64(0)
                    # In 1/65536 of a unit.
                    product = ((point << 8) - pulls[size if size < 2 else np.int64(2)] + moved) * step
                    if weighs:
                        product = (product << 10) // gains[r, c]
                    limited = np.int32(min((product + (1 << 15)) >> 16, (1 << 26) - 1))
                    rebuilt[k, r, c] = limited if is_positive else -limited
                state = following[state, size & 1]
