"""What is kept of a tile's decoded values once they are known: a hash, and how far they are off."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.container.stream import HASH
from palimpsest.codec.tiles.encoded import Settled

if TYPE_CHECKING:
    from numpy.typing import NDArray


def settled(before: NDArray[np.generic], stored: NDArray[np.generic], usable: NDArray[np.bool_] | None) -> Settled:
    """Of original and decoded values ``(band, row, col)``; ``usable`` says which errors count, None that all do."""
    digest = hashlib.sha256(np.ascontiguousarray(stored).tobytes()).digest()[:HASH]
    # Integers of 16 bits and their differences are exact in short floating point; their squares add up in long.
    short = before.dtype.kind in "iu" and before.dtype.itemsize <= 2
    real, bands = np.float32 if short else np.float64, len(before)
    with np.errstate(invalid="ignore"):  # infinities, which do not count
        error = np.subtract(before, stored, dtype=real, casting="unsafe")
    if usable is not None:
        error = np.where(usable, error, real(0))
    flat = error.reshape(bands, -1)
    worst = np.abs([flat.max(axis=1, initial=0), flat.min(axis=1, initial=0)]).max(axis=0).astype(np.float64)
    square = sum(float(np.einsum("i,i", band, band, dtype=np.float64)) for band in flat)
    if usable is None:
        return Settled(digest, square, before.size, float(before.max()), worst)
    peak = float(before[usable].max()) if usable.any() else -math.inf
    return Settled(digest, square, int(usable.sum()), peak, worst)
