"""The exact layer of a tile as sections: predictor coefficients and residuals, coded plane by plane.

Residuals of all bands are one stack of planes for the context coder, as if the bands were components.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.entropy.planes import ChunkDecoder, ChunkEncoder, MixerState, decode_table, encode_table
from palimpsest.errors import StreamCorrupt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.codec.entropy import residual

_SIZES = struct.Struct("<BIII")  # coefficients in full, as the first writers had them
_SHIFTED = struct.Struct("<BIIII")
SHIFTED, PLAIN = 128, 255  # first byte: 128 + previous bands where coefficients are shifted; no prediction at all
PREVIOUS_BANDS = 16


@dataclass(frozen=True, slots=True)
class Exactness:
    """How near the exact layer brings a tile.

    Args:
        widths: of the cells of each band, ``(band,)`` int64, integer units (of stored bits where those are coded).
        is_plain: without prediction, which pays where the reconstruction is nearly good enough.
    """

    widths: NDArray[np.int64]
    is_plain: bool = False


def encode_exact(
    exact: NDArray[np.int64], base: NDArray[np.int64], usable: NDArray[np.bool_], how: Exactness,
    limits: tuple[int, int],
) -> tuple[bytes, NDArray[np.int64]]:
    """The section that brings a reconstruction within its bounds, and what will be decoded.

    Args:
        exact: values to keep, ``(band, row, col)`` int64.
        base: the lossy reconstruction, the same shape.
        usable: True where a voxel must be kept.
        how: cells and prediction.
        limits: smallest and largest value.
    """
    from palimpsest.codec.entropy import residual

    if how.is_plain:
        residuals = residual.plain_residuals(exact, base, usable, how.widths)
        rebuilt = residual.plainly_rebuilt(residuals, base, how.widths, limits)
        return bytes([PLAIN]) + _coded(residuals), rebuilt
    previous = min(PREVIOUS_BANDS, exact.shape[0] - 1)
    predictor = residual.fit(exact, base, usable, previous, how.widths)
    residuals, rebuilt = residual.encode_residuals(exact, base, usable, predictor, how.widths, limits)
    tables = (
        encode_table(predictor.coefficients.T.astype(np.int64) >> predictor.shifts, order=0),
        encode_table(predictor.offsets[None] >> 16, order=1), encode_table(predictor.offsets[None] & 0xFFFF, order=0),
        encode_table(predictor.shifts[None], order=1),
    )
    sizes = _SHIFTED.pack(SHIFTED + previous, *map(len, tables))
    return b"".join([sizes, *tables, _coded(residuals)]), rebuilt


def decode_exact(
    data: bytes, base: NDArray[np.int64], usable: NDArray[np.bool_], widths: NDArray[np.int64],
    limits: tuple[int, int],
) -> NDArray[np.int64]:
    """What :func:`encode_exact` said would be decoded.

    Raises:
        StreamCorrupt: a section that no encoder writes.
    """
    from palimpsest.codec.entropy import residual

    if data[:1] == bytes([PLAIN]):
        residuals = np.where(usable, _read(data[1:], base.shape), 0)
        return residual.plainly_rebuilt(residuals, base, widths, limits)
    predictor, at = _read_predictor(data, base.shape[0])
    residuals = _read(data[at:], base.shape)
    return residual.decode_residuals(residuals, base, usable, predictor, widths, limits)


def _read_predictor(data: bytes, bands: int) -> tuple[residual.Predictor, int]:
    """Coefficients of a tile, and where the residuals begin."""
    from palimpsest.codec.entropy import residual

    is_shifted = bool(data) and data[0] >= SHIFTED
    sizes = _SHIFTED if is_shifted else _SIZES
    if len(data) < sizes.size:
        raise StreamCorrupt("exact layer is cut", got=len(data))
    previous, *lengths = sizes.unpack_from(data)
    previous -= SHIFTED if is_shifted else 0
    if sizes.size + sum(lengths) > len(data) or previous >= max(bands, 1):
        raise StreamCorrupt("exact layer of the wrong length", got=len(data))
    parts, at = [], sizes.size
    for length in lengths:
        parts.append(data[at : at + length])
        at += length
    coefficients = decode_table(parts[0], (residual.taps(previous), bands), order=0)
    offsets = (decode_table(parts[1], (1, bands), order=1)[0] << 16) + decode_table(parts[2], (1, bands), order=0)[0]
    shifts = decode_table(parts[3], (1, bands), order=1)[0] if is_shifted else np.zeros(bands, np.int64)
    if shifts.min(initial=0) < 0 or shifts.max(initial=0) > residual.FRACTION_BITS:
        raise StreamCorrupt("absurd precision of a predictor", got=shifts.tolist())
    if np.abs(coefficients << shifts).max(initial=0) > residual.LARGEST_COEFFICIENT:
        raise StreamCorrupt("absurd coefficients of a predictor", wanted=residual.LARGEST_COEFFICIENT)
    fixed = np.ascontiguousarray((coefficients << shifts).T.astype(np.int32))
    return residual.Predictor(fixed, offsets, previous, shifts), at


def _coded(residuals: NDArray[np.int64]) -> bytes:
    high, low = _split(residuals)
    encoder = ChunkEncoder(MixerState.neutral(), 2 * residuals.size)
    encoder.code(high, level=4)
    encoder.code(low, level=0)
    return encoder.finish()


def _read(data: bytes, shape: tuple[int, ...]) -> NDArray[np.int64]:
    decoder = ChunkDecoder(MixerState.neutral(), data)
    high = decoder.read((shape[0], shape[1], shape[2]), level=4)
    low = decoder.read((shape[0], shape[1], shape[2]), level=0)
    return (high.astype(np.int64) << 24) + low


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
