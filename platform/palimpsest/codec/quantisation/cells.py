"""Where in its cell a sample stands: offsets by what was expected of it, learnt from training scenes.

A quantised sample says in which cell the real one lay, not where. What the coder expected of it says more: a zero where
the signed guess was sure is probably a small sample of the guess's sign, a one that nobody expected is probably small.
The coder notes for every sample a hint (the network's odds that it is not zero, those that the guess's sign is right,
and that sign), which the decoder has as well; a table of the model says for each hint where the sample is put. What is
left is measured by the encoder and sent (:class:`palimpsest.codec.quantisation.quantiser.Pull`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from palimpsest.errors import FormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hints = NDArray[np.uint16]
    Offsets = NDArray[np.int16]
    Sums = NDArray[np.float64]
    Stack = NDArray[np.int32]
    Tensors = dict[str, NDArray[np.generic]]

ROWS = 12  # (zero, one, larger) x quantiser x whether the guess is of the other sign
HINTS = 256  # odds that it is not zero, halves of their logarithm, x odds that the guess has its sign, eighths
FARTHEST = 255  # offset in 1/256 of the step of both quantisers' union
FEWEST = 100  # samples that a hint is believed to have seen elsewhere, at no offset
PREFIX = "cells."
NAME = PREFIX + "offsets"


def blank() -> Offsets:
    """Of a model that has none: every sample stands where the encoder measured."""
    return np.zeros((0, HINTS), np.int16)


def blank_hints() -> Hints:
    """Where nothing was noted."""
    return np.zeros((0, 0, 0), np.uint16)


def packed(offsets: Offsets) -> Tensors:
    """Tensors of a table."""
    return {NAME: offsets}


def unpacked(tensors: Tensors) -> Offsets:
    """The table of its tensors, ``(ROWS, HINTS)``; :func:`blank` where there are none.

    Raises:
        FormatError: of another shape, or offsets beyond a step.
    """
    if not tensors:
        return blank()
    table = tensors.get(NAME)
    if len(tensors) > 1 or table is None or table.shape != (ROWS, HINTS) or table.dtype != np.int16:
        raise FormatError("a table of offsets that does not fit", got=sorted(tensors), wanted=(NAME, ROWS, HINTS))
    if int(np.abs(table.astype(np.int64)).max()) > FARTHEST:
        raise FormatError("offsets beyond a step", got=int(np.abs(table.astype(np.int64)).max()), wanted=FARTHEST)
    return np.ascontiguousarray(table, np.int16)


@numba.njit("int64(int64, int64, int64)", cache=True, nogil=True)
def hint_of(odds: int, leaning: int, guess: int) -> int:
    """What is noted of a sample.

    Args:
        odds: logarithm of the odds that it is not zero, in 1/256.
        leaning: logarithm of the odds that a one would have the guess's sign, in 1/256.
        guess: its sign counts; 0 is none.
    """
    likely = min(max(odds + 1024, 0), 2047) >> 7
    sure = 0 if guess == 0 else min(max(leaning + 64, 0), 511) >> 5
    return (likely << 5) | (sure << 1) | (1 if guess < 0 else 0)


@numba.njit("int64(int64, int64, int64)", cache=True, nogil=True)
def row_of(value: int, side: int, hint: int) -> int:
    """Row of the table for a sample of one of both quantisers."""
    kind = min(abs(value), 2)
    against = 1 if kind > 0 and (value < 0) != ((hint & 1) == 1) else 0
    return (kind * 2 + side) * 2 + against


@numba.njit(
    "void(int32[:,:,::1], float32[:,:,::1], uint16[:,:,::1], int64[:,::1], int64[::1], float64[:,:,::1])",
    cache=True, nogil=True,
)
def gather(
    quantised: Stack, scaled: NDArray[np.float32], hints: Hints, following: NDArray[np.int64],
    sides: NDArray[np.int64], sums: Sums,
) -> None:
    """Add up how far samples are from their points, away from zero (of zeros, along the guess).

    Args:
        quantised: ``(component, row, col)``.
        scaled: the samples themselves, in steps of the union of both quantisers.
        hints: of each.
        following: states of the quantiser, as in :class:`~palimpsest.codec.quantisation.trellis.Trellis`.
        sides: see there.
        sums: ``(ROWS, HINTS, 2)``: sums, and how many there were.
    """
    for k in range(quantised.shape[0]):
        if not np.any(quantised[k]):
            continue
        state = np.int64(0)
        for r in range(quantised.shape[1]):
            for c in range(quantised.shape[2]):
                value, hint = np.int64(quantised[k, r, c]), np.int64(hints[k, r, c])
                size, side = abs(value), sides[state]
                point = 2 * size - side if size > 0 else np.int64(0)
                is_negative = value < 0 if size > 0 else (hint & 1) == 1
                real = -scaled[k, r, c] if is_negative else scaled[k, r, c]
                row = row_of(value, side, hint)
                sums[row, hint >> 1, 0] += min(max(real - point, -4.0), 4.0)
                sums[row, hint >> 1, 1] += 1
                state = following[state, size & 1]


def learnt(sums: Sums) -> Offsets:
    """The table of what :func:`gather` found; a zero is put nowhere but on the guess's side, or stays."""
    offsets = np.rint(256 * sums[:, :, 0] / (sums[:, :, 1] + FEWEST))
    zeros = np.arange(ROWS) < ROWS // 3
    offsets[zeros] = np.maximum(offsets[zeros], 0)
    offsets[np.ix_(zeros, np.arange(HINTS) % 16 == 0)] = 0  # no guess to speak of
    return np.clip(offsets, -FARTHEST, FARTHEST).astype(np.int16)
