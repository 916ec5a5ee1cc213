"""The exact layer of a tile as sections: predictor coefficients and residuals, coded plane by plane.

Residuals of all bands are one stack of planes for the context coder, as if the bands were components.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec import residual
from palimpsest.codec.planes import ChunkDecoder, ChunkEncoder, MixerState, decode_table, encode_table
from palimpsest.errors import StreamCorrupt

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIZES = struct.Struct("<BIII")
PREVIOUS_BANDS = 16


def encode_exact(
    exact: NDArray[np.int64], base: NDArray[np.int64], usable: NDArray[np.bool_], max_error: int,
    limits: tuple[int, int],
) -> tuple[bytes, NDArray[np.int64]]:
    """The section that brings a reconstruction within ``max_error``, and what will be decoded.

    Args:
        exact: values to keep, ``(band, row, col)`` int64.
        base: the lossy reconstruction, the same shape.
        usable: True where a voxel must be kept.
        max_error: largest absolute error, integer units.
        limits: smallest and largest value.
    """
    previous = min(PREVIOUS_BANDS, exact.shape[0] - 1)
    predictor = residual.fit(exact, base, usable, previous)
    residuals, rebuilt = residual.encode_residuals(exact, base, usable, predictor, max_error, limits)
    coefficients = encode_table(predictor.coefficients.T.astype(np.int64), order=0)
    offsets = encode_table(predictor.offsets[None] >> 16, order=1)
    low_offsets = encode_table(predictor.offsets[None] & 0xFFFF, order=0)
    high, low = _split(residuals)
    encoder = ChunkEncoder(MixerState.neutral(), 2 * residuals.size)
    encoder.code(high, level=4)
    encoder.code(low, level=0)
    sizes = _SIZES.pack(previous, len(coefficients), len(offsets), len(low_offsets))
    return b"".join([sizes, coefficients, offsets, low_offsets, encoder.finish()]), rebuilt


def decode_exact(
    data: bytes, base: NDArray[np.int64], usable: NDArray[np.bool_], max_error: int, limits: tuple[int, int]
) -> NDArray[np.int64]:
    """What :func:`encode_exact` said would be decoded.

    Raises:
        StreamCorrupt: a section that no encoder writes.
    """
    if len(data) < _SIZES.size:
        raise StreamCorrupt("exact layer is cut", got=len(data))
    previous, *lengths = _SIZES.unpack_from(data)
    bands = base.shape[0]
    if _SIZES.size + sum(lengths) > len(data) or previous >= max(bands, 1):
        raise StreamCorrupt("exact layer of the wrong length", got=len(data))
    parts, at = [], _SIZES.size
    for length in lengths:
        parts.append(data[at : at + length])
        at += length
    taps = residual.taps(previous)
    coefficients = decode_table(parts[0], (taps, bands), order=0).T.astype(np.int32)
    offsets = (decode_table(parts[1], (1, bands), order=1)[0] << 16) + decode_table(parts[2], (1, bands), order=0)[0]
    decoder = ChunkDecoder(MixerState.neutral(), data[at:])
    high = decoder.read(base.shape, level=4)
    low = decoder.read(base.shape, level=0)
    residuals = (high.astype(np.int64) << 24) + low
    predictor = residual.Predictor(np.ascontiguousarray(coefficients), offsets, previous)
    return residual.decode_residuals(residuals, base, usable, predictor, max_error, limits)


def _split(residuals: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Residuals as multiples of 2^24 and a rest; the first is all zero but for 32-bit data."""
    high = (residuals + (1 << 23)) >> 24
    low = residuals - (high << 24)
    return np.ascontiguousarray(high, dtype=np.int32), np.ascontiguousarray(low, dtype=np.int32)


def ordered_bits(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """float32 as integers in the same order, one to one, NaN payloads included."""
    bits = np.ascontiguousarray(values).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF) - 1, bits)


def unordered_bits(integers: NDArray[np.int64]) -> NDArray[np.float32]:
    """The inverse of :func:`ordered_bits`."""
    bits = np.where(integers < 0, (-(integers + 1)) | 0x80000000, integers)
    return bits.astype(np.uint32).view(np.float32)


FLOAT_LIMITS = (-(1 << 31), (1 << 31) - 1)
