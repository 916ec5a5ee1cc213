"""An importance map as the codec uses it: one weight a band for the spectral level, one gain a block for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.quantiser import BLOCK, GAIN_STEPS, NEUTRAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes import ImportanceMap, Window


def band_weights(importance: ImportanceMap) -> NDArray[np.float64]:
    """One weight a band: the root of the mean over pixels of the squared profiles, mean square 1."""
    counts = np.bincount(importance.index.ravel(), minlength=len(importance.profiles))
    mean_square = (importance.profiles**2 * counts[:, None]).sum(axis=0) / counts.sum()
    weights: NDArray[np.float64] = np.sqrt(mean_square / mean_square.mean())
    return weights


def gain_steps(importance: ImportanceMap, window: Window) -> NDArray[np.uint8] | None:
    """Importance of each block in half octaves about neutral; None where all are neutral."""
    gain = importance.gain[window.slices].astype(np.float64)
    rows, cols = gain.shape
    padded = np.pad(gain, ((0, -rows % BLOCK), (0, -cols % BLOCK)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // BLOCK, BLOCK, padded.shape[1] // BLOCK, BLOCK)
    steps = np.rint(np.log2((blocks**2).mean(axis=(1, 3))) + NEUTRAL)  # log2 of a square counts half octaves
    limited = np.clip(steps, 0, GAIN_STEPS - 1).astype(np.uint8)
    return None if (limited == NEUTRAL).all() else limited
