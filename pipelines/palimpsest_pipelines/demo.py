"""The main job on a made scene: compress, decode, restore, explain; every figure against the scene's known truth.

The scene is made from public-domain library spectra with dead lines, stripes and runs of missing bands, so that truth
is known and nothing needs to be downloaded. The restoration is judged on damaged voxels alone, beside the better of
linear and monotone cubic (PCHIP) interpolation along the spectrum.
"""

from __future__ import annotations

import textwrap
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest_pipelines.pictures import PixelStory, overview

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.restoration.result import Restoration
    from palimpsest.scenes import MadeScene


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """Size, seed and rate of the demo."""

    rows: int = 96
    cols: int = 96
    seed: int = 7
    bpppc: float = 0.5


def run(folder: Path, settings: DemoSettings, note: Callable[[str], None]) -> dict[str, object]:
    """Run the whole path in ``folder``; the table of figures by name.

    Files left behind: scene (ENVI), stream (.plm), decoded and restored (ENVI), provenance (SQLite), demo.png.
    """
    from palimpsest.codec.contract import EncodeSettings
    from palimpsest.codec.decoder import decode
    from palimpsest.codec.encoder import encode
    from palimpsest.formats import write
    from palimpsest.knowledge.identification.importance import importance_map
    from palimpsest.knowledge.releases.release import load
    from palimpsest.measure import psnr_db, sam_deg
    from palimpsest.provenance.record import Origin, write_provenance
    from palimpsest.restoration.repair import repair
    from palimpsest.scenes import make_scene

    folder.mkdir(parents=True, exist_ok=True)
    clock = _Clock(note)
    knowledge = load(None)
    scene = make_scene(settings.rows, settings.cols, seed=settings.seed, defects="mixed")
    write(scene.observed, folder / "scene.hdr")
    clock.lap(f"made a scene of {settings.rows} x {settings.cols} x {scene.observed.shape.bands}")

    stream = folder / "scene.plm"
    importance = importance_map(scene.observed, knowledge, 0.5)
    report = encode(
        scene.observed, EncodeSettings(bpppc=settings.bpppc), importance=importance, out=stream
    )
    clock.lap(f"compressed to {report.bpppc:.3f} bits per sample")
    decoded = decode(stream)
    write(decoded, folder / "decoded.hdr")
    clock.lap("decoded, checksums whole")
    restoration = repair(decoded, knowledge=knowledge, is_searched=False, is_decoded=True)
    write(restoration.restored, folder / "restored.hdr")
    origin = Origin.of_file(stream, {"edges": True, "is_decoded": True, "searched": False})
    (folder / "why.sqlite").unlink(missing_ok=True)  # of an earlier demo: a file that is there would be added to
    write_provenance(restoration, folder / "why.sqlite", origin)
    clock.lap(f"restored {restoration.changed.size} voxels")

    pixel = _most_telling_pixel(scene, restoration)
    overview(
        folder / "demo.png",
        [("observed, with defects", scene.observed), ("decoded", decoded), ("restored", restoration.restored)],
        _mean_half_width(restoration), _story(scene, decoded, restoration, pixel), _centres(scene.observed),
        _struck_bands(scene),
    )
    clock.lap(f"drew {folder / 'demo.png'}")
    interpolated = _interpolation_psnr(scene, decoded, restoration)
    return {
        "bits per sample": report.bpppc,
        "times smaller": 8 * scene.observed.data.dtype.itemsize / report.bpppc,
        "decoded PSNR, dB": psnr_db(scene.observed, decoded),
        "decoded SAM, degrees": sam_deg(scene.observed, decoded),
        "damaged voxels": int(scene.damaged.sum()),
        "of them found and restored": int(_judged(scene, restoration).sum()),
        "interpolation, PSNR on damaged voxels, dB": interpolated,
        "restored, PSNR on damaged voxels, dB": _damaged_psnr(scene, restoration.restored.data, restoration),
        "contributions sum exactly": restoration.is_exact(),
        "release": restoration.release[:16],
        "try": f"palimpsest explain {folder / 'why.sqlite'} --pixel {pixel[0]},{pixel[1]}",
        "seconds": round(clock.total(), 1),
    }


class _Clock:
    def __init__(self, note: Callable[[str], None]) -> None:
        self.note = note
        self.start = self.last = time.monotonic()

    def lap(self, what: str) -> None:
        now = time.monotonic()
        self.note(f"{now - self.last:6.1f} s  {what}")
        self.last = now

    def total(self) -> float:
        return time.monotonic() - self.start


