"""Time and memory of whole processes: ours against PCA + JPEG 2000 on one made scene, and over size.

Both sides read a cube from disk in a process of their own. The rival is told its quantiser step, while ours searches
its own: what a user of ours would wait for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import PalimpsestError
from palimpsest_pipelines.codec_benchmark.ledger import own_code
from palimpsest_pipelines.codec_benchmark.rivals import PCA_JPEG2000, RivalCodec, as_rows
from palimpsest_pipelines.codec_benchmark.scenes import Scene, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from palimpsest.cubes import Cube
    from palimpsest_pipelines.codec_benchmark.ledger import Ledger

SPEED, SCALE = "speed", "scale"
SEED = 880_101
BPPPC = 0.5
SIDE = 512
RIVAL_STEP_TOLERANCE = 0.05
WATCH_S = 0.01  # between two looks at a process: what wall clock may be off by
OURS = (("strength=0", ("--strength", "0")), ("default", ()), ("effort=1", ("--strength", "0", "--effort", "1")))


def timed_scene(side: int) -> Scene:
    """The made scene that is timed: 224 bands, those in opaque windows hold zeros, so that they cost no codec bits."""
    from palimpsest.scenes import make_scene

    cube = make_scene(side, side, sensor="aviris", seed=SEED, opaque="zero").observed
    return Scene(f"made-{side}", cube, digest(cube))


def measure(scene: Scene, ledger: Ledger, folder: Path | None) -> None:
    """Encoding and decoding of one scene, as whole processes.

    Args:
        scene: what is coded.
        ledger: where rows go.
        folder: the rivals'; None times ours alone.
    """
    from palimpsest.formats import write

    with tempfile.TemporaryDirectory() as place:
        cube = Path(place) / "cube.hdr"
        write(scene.cube, cube)
        for subject, words in OURS:
            ledger.measured(
                scene, SPEED, subject, {"asked": BPPPC}, own_code(),
                lambda words=words: _ours(cube, words),  # type: ignore[misc] # bound now
            )
        if folder is None:
            return
        rival = RivalCodec.at(folder)
        step = ledger.measured(
            scene, SPEED, f"{PCA_JPEG2000} step", {"asked": BPPPC}, rival.code,
            lambda: {"step": rival.step_at(scene.cube, BPPPC, RIVAL_STEP_TOLERANCE)},
        )["step"]
        ledger.measured(
            scene, SPEED, PCA_JPEG2000, {"asked": BPPPC}, rival.code, lambda: _theirs(folder, scene.cube, step, place)
        )


def measure_scale(scene: Scene, ledger: Ledger, gigabytes: Sequence[float]) -> None:
    """Time a voxel and peak memory over the size of the cube: the scene laid side by side, each copy with its noise."""
    for size in gigabytes:
        ledger.measured(
            scene, SCALE, "strength=0", {"gigabytes": size}, own_code(),
            lambda size=size: _scaled(scene.cube, size),  # type: ignore[misc] # bound now
        )


def _ours(cube: Path, words: Sequence[str]) -> dict[str, object]:
    stream, back = cube.with_suffix(".plm"), cube.parent / "back.hdr"
    encode = run_measured(["-m", "palimpsest", "compress", str(cube), str(stream), "--bpppc", str(BPPPC), *words])
    decode = run_measured(["-m", "palimpsest", "decompress", str(stream), str(back)])
    return {"bytes": stream.stat().st_size, **_columns("encode", encode), **_columns("decode", decode)}


def _theirs(folder: Path, cube: Cube, step: float, place: str) -> dict[str, object]:
    values = Path(place) / "cube.npy"
    np.save(values, as_rows(cube))
    words = ["-m", "palimpsest_pipelines.codec_benchmark.rival_process", str(folder), str(values), repr(step)]
    whole = run_measured(words)
    inside = json.loads(whole.told)
    found: dict[str, object] = {"bytes": inside["bytes"]}
    for what, other in (("encode", "decode"), ("decode", "encode")):
        # the process without what the other direction took
        alone = replace(
            whole, wall_s=whole.wall_s - inside[f"{other}_s"], cpu_s=whole.cpu_s - inside[f"{other}_cpu_s"]
        )
        found |= _columns(what, alone)
    return found


def _columns(what: str, run: Run) -> dict[str, object]:
    return {f"{what}_s": run.wall_s, f"{what}_cpu_s": run.cpu_s, f"{what}_mb": run.peak_mb}


def _scaled(cube: Cube, gigabytes: float) -> dict[str, object]:
    bands, rows, cols = cube.shape
    copies = max(1, round(gigabytes * 1e9 / (cube.shape.voxels * cube.data.dtype.itemsize)))
    with tempfile.TemporaryDirectory() as place:
        header = Path(place) / "cube.hdr"
        _write_copies(cube, copies, header)
        stream = header.with_suffix(".plm")
        words = ["-m", "palimpsest", "compress", str(header), str(stream), "--bpppc", str(BPPPC), "--strength", "0"]
        encode = run_measured(words)
        decode = run_measured(["-m", "palimpsest", "decompress", str(stream), str(Path(place) / "back.hdr")])
    voxels = bands * rows * cols * copies
    return {
        "voxels": voxels, "encode_ns": 1e9 * encode.cpu_s / voxels, "decode_ns": 1e9 * decode.cpu_s / voxels,
        **_columns("encode", encode), **_columns("decode", decode),
    }


def _write_copies(cube: Cube, copies: int, header: Path) -> None:
    """Copies below each other, band-interleaved by line so that they can be written one after another."""
    bands, rows, cols = cube.shape
    rng = np.random.default_rng(SEED)
    with header.with_suffix(".img").open("wb") as file:
        for copy in range(copies):
            values = np.asarray(cube.data)[:, ::-1] if copy % 2 else np.asarray(cube.data)
            lines = np.ascontiguousarray(values.transpose(1, 0, 2))  # (row, band, col)
            file.write((lines + rng.integers(-2, 3, lines.shape, lines.dtype)).tobytes())
    code = {"int16": 2, "float32": 4, "uint16": 12}[cube.data.dtype.name]
    header.write_text(
        f"ENVI\nsamples = {cols}\nlines = {rows * copies}\nbands = {bands}\nheader offset = 0\n"
        f"file type = ENVI Standard\ndata type = {code}\ninterleave = bil\nbyte order = 0\n"
    )


@dataclass(frozen=True, slots=True)
class Run:
    """A process that ran.

    Args:
        wall_s: by the clock on the wall.
        cpu_s: of the processor, user and system; what a busy machine does not change.
        peak_mb: largest resident memory.
        told: what it printed.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    told: str


def run_measured(words: Sequence[str]) -> Run:
    """Run Python with these words.

    Raises:
        PalimpsestError: the process failed.
    """
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as complaint:
        start = time.perf_counter()
        child = subprocess.Popen([sys.executable, *words], stdout=told, stderr=complaint)
        ended, peak = 0, 0.0
        while not ended:
            # Linux charges a child with the memory that its parent had when it was forked, so it is watched instead.
            peak = max(peak, _peak_mb(child.pid))
            time.sleep(WATCH_S)
            ended, status, usage = os.wait4(child.pid, os.WNOHANG)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        for file in (told, complaint):
            file.seek(0)
        if child.returncode:
            raise PalimpsestError("a measured process failed", where=" ".join(words), got=complaint.read()[-500:])
        own = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
        return Run(wall, usage.ru_utime + usage.ru_stime, peak or own, told.read())


def _peak_mb(process: int) -> float:
    """Largest resident memory of a running process so far; 0 where the system does not tell."""
    status = Path(f"/proc/{process}/status")
    try:
        told = status.read_text()
    except OSError:
        return 0.0  # no such system, or the process has just ended
    return float(told.split("VmHWM:")[1].split()[0]) / 1e3 if "VmHWM:" in told else 0.0
