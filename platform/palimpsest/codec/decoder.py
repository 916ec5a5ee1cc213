"""Stream to cube: whole, a coarser level, a window, or some bands. Needs numpy and the integer kernels alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.codec.container import header
from palimpsest.codec.container import stream as container
from palimpsest.codec.container.damage import finest_whole_level
from palimpsest.codec.reader import open_stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube, Window

__all__ = ["ErrorModel", "decode", "error_model", "finest_whole_level"]


@dataclass(frozen=True, slots=True)
class ErrorModel:
    """What a decoder knows of its own error.

    Args:
        band_rmse: expected root mean square error of each band, stored units, ``(band,)``; 0 where exact.
        bound: largest error promised for any band, stored units; None in rate mode.
    """

    band_rmse: NDArray[np.float64]
    bound: float | None


def decode(
    path: Path | str, level: int = 0, window: Window | None = None, bands: Sequence[int] | slice | None = None, *,
    workers: int = 0, folder: Path | None = None,
) -> Cube:
    """Decode a ``.plm`` file.

    Args:
        path: the file.
        level: 0 is the whole cube; n stops before the n finest levels: a picture of ceil(rows / 2^n) x
            ceil(cols / 2^n) pixels.
        window: rows and columns to decode (level 0 only); only the tiles that it touches are read.
        bands: which bands; saves computing, not bytes.
        workers: tiles decoded at a time; 0 is as many as processors may be used. The values are the same.
        folder: where values too many for memory may be kept in a nameless file; None keeps all in memory.

    Raises:
        StreamCorrupt: cut or altered; names the finest level that is still whole.
        ModelMissing: made with weights that are not installed.
        UsageError: a level or window that the stream does not have.
    """
    with open_stream(path, workers=workers) as reader:
        return reader.cube(level, window, bands, folder=folder)


def error_model(path: Path | str) -> ErrorModel:
    """What the stream tells about the error of its decoded values."""
    stream = container.open_stream(Path(path))
    plan = header.checked_plan(stream)
    if plan.asked is not None:
        return ErrorModel(plan.asked / math.sqrt(3), float(plan.asked.max()))
    spectral = header.read_spectral(stream, plan.shape.bands)
    return ErrorModel(spectral.band_rmse * plan.sampling.quantum, None)
