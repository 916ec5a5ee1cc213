"""Which quantiser comes next: the states of the dependent quantiser, driven by the parities of the samples.

Four states are those of VVC. The sixteen are the best of all linear ones with a shift register, by their error on a
uniform source: 1.23 dB better than a plain quantiser where four states gain 1.05 and eight 1.17.

Source: ITU-T H.266 7.3.11; Marcellin and Fischer 1990, IEEE Trans. Communications 38 (trellis coded quantization).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Trellis:
    """States of the dependent quantiser.

    Args:
        following: the state after an even and an odd sample, ``(state, 2)`` int64.
        sides: which of the two quantisers a state uses, ``(state,)`` int64, 0 or 1.
    """

    following: NDArray[np.int64]
    sides: NDArray[np.int64]


def _shift_register(bits: int, feedback: int, entry: int, side: int) -> Trellis:
    """Linear over bits: the state moves up by one, its top becomes a parity of it; an odd sample flips ``entry``."""
    states = 1 << bits

    def parity(value: int) -> int:
        return value.bit_count() & 1

    def step(state: int, odd: int) -> int:
        moved = (state >> 1) | (parity(state & feedback) << (bits - 1))
        return moved ^ (entry if odd else 0)

    following = [[step(state, odd) for odd in range(2)] for state in range(states)]
    return Trellis(np.array(following, np.int64), np.array([parity(s & side) for s in range(states)], np.int64))


FOUR = Trellis(np.array([[0, 2], [2, 0], [1, 3], [3, 1]], np.int64), np.array([0, 0, 1, 1], np.int64))
SIXTEEN = _shift_register(bits=4, feedback=3, entry=2, side=10)
