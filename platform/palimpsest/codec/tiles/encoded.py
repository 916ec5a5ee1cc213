"""What the encoder holds of a tile and of a whole encoding, between coding and writing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.codec.spectrum.spectral import SpectralLevel
    from palimpsest.codec.tiles.tile import TileCode
    from palimpsest.cubes import Window

UNKNOWN = np.zeros((0, 0, 0), np.int64)


@dataclass(frozen=True, slots=True)
class Settled:
    """What is kept of a tile's decoded values once nobody needs the values.

    Args:
        digest: first bytes of their SHA-256.
        square: sum of squared errors over promised voxels, stored units.
        count: promised voxels.
        peak: largest promised value of the original.
        worst: largest absolute error over promised voxels of each band, ``(band,)``.
    """

    digest: bytes
    square: float
    count: int
    peak: float
    worst: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EncodedTile:
    """A tile with everything that goes into the stream.

    Args:
        window: where it lies.
        code: spatial levels.
        mask: reasons, deflated; empty where every voxel is good.
        gains: half octaves a block, or None.
        decoded: integers that the decoder will give, before void voxels are put back, ``(band, row, col)``; empty
            where only the bytes count, or once settled.
        exact: the exact layer's section, or empty.
        refinement: corrections that keep labels, or empty.
        depths: numbers that keep feature depths, or empty.
    """

    window: Window
    code: TileCode
    mask: bytes
    gains: NDArray[np.uint8] | None
    decoded: NDArray[np.int64]
    exact: bytes = b""
    refinement: bytes = b""
    depths: bytes = b""
    settled: Settled | None = None


@dataclass(frozen=True, slots=True)
class Encoding:
    """One complete encoding in memory.

    Args:
        level: the spectral level.
        tiles: coded tiles in order.
        data: the whole stream.
    """

    level: SpectralLevel
    tiles: tuple[EncodedTile, ...]
    data: bytes