def _centres(cube: Cube) -> NDArray[np.float64]:
    assert cube.bands.centre_nm is not None
    return cube.bands.centre_nm


def _struck_bands(scene: MadeScene) -> list[int]:
    """Three bands, far apart, in which defects are easiest to see: struck in a part of the pixels."""
    share = scene.damaged.mean(axis=(1, 2))
    thirds = np.array_split(np.arange(share.size), 3)
    return [int(third[np.where(share[third] < 0.6, share[third], 0).argmax()]) for third in reversed(thirds)]


def _judged(scene: MadeScene, restoration: Restoration) -> NDArray[np.bool_]:
    """Damaged voxels that the restorer was told of or found itself, ``(band, row, col)``."""
    judged: NDArray[np.bool_] = scene.damaged & (restoration.reasons > 0)
    return judged


def _damaged_psnr(scene: MadeScene, values: NDArray[np.generic], restoration: Restoration) -> float:
    judged = _judged(scene, restoration)
    truth = np.asarray(scene.clean.data).astype(np.float64)
    error = (np.asarray(values).astype(np.float64) - truth)[judged]
    return float(10 * np.log10(truth.max() ** 2 / np.mean(error**2)))


def _interpolation_psnr(scene: MadeScene, decoded: Cube, restoration: Restoration) -> float:
    """The better of linear and PCHIP along the spectrum from the voxels that are not marked, on the same voxels."""
    from scipy.interpolate import PchipInterpolator

    usable = restoration.reasons == 0
    values = np.asarray(decoded.data).astype(np.float64)
    bands, rows, cols = values.shape
    linear, monotone = values.copy(), values.copy()
    at = np.arange(bands)
    for row in range(rows):
        for col in range(cols):
            good = usable[:, row, col]
            if good.all() or good.sum() < 2:
                continue
            held = np.clip(at[~good], at[good][0], at[good][-1])
            linear[~good, row, col] = np.interp(held, at[good], values[good, row, col])
            monotone[~good, row, col] = PchipInterpolator(at[good], values[good, row, col])(held)
    return max(_damaged_psnr(scene, linear, restoration), _damaged_psnr(scene, monotone, restoration))


def _mean_half_width(restoration: Restoration) -> NDArray[np.float64]:
    _, rows, cols = restoration.decoded.shape
    total, count = np.zeros(rows * cols), np.zeros(rows * cols)
    pixel = restoration.changed % (rows * cols)
    np.add.at(total, pixel, restoration.half_width)
    np.add.at(count, pixel, 1)
    return (total / np.maximum(count, 1)).reshape(rows, cols)


def _most_telling_pixel(scene: MadeScene, restoration: Restoration) -> tuple[int, int]:
    """The pixel with the most restored damaged voxels."""
    count = _judged(scene, restoration).sum(axis=0)
    row, col = np.unravel_index(int(count.argmax()), count.shape)
    return int(row), int(col)


def _story(scene: MadeScene, decoded: Cube, restoration: Restoration, pixel: tuple[int, int]) -> PixelStory:
    row, col = pixel
    points = restoration.contributions_at(row, col)
    shares: dict[str, float] = {}
    for point in points:
        if point.why.source not in ("damage", "rounding", "clipping"):
            label = textwrap.shorten(f"{point.why.source}: {point.why.sentence}", 96, placeholder=" ...")
            shares[label] = shares.get(label, 0.0) + abs(point.value)
    whole = sum(shares.values()) or 1.0
    strongest = sorted(shares.items(), key=lambda item: -item[1])[:6]
    lines = [f"{share / whole:4.0%}  {label}" for label, share in strongest]
    lines.append(f"{len(points)} contributions in all; their sum is restored - decoded, exactly")
    changed = np.zeros(decoded.shape.bands, bool)
    changed[[point.band for point in points]] = True
    column = (slice(None), row, col)
    return PixelStory(
        row, col,
        truth=np.asarray(scene.clean.data)[column].astype(np.float64),
        observed=np.asarray(scene.observed.data)[column].astype(np.float64),
        decoded=np.asarray(decoded.data)[column].astype(np.float64),
        restored=np.asarray(restoration.restored.data)[column].astype(np.float64),
        half_width=restoration.half_width_at(row, col).astype(np.float64),
        damaged=changed, lines=lines,
    )
