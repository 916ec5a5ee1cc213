"""Whether a cube's floating-point values are counts in disguise: looked for in a few strips, then held against all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.container import header
from palimpsest.codec.integers.lattice import LARGEST, Lattice, number_of
from palimpsest.codec.integers.sampling import Sampling, is_void, voxel_reasons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.cubes.window import Window

STRIPS = 4  # of a large cube, which tell what its values may lie on


def lattice_of(cube: Cube, windows: Sequence[Window]) -> Lattice | None:
    """What all floating-point values of a cube lie on, exactly to the bit, nodata and NaN put back as ever; or None."""
    if cube.is_integer:
        return None
    every = max(1, len(windows) // STRIPS)
    pieces: list[list[NDArray[np.generic]]] = [[] for _ in range(cube.shape.bands)]
    for window in windows[::every]:
        usable = ~is_void(voxel_reasons(cube, window))
        values = np.asarray(cube.data[(slice(None), *window.slices)])
        for band, kept in enumerate(pieces):
            kept.append(values[band][usable[band]])
    numbers = []
    for kept in pieces:
        number = number_of(np.concatenate(kept))
        if number is None:
            return None
        numbers.append(number)
    sampling = Sampling(cube.data.dtype.name, 1.0, Lattice(np.array(numbers)))
    for window in windows:
        values = np.ascontiguousarray(cube.data[(slice(None), *window.slices)])
        integers = sampling.integers(values)
        again = header.put_back(sampling.stored(integers), voxel_reasons(cube, window), cube.nodata, is_exact=True)
        if again.tobytes() != values.tobytes() or np.abs(integers).max() > LARGEST:
            return None
    return sampling.lattice
