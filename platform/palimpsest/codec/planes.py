"""Stacks of integer planes to bytes and back, by the context-mixing coder.

A chunk holds one or more stacks; the state of the mixer runs on from chunk to chunk of a tile, coarse to fine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec import plane_coder as mixing
from palimpsest.codec.binary_coder import finished, new_decoder, new_encoder
from palimpsest.errors import StreamCorrupt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Stack = NDArray[np.int32]

SIDE_LEVEL = 5
_BYTES_A_SAMPLE = 8


class ChunkEncoder:
    """Collects stacks into one chunk.

    Args:
        state: the mixer's state; it learns from what is coded.
        samples: how many samples will be coded at most.
    """

    def __init__(self, state: mixing.MixerState, samples: int) -> None:
        self._state = state
        self._coder = new_encoder()
        self._buffer = np.zeros(samples * _BYTES_A_SAMPLE + 256, np.uint8)

    def code(
        self, planes: Stack, *, level: int = SIDE_LEVEL, orientation: int = 0, parents: Stack | None = None,
        siblings: Sequence[Stack] = (),
    ) -> None:
        """Append a stack ``(component, row, col)`` int32."""
        _run(self._state, self._coder, self._buffer, planes, level, orientation, parents, siblings, encoding=True)

    def finish(self) -> bytes:
        """The chunk's bytes."""
        return finished(self._coder, self._buffer)


class ChunkDecoder:
    """Reads the stacks of one chunk in the order in which they were coded."""

    def __init__(self, state: mixing.MixerState, data: bytes) -> None:
        self._state = state
        self._buffer = np.frombuffer(data, np.uint8).copy()
        self._coder = new_decoder(self._buffer)

    def read(
        self, shape: tuple[int, int, int], *, level: int = SIDE_LEVEL, orientation: int = 0,
        parents: Stack | None = None, siblings: Sequence[Stack] = (),
    ) -> Stack:
        """The next stack, ``(component, row, col)`` int32."""
        planes = np.zeros(shape, np.int32)
        _run(self._state, self._coder, self._buffer, planes, level, orientation, parents, siblings, encoding=False)
        if int(self._coder[3]) > self._buffer.size + 64:
            # An honest stream never reads far past its end; a damaged one that passed its checksum is refused here.
            raise StreamCorrupt("a chunk ends before its samples do", got=self._buffer.size)
        return planes


def _run(
    state: mixing.MixerState, coder: NDArray[np.int64], buffer: NDArray[np.uint8], planes: Stack, level: int,
    orientation: int, parents: Stack | None, siblings: Sequence[Stack], *, encoding: bool,
) -> None:
    components, rows, cols = planes.shape
    if planes.size == 0:
        return
    if parents is None or parents.size == 0:
        parents = np.zeros((components, 0, 0), np.int32)
    fitted = np.zeros((2, components, rows, cols), np.int32)
    for slot, sibling in enumerate(siblings):
        high, wide = min(rows, sibling.shape[1]), min(cols, sibling.shape[2])
        fitted[slot, :, :high, :wide] = sibling[:, :high, :wide]
    mixing.code_planes(
        planes, np.ascontiguousarray(parents), fitted, len(siblings), level, orientation, state.probabilities,
        state.counts, state.weights, state.simple, coder, buffer, encoding,
    )


def encode_table(table: NDArray[np.int64], *, order: int) -> bytes:
    """A small integer table ``(row, col)`` as bytes, differenced ``order`` times along its columns."""
    return _pack_table(np.atleast_2d(table), order)


def _pack_table(table: NDArray[np.int64], order: int) -> bytes:
    rest = _differenced(table, order)
    encoder = ChunkEncoder(mixing.MixerState.neutral(), rest.size)
    encoder.code(np.ascontiguousarray(rest[None], dtype=np.int32))
    return encoder.finish()


def decode_table(data: bytes, shape: tuple[int, int], *, order: int) -> NDArray[np.int64]:
    """The table that :func:`encode_table` packed, ``shape`` int64."""
    rest = ChunkDecoder(mixing.MixerState.neutral(), data).read((1, *shape))[0].astype(np.int64)
    for _ in range(order):
        rest = np.cumsum(rest, axis=1)
    return rest


def _differenced(table: NDArray[np.int64], order: int) -> NDArray[np.int64]:
    rest = table.astype(np.int64)
    for _ in range(order):
        rest = np.diff(rest, axis=1, prepend=0)
    return rest
