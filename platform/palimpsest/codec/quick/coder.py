"""The quick coder of quantised samples: one adaptive distribution of sixteen symbols a sample, signs as plain bits.

Around each sample the magnitudes that are known (four neighbours and two further ones in its plane, all components
before with fading memory, the coarser level, the orientations before) are summed with fixed weights to an expected
magnitude. It chooses one of 80 distributions, half an octave apart and apart for the two quantisers, and how many low
bits of the magnitude are sent as they are; the rest is one symbol of 0 to 14, or 15 and what is above by Elias gamma.
One interval of a range coder is split per sample, where the mixing coder splits two or three after fourteen views and
a network each: ten times faster, for 4 to 10 % more bytes.

Source: range coding after Martin 1979; distributions that adapt as cumulative counts, many lanes at a time, after
Terriberry's coder in AV1 (https://arxiv.org/abs/2008.06091, section on symbol coding).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.quantisation.cells import blank_hints
from palimpsest.codec.quantisation.trellis import SIXTEEN
from palimpsest.codec.quick.kernel import (
    AT,
    BEYOND,
    BITS,
    CLASSES,
    END,
    MARGIN,
    RAW,
    RAW_AT,
    RAW_END,
    RAW_HELD,
    VALUE,
    WAITING,
    WEIGHTS,
    code_samples,
    first_counts,
)
from palimpsest.errors import StreamCorrupt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.codec.quantisation.trellis import Trellis

    Stack = NDArray[np.int32]
    Sizes = NDArray[np.uint8]
    Cells = NDArray[np.int64]
    Known = list[tuple[Stack, Sizes]]

_BYTES_A_SAMPLE = 8
_ROOM = 1 << 16
_LENGTH = struct.Struct("<I")
_NOTHING = np.zeros((0, 0, 0), np.uint8)


@dataclass(frozen=True, slots=True)
class QuickState:
    """What the quick coder has learnt in a tile.

    Args:
        counts: cumulative distributions, ``(side x class, symbol)`` int32.
        used: how often each was, ``(side x class,)`` int64, at most 255.
        bits: adaptive probabilities of a one, ``(BITS,)`` int64, 16 bits.
    """

    counts: NDArray[np.int32]
    used: Cells
    bits: Cells
    trellis: Trellis = SIXTEEN

    def copy(self) -> QuickState:
        """An independent state that continues from here."""
        return QuickState(self.counts.copy(), self.used.copy(), self.bits.copy())


@cache
def first_state() -> QuickState:
    """The state at the start of every tile."""
    return QuickState(first_counts(), np.zeros(2 * CLASSES, np.int64), np.full(BITS, 1 << 15, np.int64))


class QuickEncoder:
    """Collects stacks into one chunk; as :class:`palimpsest.codec.entropy.planes.ChunkEncoder`.

    Args:
        state: what was learnt so far; it learns from what is coded.
        samples: how many samples will be coded at most.
        known: magnitudes of the parts of this tile that were coded before; grows.
    """

    def __init__(self, state: QuickState, samples: int, known: Known) -> None:
        self._state, self._known = state, known
        self._coder = np.array([0, (1 << 31) - 1, 0, 0, 0, 0, 0, 0, 0], np.int64)
        self._buffer = np.empty(samples * _BYTES_A_SAMPLE + _ROOM, np.uint8)
        self._raw = np.empty(samples * _BYTES_A_SAMPLE + _ROOM, np.uint8)
        self.hints = blank_hints()

    def code(
        self, planes: Stack, *, level: int, orientation: int, parents: Stack | None = None,
        siblings: Sequence[Stack] = (), dependent: bool = True,
    ) -> None:
        """Append a stack ``(component, row, col)`` int32; see :class:`palimpsest.codec.entropy.planes.ChunkEncoder`."""
        work = (self._state, self._coder, self._buffer, self._raw, self._known)
        _run(*work, np.ascontiguousarray(planes), orientation, parents, siblings, encoding=True)
        if int(self._coder[AT]) > self._buffer.size:
            raise OverflowError("range coder buffer too small")

    def finish(self) -> bytes:
        """The chunk's bytes: length of what the range coder wrote, that, and the plain bits."""
        coder = self._coder
        ready, waiting = bytearray(self._buffer[: int(coder[AT])].tobytes()), int(coder[WAITING])
        # A number inside the interval that ends in zeros; what follows a chunk reads as zeros.
        last = (int(coder[VALUE]) + (1 << 30) - 1) >> 30
        if last >> (waiting + 1):
            back = len(ready) - 1
            while ready[back] == 255:
                ready[back] = 0
                back -= 1
            ready[back] += 1
        last &= (1 << (waiting + 1)) - 1
        ready += (last << (-(waiting + 1) % 8)).to_bytes((waiting + 8) // 8, "big")
        coded = bytes(ready).rstrip(b"\x00")
        plain = self._raw[: int(coder[RAW_AT])].tobytes()
        if coder[RAW_HELD]:
            plain += bytes([int(coder[RAW]) & 255])
        return _LENGTH.pack(len(coded)) + coded + plain.rstrip(b"\x00")


class QuickDecoder:
    """Reads the stacks of one chunk in the order in which they were coded."""

    def __init__(self, state: QuickState, data: bytes, known: Known) -> None:
        if len(data) < _LENGTH.size or _LENGTH.unpack_from(data)[0] > len(data) - _LENGTH.size:
            raise StreamCorrupt("a chunk is shorter than it says", got=len(data))
        end = _LENGTH.size + int(_LENGTH.unpack_from(data)[0])
        self._state, self._known = state, known
        self._buffer = np.frombuffer(data[_LENGTH.size : end], np.uint8).copy()
        self._raw = np.frombuffer(data[end:], np.uint8).copy()
        start = int.from_bytes(self._buffer[:6].tobytes().ljust(6, b"\x00"), "big") << 15
        self._coder = np.array([start, (1 << 31) - 1, 15, 6, self._buffer.size, 0, 0, 0, self._raw.size], np.int64)
        self.hints = blank_hints()

    def read(
        self, shape: tuple[int, int, int], *, level: int, orientation: int, parents: Stack | None = None,
        siblings: Sequence[Stack] = (), dependent: bool = True,
    ) -> Stack:
        """The next stack, ``(component, row, col)`` int32."""
        planes = np.zeros(shape, np.int32)
        work = (self._state, self._coder, self._buffer, self._raw, self._known)
        _run(*work, planes, orientation, parents, siblings, encoding=False)
        coder = self._coder
        if coder[AT] > coder[END] + BEYOND or coder[RAW_AT] > coder[RAW_END] + BEYOND:
            raise StreamCorrupt("a chunk ends before its samples do", got=self._buffer.size + self._raw.size)
        return planes


def _run(
    state: QuickState, coder: Cells, buffer: Sizes, raw: Sizes, known: Known, planes: Stack, orientation: int,
    parents: Stack | None, siblings: Sequence[Stack], *, encoding: bool,
) -> None:
    if planes.size == 0:
        return
    components, rows, cols = planes.shape
    sizes = np.zeros((components, rows + 2 * MARGIN, cols + 2 * MARGIN), np.uint8)
    above = _sizes_of(known, parents)
    blank = np.zeros_like(sizes)
    beside = [found if (found := _sizes_of(known, sibling)).size else blank for sibling in siblings]
    beside += [blank] * (2 - len(beside))
    code_samples(
        planes, sizes, above, *beside, orientation, above.size > 0, WEIGHTS[orientation], state.counts, state.used,
        state.bits, coder, buffer, raw, encoding,
    )
    known.append((planes, sizes))


def _sizes_of(known: Known, stack: Stack | None) -> Sizes:
    """Magnitudes with margins of a stack that was coded before."""
    return next((sizes for of, sizes in known if of is stack), _NOTHING)
