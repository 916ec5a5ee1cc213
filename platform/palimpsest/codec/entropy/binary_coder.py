"""A binary arithmetic coder in 32 bits, carryless, integer throughout.

The state is an int64 array so that compiled kernels can pass it on: low end, high end, the decoder's window, position
in the buffer, and whether the buffer overflowed. The end of the data reads as zeros, so one byte closes a stream.

Source: the carryless range coder of Mahoney 2005 (PAQ), after Subbotin 1999, with 16-bit probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOW, HIGH, WINDOW, POSITION, OVERFLOW = range(5)
_TOP = 0xFF000000
_ALL = 0xFFFFFFFF


def new_encoder() -> NDArray[np.int64]:
    """The state of an encoder that has written nothing."""
    return np.array([0, _ALL, 0, 0, 0], np.int64)


def new_decoder(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The state of a decoder at the start of ``data``."""
    window = 0
    for at in range(4):
        window = (window << 8) | (int(data[at]) if at < data.size else 0)
    return np.array([0, _ALL, window, 4, 0], np.int64)


@numba.njit("int64(int64,int64,int64[::1],uint8[::1],boolean)", cache=True, nogil=True, inline="always")
def code_bit(
    bit: int, probability: int, coder: NDArray[np.int64], buffer: NDArray[np.uint8], encoding: bool
) -> int:
    """Encode ``bit``, or decode and return one, given the probability of a one in 1/65536 (1 to 65535)."""
    low, high = coder[LOW], coder[HIGH]
    middle = low + (((high - low) * probability) >> 16)
    if not encoding:
        bit = 1 if coder[WINDOW] <= middle else 0
    if bit == 1:
        high = middle
    else:
        low = middle + 1
    while ((low ^ high) & _TOP) == 0:
        at = coder[POSITION]
        if encoding:
            if at < buffer.size:
                buffer[at] = high >> 24
            else:
                coder[OVERFLOW] = 1
        else:
            following = np.int64(buffer[at]) if at < buffer.size else np.int64(0)
            coder[WINDOW] = ((coder[WINDOW] << 8) & _ALL) | following
        coder[POSITION] = at + 1
        low = (low << 8) & _ALL
        high = ((high << 8) & _ALL) | 255
    coder[LOW], coder[HIGH] = low, high
    return bit


def finished(coder: NDArray[np.int64], buffer: NDArray[np.uint8]) -> bytes:
    """Bytes of an encoder's stream, closed by the fewest bytes that decode alike.

    Raises:
        OverflowError: the buffer was too small for what was coded.
    """
    at = int(coder[POSITION])
    if coder[OVERFLOW] or at + 1 > buffer.size:
        raise OverflowError("range coder buffer too small")
    # Low and high differ in their top byte, so this value lies between them; what follows reads as zeros.
    buffer[at] = ((int(coder[LOW]) >> 24) + 1) & 0xFF if coder[LOW] > 0 else 0
    return buffer[: at + 1].tobytes().rstrip(b"\x00")
