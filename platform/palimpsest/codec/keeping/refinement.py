"""Pixels whose label the base encoding lost, brought near enough to the original to have it again.

Each refined pixel stands on a rung of a ladder: which bands are corrected (those that its label hangs on, or all) and
how finely (a fraction of the band's own error, at last exactly). The section of a tile holds the rung of every pixel
and the corrections of the refined ones, in raster order, as rows of one plane for the context coder. Everything the
decoder does here is integer addition.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.entropy.planes import ChunkDecoder, ChunkEncoder, MixerState
from palimpsest.errors import StreamCorrupt

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COUNT = struct.Struct("<I")
MOST_FLAGS = 1 << 22  # labels times bands
FREE_PIXELS, PIXELS_A_BYTE = 1 << 22, 1 << 14  # a label map with more pixels must be of plausible size


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to correct a pixel.

    Args:
        eighths: correction step in eighths of the band's root mean square error; 0 is exact.
        every_band: all bands, rather than those that the label hangs on.
    """

    eighths: int
    every_band: bool


# Ordered by what they cost; part of the format.
LADDER = (
    Rung(24, False), Rung(16, False), Rung(12, False), Rung(8, False), Rung(16, True), Rung(6, False), Rung(4, False),
    Rung(8, True), Rung(2, False), Rung(4, True), Rung(0, False), Rung(1, True), Rung(0, True),
)


@dataclass(frozen=True, slots=True)
class Corrections:
    """The corrections of one tile.

    Args:
        rungs: 0 where a pixel is left alone, else 1 + index into :data:`LADDER`, ``(row, col)`` int32.
        steps: whole multiples of the pixel's steps, a row a refined pixel in raster order, ``(pixel, band)`` int32.
    """

    rungs: NDArray[np.int32]
    steps: NDArray[np.int32]


def band_steps(rung: Rung, rmse: NDArray[np.int64]) -> NDArray[np.int64]:
    """Correction step of each band in integer units, ``(band,)``; ``rmse`` in eighths of an integer unit."""
    if rung.eighths == 0:
        return np.ones_like(rmse)
    return np.maximum(1, (rmse * rung.eighths + 32) >> 6)


def corrected(
    values: NDArray[np.int64], labels: NDArray[np.int32], corrections: Corrections, bands_of: NDArray[np.bool_],
    rmse: NDArray[np.int64], limits: tuple[int, int],
) -> NDArray[np.int64]:
    """Integers ``(band, row, col)`` with the corrections added.

    Args:
        values: the base reconstruction.
        labels: index of each pixel's label in ``bands_of``, ``(row, col)``.
        corrections: what to add.
        bands_of: bands that a label hangs on, ``(label, band)``.
        rmse: per band, in eighths of an integer unit.
        limits: smallest and largest integer.
    """
    out = values.copy()
    at = np.flatnonzero(corrections.rungs.ravel())
    flat = out.reshape(len(values), -1)
    rung_of, label_of = corrections.rungs.ravel()[at], labels.ravel()[at]
    for index, rung in enumerate(LADDER):
        chosen = rung_of == index + 1
        if not chosen.any():
            continue
        added = corrections.steps[chosen].astype(np.int64) * band_steps(rung, rmse)
        if not rung.every_band:
            added *= bands_of[label_of[chosen]]
        flat[:, at[chosen]] = np.clip(flat[:, at[chosen]] + added.T, *limits)
    return out


def encode_corrections(
    corrections: Corrections, labels: NDArray[np.int32], bands_of: NDArray[np.bool_]
) -> bytes:
    """The section of a tile; empty where no pixel is refined."""
    if not corrections.rungs.any():
        return b""
    at = np.flatnonzero(corrections.rungs.ravel())
    encoder = ChunkEncoder(MixerState.neutral(), corrections.rungs.size + corrections.steps.size)
    encoder.code(np.ascontiguousarray(corrections.rungs[None]), level=4)
    for group, band in _groups(corrections.rungs.ravel()[at], labels.ravel()[at], bands_of):
        encoder.code(np.ascontiguousarray(corrections.steps[np.ix_(group, band)][None]), level=0)
    return encoder.finish()


