"""The quantised spectral basis as bytes: components predicted along the wavelength, what is left mixed by context.

The first components are smooth along the spectrum, the last ones are noise: the encoder picks for every component the
predictor that leaves least, and says which. On scenes of 100 x 100 pixels this is a tenth of a small file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.entropy.planes import SIDE_LEVEL, ChunkDecoder, ChunkEncoder, MixerState
from palimpsest.errors import StreamCorrupt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Cells = NDArray[np.int64]

# Eighths of the entry before and of the one before that.
PREDICTORS = ((0, 0), (4, 0), (6, 0), (8, 0), (12, -4), (10, -2), (4, 4), (16, -8))
LARGEST_ENTRY = 1 << 26


def encode_basis(basis: Cells) -> bytes:
    """A quantised basis ``(band, component)`` as bytes."""
    rows = np.ascontiguousarray(basis.T)
    left = np.stack([rows - _predicted(rows, predictor) for predictor in PREDICTORS])
    # Bits of a sample grow with the logarithm of its size.
    picked = np.log2(1.0 + 2.0 * np.abs(left)).sum(axis=2).argmin(axis=0)
    rest = np.take_along_axis(left, picked[None, :, None], axis=0)[0]
    encoder = ChunkEncoder(MixerState.neutral(), picked.size + rest.size)
    encoder.code(picked[:, None, None].astype(np.int32), level=SIDE_LEVEL, orientation=1)
    encoder.code(np.ascontiguousarray(rest[:, None, :], dtype=np.int32), level=SIDE_LEVEL, orientation=0)
    return encoder.finish()


def decode_basis(data: bytes, bands: int, components: int) -> Cells:
    """The basis that :func:`encode_basis` packed, ``(band, component)`` int64.

    Raises:
        StreamCorrupt: numbers that no encoder writes.
    """
    decoder = ChunkDecoder(MixerState.neutral(), data)
    picked = decoder.read((components, 1, 1), level=SIDE_LEVEL, orientation=1)[:, 0, 0]
    if picked.min() < 0 or picked.max() >= len(PREDICTORS):
        raise StreamCorrupt("spectral basis names a predictor that there is not", got=int(picked.max()))
    rest = decoder.read((components, 1, bands), level=SIDE_LEVEL, orientation=0)[:, 0].astype(np.int64)
    taps = np.array(PREDICTORS, np.int64)[picked]  # (component, 2)
    rows = np.zeros((components, bands), np.int64)
    for band in range(bands):
        one = rows[:, band - 1] if band > 0 else np.zeros(components, np.int64)
        two = rows[:, band - 2] if band > 1 else np.zeros(components, np.int64)
        entry = rest[:, band] + _blend(taps[:, 0], taps[:, 1], one, two)
        rows[:, band] = np.clip(entry, -LARGEST_ENTRY, LARGEST_ENTRY)
    return np.ascontiguousarray(rows.T)


def _predicted(rows: Cells, predictor: tuple[int, int]) -> Cells:
    one = np.pad(rows, ((0, 0), (1, 0)))[:, :-1]
    two = np.pad(rows, ((0, 0), (2, 0)))[:, :-2]
    return _blend(predictor[0], predictor[1], one, two)


def _blend(first: int | Cells, second: int | Cells, one: Cells, two: Cells) -> Cells:
    blended: Cells = (first * one + second * two + 4) >> 3
    return blended
