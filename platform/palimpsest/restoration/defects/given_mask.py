"""A mask that somebody gave: what it must be before a restoration believes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.errors import CubeRefused, FormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube


def given_mask(values: NDArray[Any], cube: Cube, where: object) -> NDArray[np.bool_]:
    """A mask of numbers, 1 = usable, as True and False, ``(band, row, col)``.

    Args:
        values: as read.
        cube: that it is for.
        where: it came from, for messages.

    Raises:
        FormatError: not of uint8 or bool.
        CubeRefused: another shape than the cube's.
    """
    if values.dtype.kind not in "bu":
        raise FormatError("not a mask", where=where, got=values.dtype.name, wanted="uint8, 1 = usable")
    if values.shape != cube.data.shape:
        raise CubeRefused("mask of another shape", where=where, got=values.shape, wanted=tuple(cube.data.shape))
    return np.asarray(values != 0)