def decode_corrections(
    data: bytes, labels: NDArray[np.int32], bands_of: NDArray[np.bool_]
) -> Corrections:
    """The inverse of :func:`encode_corrections`."""
    decoder = ChunkDecoder(MixerState.neutral(), data)
    rungs = decoder.read((1, *labels.shape), level=4)[0]
    if int(rungs.min()) < 0 or int(rungs.max()) > len(LADDER):
        raise StreamCorrupt("refinement of no known kind", got=int(rungs.max()), wanted=f"0 to {len(LADDER)}")
    at = np.flatnonzero(rungs.ravel())
    steps = np.zeros((at.size, bands_of.shape[1]), np.int32)
    for group, band in _groups(rungs.ravel()[at], labels.ravel()[at], bands_of):
        steps[np.ix_(group, band)] = decoder.read((1, group.size, band.size), level=0)[0]
    return Corrections(rungs, steps)


def _groups(
    rung_of: NDArray[np.int32], label_of: NDArray[np.int32], bands_of: NDArray[np.bool_]
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Refined pixels that share rung and bands, and those bands: what neighbours in a plane should have in common."""
    found = []
    for index, rung in enumerate(LADDER):
        on_rung = np.flatnonzero(rung_of == index + 1)
        if rung.every_band:
            if on_rung.size:
                found.append((on_rung, np.arange(bands_of.shape[1])))
            continue
        for label in np.unique(label_of[on_rung]):
            band = np.flatnonzero(bands_of[label])
            if band.size:
                found.append((on_rung[label_of[on_rung] == label], band))
    return found


def map_digest(labels: NDArray[np.int32]) -> str:
    """What a certificate says of a label map ``(row, col)``: the first half of the SHA-256 of its int32 indices."""
    return hashlib.sha256(np.ascontiguousarray(labels, "<i4").tobytes()).hexdigest()[:32]


def pack_labels(labels: NDArray[np.int32], bands_of: NDArray[np.bool_], rmse: NDArray[np.int64]) -> bytes:
    """The label map ``(row, col)`` of indices, the bands that each label hangs on, and the bands' errors."""
    encoder = ChunkEncoder(MixerState.neutral(), labels.size + bands_of.size + rmse.size)
    encoder.code(np.ascontiguousarray(labels[None], dtype=np.int32), level=5)
    changes = np.diff(bands_of.astype(np.int32), axis=1, prepend=0)
    encoder.code(np.ascontiguousarray(changes[None]), level=4)
    rough = np.diff(rmse, prepend=0).astype(np.int32)
    encoder.code(np.ascontiguousarray(rough[None, None]), level=3)
    return _COUNT.pack(len(bands_of)) + encoder.finish()


def unpack_labels(
    data: bytes, rows: int, cols: int, bands: int
) -> tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.int64]]:
    """The inverse of :func:`pack_labels`."""
    if len(data) < _COUNT.size:
        raise StreamCorrupt("label map is cut", got=len(data))
    (count,) = _COUNT.unpack_from(data)
    if not 1 <= count <= min(4096, MOST_FLAGS // bands) or rows * cols > max(FREE_PIXELS, len(data) * PIXELS_A_BYTE):
        raise StreamCorrupt("absurd label map", got=f"{count} labels of {rows} x {cols} pixels in {len(data)} bytes")
    decoder = ChunkDecoder(MixerState.neutral(), data[_COUNT.size :])
    labels = decoder.read((1, rows, cols), level=5)[0]
    bands_of = np.cumsum(decoder.read((1, count, bands), level=4)[0], axis=1) > 0
    rmse = np.cumsum(decoder.read((1, 1, bands), level=3)[0, 0].astype(np.int64))
    if int(labels.min()) < 0 or int(labels.max()) >= count or int(rmse.min(initial=0)) < 0:
        raise StreamCorrupt("label map of unknown labels", got=int(labels.max()), wanted=f"below {count}")
    return labels, bands_of, rmse
