"""Bands of a table that lies pixel by pixel, taken out a few at a time.

A single band of such a table lies scattered over all of its memory: every look at it fetches its neighbours too. Some
bands together are fetched once, and no two that lie beside each other are written from different threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RUN = 16  # bands: of float32, what one fetch of memory brings
_PIXELS = 4096

A = TypeVar("A", bound=np.generic)


def runs(bands: int) -> list[slice]:
    """All of the bands, some together."""
    return [slice(start, min(start + RUN, bands)) for start in range(0, bands, RUN)]


def planes_of(table: NDArray[A], run: slice) -> NDArray[A]:
    """Some bands of a table ``(pixel, band)``, a copy: ``(band, pixel)``."""
    out = np.empty((len(range(*run.indices(table.shape[1]))), len(table)), table.dtype)
    for start in range(0, len(table), _PIXELS):
        out[:, start : start + _PIXELS] = table[start : start + _PIXELS, run].T
    return out


def put(table: NDArray[A], run: slice, planes: NDArray[A]) -> None:
    """Write bands ``(band, pixel)`` back into a table."""
    for start in range(0, len(table), _PIXELS):
        table[start : start + _PIXELS, run] = planes[:, start : start + _PIXELS].T
