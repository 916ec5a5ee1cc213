"""The dependent quantiser with steps that follow importance, in integers on the decoder's side.

A detail sample of level l spreads into the plane by the gain of its synthesis function, so its step is the plane's
step divided by that gain. Pixels that matter more have finer steps: a gain in half octaves for each block of 8 x 8
pixels, transmitted. A decoded magnitude is pulled towards zero by what the encoder measured (1/256 of a step), for
ones and for larger magnitudes apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec import rdoq
from palimpsest.codec.trellis import SIXTEEN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.codec.trellis import Trellis

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
) -> tuple[NDArray[np.int32], Pull]:
    """Quantised samples ``(component, row, col)`` and the pull measured on them; ``passes`` of the trellis."""
    scale = 256.0 / step
    scaled = (samples * scale if gains is None else samples * (gains * (scale / 1024))).astype(np.float32)
    quantised = rdoq.quantise_dependent(scaled, passes=passes, trellis=trellis)
    doubled = np.empty_like(quantised)
    rdoq.dequantise_dependent(quantised, doubled, trellis)
    towards, magnitude = scaled * np.sign(doubled), np.abs(quantised)
    rebuilt = np.abs(doubled)
    return quantised, Pull(
        _mean_pull(rebuilt, towards, magnitude == 1), _mean_pull(rebuilt, towards, magnitude > 1)
    )


def _mean_pull(rebuilt: NDArray[np.int32], size: NDArray[np.float32], chosen: NDArray[np.bool_]) -> int:
    if not chosen.any():
        return 0
    return int(np.clip(round(float((rebuilt[chosen] - size[chosen]).mean(dtype=np.float64)) * 256), -127, 127))


def dequantise(
    quantised: NDArray[np.int32], step: int, gains: NDArray[np.int64] | None, pull: Pull, trellis: Trellis = SIXTEEN
) -> NDArray[np.int32]:
    """Samples ``(component, row, col)`` int32 in component units; integer arithmetic."""
    doubled = np.empty(quantised.shape, np.int32)
    rdoq.dequantise_dependent(np.ascontiguousarray(quantised), doubled, trellis)
    size = np.abs(quantised)
    magnitude = np.abs(doubled.astype(np.int64)) << 8
    magnitude -= np.where(size == 1, pull.ones, np.where(size > 1, pull.larger, 0))
    product = magnitude * step  # in 1/65536 of a unit
    if gains is not None:
        product = (product << 10) // gains
    rebuilt = (product + (1 << 15)) >> 16
    limited = np.minimum(rebuilt, (1 << 26) - 1)
    return np.where(quantised < 0, -limited, limited).astype(np.int32)
