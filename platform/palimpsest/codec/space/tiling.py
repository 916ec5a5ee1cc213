"""How a cube is cut into tiles, and how tiles are worked on side by side.

A tile is the least that must be read and decoded for one pixel, so it holds about as many bits as can be decoded in a
few hundredths of a second: small tiles where the rate is high, large ones where it is low and every tile's own
learning would show in the size. Small cubes are one tile.
"""

from __future__ import annotations

import math
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

WHOLE = 512  # side of a tile in cubes that are one tile; as a limit, of any tile
WHOLE_PIXELS = 1 << 15  # cubes of at most this many pixels are one tile, or tiles of WHOLE
SIDES = (256, 224, 192, 160, 128, 112, 96, 80, 64, 56, 48, 40, 32, 16, 8)  # whole in every level they have
SHORTEST = 32  # below it tiles know too little; shorter ones are for cubes of thousands of bands
SMALLEST_SIDE = 8
TILE_BITS, QUICK_TILE_BITS = 5 << 15, 1 << 19
TILE_VOXELS = 1 << 23  # of a tile, so that any machine can hold some
EXACT_SIDE = 256  # each tile of the exact layer sends its own predictor, which small tiles do not earn back

T = TypeVar("T")
R = TypeVar("R")


def tile_side(rows: int, cols: int, bands: int, bpppc: float | None, *, quick: bool = False) -> int:
    """Side of the tiles of a cube, in pixels.

    Args:
        rows: of the cube.
        cols: of the cube.
        bands: of the cube.
        bpppc: the rate aimed at; None where every voxel is coded exactly.
        quick: whether a coder that is some times faster codes them.
    """
    if rows * cols <= WHOLE_PIXELS:
        return WHOLE
    bits = QUICK_TILE_BITS if quick else TILE_BITS
    wanted = EXACT_SIDE if bpppc is None else max(SHORTEST, math.sqrt(bits / (bpppc * bands)))
    largest = math.sqrt(TILE_VOXELS / bands)
    return next((side for side in SIDES if side <= min(wanted, largest)), SMALLEST_SIDE)


def allowed_workers() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Results of ``work`` in the order of ``items``, whoever is finished first.

    Threads, not processes: the kernels leave Python's lock alone, and the cube is there for all. At most two results
    a worker wait, so memory does not grow with the number of items. What one raises is raised here.
    """
    if workers <= 1:
        yield from map(work, items)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
