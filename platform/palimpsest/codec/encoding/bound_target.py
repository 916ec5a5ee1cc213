"""The bound and lossless modes: a reconstruction, and the exact layer that brings it within its bounds.

How good the reconstruction should be is a matter of the bound: where voxels may be far off, a reconstruction that is
hardly ever further off needs few corrections; where every unit counts, the exact layer predicts better from exact
neighbours than any reconstruction does. So the quantiser step is searched in multiples of the bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.container import header
from palimpsest.codec.encoding.rate_target import step_near
from palimpsest.codec.integers.layers import Exactness
from palimpsest.cubes.window import Window
from palimpsest.errors import PromiseBroken

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.codec.encoding.cube_encoder import CubeEncoder
    from palimpsest.codec.tiles.encoded import Encoding

BASE_BPPPC = 0.05  # of the reconstruction below a lossless layer: measured best on four scenes among 0 to 0.5
PATCH, PATCHES = 96, 2  # side in pixels and number of the pieces that the step is searched on
FIRST, RATIO = 2.83, 2.0  # steps over half the width of cells: the first tried, and from one to the next
LARGEST = 16 * FIRST  # of these multiples
PREDICTED_FROM = 4.0  # below it the reconstruction is too good for prediction to pay


def exactly(encoder: CubeEncoder) -> Encoding:
    """A cube within its bounds, each voxel checked.

    Raises:
        PromiseBroken: one was not.
    """
    widths = encoder.sampling.widths(encoder.bounds)
    step, is_plain = step_near(encoder, BASE_BPPPC), False
    if encoder.bounds.any() and encoder.statistics.count:
        step, is_plain = _cheapest(encoder, widths, step)
    encoding = encoder.encode(step, exact=Exactness(widths, is_plain))
    worst = np.max([tile.settled.worst for tile in encoding.tiles if tile.settled is not None], axis=0)
    if (worst > encoder.bounds).any():
        band = int(np.argmax(worst - encoder.bounds))
        where, wanted = f"{encoder.cube.name}, band {band}", encoder.bounds[band]
        raise PromiseBroken("the bound cannot be kept", where=where, got=worst[band], wanted=wanted)
    return encoding


def _cheapest(encoder: CubeEncoder, widths: NDArray[np.int64], coarsest: float) -> tuple[float, bool]:
    """The step with the fewest bytes on some patches, and whether the exact layer does without prediction."""
    unit = float(np.exp(np.log(widths / 2 * np.sqrt(encoder.weights.floor)).mean()))
    patches = _patches(encoder)
    sizes: dict[tuple[float, bool], float] = {}

    def size(multiple: float, *, is_plain: bool) -> float:
        key = (multiple, is_plain)
        if key not in sizes:
            sizes[key] = _size(encoder, patches, multiple * unit, Exactness(widths, is_plain))
        return sizes[key]

    best = FIRST
    for ratio in (RATIO, 1 / RATIO):
        while best * ratio <= LARGEST and size(best * ratio, is_plain=True) < size(best, is_plain=True):
            best *= ratio
    if best >= PREDICTED_FROM:
        for multiple in (best, 2 * RATIO * best, coarsest / unit):
            size(multiple, is_plain=False)
    (multiple, is_plain), _ = min(sizes.items(), key=lambda item: item[1])
    return multiple * unit, is_plain


def _patches(encoder: CubeEncoder) -> list[Window]:
    """Some pieces of tiles spread over the cube."""
    count = min(PATCHES, len(encoder.windows))
    found = []
    for n in range(count):
        own = encoder.windows[(2 * n + 1) * len(encoder.windows) // (2 * count)]
        row, col = own.row0 + max(0, own.rows - PATCH) // 2, own.col0 + max(0, own.cols - PATCH) // 2
        found.append(Window(row, min(row + PATCH, own.row1), col, min(col + PATCH, own.col1)))
    return found


def _size(encoder: CubeEncoder, patches: list[Window], step: float, exact: Exactness) -> float:
    """Bytes of the whole stream, from those of the patches."""
    level = encoder.level_at(step)
    coded = tuple(encoder.each(lambda window: encoder.exact_tile(window, level, exact), patches))
    own = sum(header.tile_bytes(tile) for tile in coded)
    pixels = sum(window.rows * window.cols for window in patches)
    _, rows, cols = encoder.cube.shape
    return len(encoder.packed(level, coded).data) - own + own * rows * cols / pixels
