"""What the context mixer knows before the first sample: states learnt from training planes, stored sparsely.

A table of adaptive states is mostly untouched after training; only states asked at least ``ASKED`` times are kept, as
gaps between their places and 16-bit values: the probability in 11 bits and how often it was asked, up to 31, in 5. The
count stays small so that a scene soon overrules what other scenes taught. Mixer weights are kept row by row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.entropy import foresight, logistic
from palimpsest.codec.entropy.planes import MixerState
from palimpsest.errors import FormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[np.generic]]
    Table = NDArray[np.int32]

TABLES = ("magnitude", "sign", "flag")
PREFIX = "mixer."
ASKED = 3
LONGEST_GAP = 65535
CONFIDENCE = 24  # counts are cut to this, so that a scene soon overrules
_COUNT_BITS, _KEPT_BITS, _PROBABILITY_SHIFT = 10, 5, 9


def packed(state: MixerState) -> Tensors:
    """Tensors of a trained state; see the module."""
    parts = state.parts()
    tensors: Tensors = {}
    for number, name in enumerate(TABLES):
        states, weights = parts[2 * number], parts[2 * number + 1]
        tensors[f"{PREFIX}{name}.gaps"], tensors[f"{PREFIX}{name}.states"] = sparse(states)
        rows = np.flatnonzero(weights[:, -1])
        tensors[f"{PREFIX}{name}.rows"] = rows.astype(np.uint16)
        tensors[f"{PREFIX}{name}.weights"] = weights[rows].astype(np.int32)
    tensors[f"{PREFIX}expected"] = state.lms.astype(np.int32)
    return tensors


def unpacked(tensors: Tensors, foreseen: Tensors | None = None) -> MixerState:
    """The state of its tensors; one that has seen nothing where there are none.

    Args:
        tensors: of :func:`packed`.
        foreseen: tensors of the foresight network; a model without them is of the first version, which has no guess.

    Raises:
        FormatError: tensors that do not fit the tables.
    """
    state = MixerState.for_details(foresight.unpacked(foreseen)) if foreseen else MixerState.neutral()
    if not tensors:
        return state
    parts = state.parts()
    try:
        for number, name in enumerate(TABLES):
            fill(parts[2 * number], tensors[f"{PREFIX}{name}.gaps"], tensors[f"{PREFIX}{name}.states"])
            parts[2 * number + 1][tensors[f"{PREFIX}{name}.rows"]] = tensors[f"{PREFIX}{name}.weights"]
        state.lms[:] = tensors[f"{PREFIX}expected"]
        if foreseen:
            state.weights[:, -1] = 0  # young again, so that mixing follows the scene quickly: -0.07 % of the bytes
    except (KeyError, IndexError, ValueError) as err:
        raise FormatError("the mixer's first state does not fit this coder", where=str(err)) from err
    return state


def sparse(states: Table) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Gaps between the states that were asked, and what they know; see the module."""
    flat = states.ravel()
    kept = (flat & 1023) >= ASKED
    # A place at least every LONGEST_GAP, known or not, so that gaps fit.
    kept[:: LONGEST_GAP // 2] = True
    places = np.flatnonzero(kept)
    counts = np.minimum(flat[places] & 1023, CONFIDENCE)
    probabilities = flat[places] >> (_COUNT_BITS + _PROBABILITY_SHIFT)
    values = (probabilities << _KEPT_BITS) | counts
    return np.diff(places, prepend=0).astype(np.uint16), values.astype(np.uint16)


def fill(states: Table, gaps: NDArray[np.generic], values: NDArray[np.generic]) -> None:
    """Put into a fresh table what :func:`sparse` kept of another."""
    places = np.cumsum(gaps.astype(np.int64))
    numbers = values.astype(np.int64)
    counts = numbers & ((1 << _KEPT_BITS) - 1)
    # The middle of what 11 bits leave open.
    probabilities = ((numbers >> _KEPT_BITS) << _PROBABILITY_SHIFT) + (1 << (_PROBABILITY_SHIFT - 1))
    known = (probabilities << _COUNT_BITS) | counts
    states.reshape(-1)[places] = np.where(counts > 0, known, logistic.FRESH_STATE).astype(np.int32)
