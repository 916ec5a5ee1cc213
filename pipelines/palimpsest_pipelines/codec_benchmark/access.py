"""Random access: bytes and milliseconds for one pixel's spectrum, and the share of the file that a first look takes.

Bytes are those that the process reads, by the operating system's own count where it keeps one (Linux).
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
    from collections.abc import Callable

    from palimpsest_pipelines.codec_benchmark.ledger import Ledger
    from palimpsest_pipelines.codec_benchmark.scenes import Scene

PART = "access"
PIXELS = 7
COUNTER = Path("/proc/self/io")


def measure(scene: Scene, ledger: Ledger) -> None:
    """Of one stream at 0.5 bpppc."""
    ledger.measured(scene, PART, "strength=0", {"asked": BPPPC}, own_code(), lambda: _access(scene))


def _access(scene: Scene) -> dict[str, object]:
    from palimpsest.codec.contract import EncodeSettings
    from palimpsest.codec.decoder import decode
    from palimpsest.codec.encoder import encode
    from palimpsest.codec.stream import LEVEL0, open_stream
    from palimpsest.cubes import Window

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.plm"
        size = encode(scene.cube, EncodeSettings(bpppc=BPPPC, strength=0.0, model=scene.model), out=path).size
        whole = np.asarray(decode(path).data)
        rng = np.random.default_rng(0)
        times, read, are_right = [], [], True
        for _ in range(PIXELS):
            row, col = (int(rng.integers(n)) for n in whole.shape[1:])
            seconds, count, pixel = _counted(lambda at=(row, col): np.asarray(  # type: ignore[misc] # bound now
                decode(path, window=Window(at[0], at[0] + 1, at[1], at[1] + 1)).data
            ))
            are_right &= bool(np.array_equal(pixel[:, 0, 0], whole[:, row, col]))
            times.append(seconds)
            read.append(count)
        sections = open_stream(path).sections
        levels = 1 + max(kind - LEVEL0 for kind, _ in sections if kind - LEVEL0 < 30)
        seconds, first, _ = _counted(lambda: np.asarray(decode(path, level=levels - 1).data))
    return {
        "bytes": size, "pixel_ms": 1e3 * float(np.median(times)), "pixel_share": float(np.median(read)) / size,
        "is_right": are_right, "levels": levels, "first_level_share": first / size, "first_level_ms": 1e3 * seconds,
    }


def _counted(work: Callable[[], np.ndarray]) -> tuple[float, float, np.ndarray]:
    """Seconds, bytes read (NaN where nobody counts), and what came out."""
    before, start = bytes_read(), time.perf_counter()
    out = work()
    seconds = time.perf_counter() - start
    return seconds, bytes_read() - before, out


def bytes_read() -> float:
    """Bytes that this process has read so far; NaN where the system does not tell."""
    if not COUNTER.exists():
        return float("nan")
    fields = dict(line.split(": ") for line in COUNTER.read_text().splitlines())
    return float(fields["rchar"])
