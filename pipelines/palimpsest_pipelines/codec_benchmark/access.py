"""Random access and tiles: bytes and milliseconds for one pixel, the price of a first look, and what tiles cost.

The stream is open and the process warm; pixels lie in different tiles, so none is found decoded already.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from palimpsest_pipelines.codec_benchmark.ledger import own_code
from palimpsest_pipelines.codec_benchmark.speed import BPPPC

if TYPE_CHECKING:
    from palimpsest_pipelines.codec_benchmark.ledger import Ledger
    from palimpsest_pipelines.codec_benchmark.scenes import Scene

ACCESS, TILES = "access", "tiles"
PIXELS = 9
TILE_RATES = (0.1, 0.2, 0.4, 0.8)
CHOSEN, ONE_TILE = "tile by rate", "one tile"
LARGEST_TILE = 512


def measure(scene: Scene, ledger: Ledger) -> None:
    """Pixels and the first level of one stream at 0.5 bpppc."""
    ledger.measured(scene, ACCESS, "strength=0", {"asked": BPPPC}, own_code(), lambda: _access(scene))


def measure_tiles(scene: Scene, ledger: Ledger) -> None:
    """Curves of one scene in tiles of the size that the encoder chooses, and in one tile."""
    for rate in TILE_RATES:
        for subject, tile in ((CHOSEN, 0), (ONE_TILE, LARGEST_TILE)):
            ledger.measured(
                scene, TILES, subject, {"asked": rate}, own_code(),
                lambda rate=rate, tile=tile: _tiled(scene, rate, tile),  # type: ignore[misc] # bound now
            )


def _tiled(scene: Scene, rate: float, tile: int) -> dict[str, object]:
    from palimpsest.codec.contract import EncodeSettings
    from palimpsest.codec.encoder import encode

    # Decoding is not needed: the encoder reports what its stream decodes to, and tests hold it to that.
    settings = EncodeSettings(bpppc=rate, strength=0.0, model=scene.model, tile=tile)
    report = encode(scene.cube, settings)
    return {"bpppc": report.bpppc, "psnr_db": report.psnr_db}


def _access(scene: Scene) -> dict[str, object]:
    from palimpsest.codec.contract import EncodeSettings
    from palimpsest.codec.encoder import encode
    from palimpsest.codec.reader import open_stream

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.plm"
        size = encode(scene.cube, EncodeSettings(bpppc=BPPPC, strength=0.0, model=scene.model), out=path).size
        with open_stream(path) as stream:
            whole = np.asarray(stream.cube().data)
            side = stream.plan.tile
        times, work, read, are_right = [], [], [], True
        with open_stream(path, cache_bytes=0) as stream:
            for row, col in _pixels(whole.shape[1], whole.shape[2]):
                before, start, begun = stream.bytes_read, time.perf_counter(), time.process_time()
                pixel = stream.spectrum(row, col)
                times.append(time.perf_counter() - start)
                work.append(time.process_time() - begun)
                read.append(stream.bytes_read - before)
                are_right &= bool(np.array_equal(pixel, whole[:, row, col]))
        with open_stream(path) as stream:
            start = time.perf_counter()
            stream.level(stream.levels)
            seconds, first, levels = time.perf_counter() - start, stream.bytes_read, stream.levels
    return {
        "bytes": size, "tile": side, "levels": levels + 1, "is_right": are_right, "pixel_share": max(read) / size,
        "pixel_ms": 1e3 * float(np.median(times)), "pixel_cpu_ms": 1e3 * float(np.median(work)),
        "first_level_share": first / size, "first_level_ms": 1e3 * seconds,
    }


def _pixels(rows: int, cols: int) -> list[tuple[int, int]]:
    """Along a diagonal and back, so that neighbours in the list lie in different tiles; the first one warms up."""
    rng = np.random.default_rng(0)
    return [(0, 0), *((int(r * rows), int(c * cols)) for r, c in rng.random((PIXELS, 2)))]
