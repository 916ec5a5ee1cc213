"""What the codec's networks learn from: component planes of scenes and images, split by region, hashed.

Allowed teachers: made scenes, the natural images that scikit-image ships, and the scenes Indian Pines and GatorSense
where the user has them. A plane is a principal component, fitted on the training region alone. The first 80 % of the
rows train, the next 10 % choose, the last 10 % test; no pixel is in two of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

TEACHERS = ("indian_pines", "gatorsense")
IMAGES = ("camera", "brick", "grass", "gravel", "moon", "coins", "astronaut", "coffee", "chelsea", "rocket")
MADE = (("mixed", "aviris"), ("urban", "hymap"), ("geology", "emit"), ("vegetation", "enmap"))
SCENE_PSNR_DB = (42.0, 45.0, 48.0, 51.0, 54.0, 57.0)
IMAGE_PSNR_DB = (30.0, 34.0, 38.0, 42.0)
TRAIN, CHOOSE = 0.8, 0.9
LARGEST_IMAGE = 600


@dataclass(frozen=True, slots=True)
class Teacher:
    """One scene or image.

    Args:
        name: for the scorecard.
        kind: 'scene', 'made' or 'image'.
        sha256: of its values, hex.
        planes: principal components, strongest first, ``(component, row, col)`` float32.
        variances: of the components over the training region.
        peak: largest value, the peak of PSNR.
    """

    name: str
    kind: str
    sha256: str
    planes: NDArray[np.float32]
    variances: NDArray[np.float64]
    peak: float

    def region(self, which: str) -> NDArray[np.float32]:
        """Rows of 'train', 'choose' or 'test', all components."""
        rows = self.planes.shape[1]
        first, second = int(rows * TRAIN), int(rows * CHOOSE)
        start, end = {"train": (0, first), "choose": (first, second), "test": (second, rows)}[which]
        return self.planes[:, start:end]

    def step(self, psnr_db: float) -> float:
        """Quantiser step whose noise alone would give a PSNR."""
        return float(self.peak * 10 ** (-psnr_db / 20) * np.sqrt(12))


@dataclass(frozen=True, slots=True)
class Task:
    """A plane at a step, and how much of the rate it stands for."""

    teacher: int
    component: int
    step: float
    weight: float


def teacher(name: str, kind: str, cube: NDArray[np.generic]) -> Teacher:
    """A teacher from ``(band, row, col)`` values; constant and non-finite bands are left out."""
    values = np.asarray(cube, dtype=np.float64)
    used = np.isfinite(values).all(axis=(1, 2)) & (values.std(axis=(1, 2)) > 0)
    values = values[used]
    bands, rows, cols = values.shape
    flat = values.reshape(bands, -1)
    learnt = values[:, : int(rows * TRAIN)].reshape(bands, -1)
    mean = learnt.mean(axis=1, keepdims=True)
    variances, basis = np.linalg.eigh(np.atleast_2d(np.cov(learnt)))
    order = np.argsort(variances)[::-1]
    planes = (basis[:, order].T @ (flat - mean)).reshape(bands, rows, cols)
    digest = hashlib.sha256(np.ascontiguousarray(cube).tobytes()).hexdigest()
    return Teacher(name, kind, digest, planes.astype(np.float32), np.maximum(variances[order], 0), float(values.max()))


def teachers(scenes: Path | None, without: tuple[str, ...], *, seed: int) -> list[Teacher]:
    """Every teacher at hand, in a fixed order; names in ``without`` are held out."""
    return [*_scenes(scenes, without), *_made(seed), *_images()]


def _scenes(folder: Path | None, without: tuple[str, ...]) -> Iterator[Teacher]:
    from palimpsest.formats import read

    for name in TEACHERS:
        if folder is not None and name not in without and (folder / f"{name}.hdr").exists():
            yield teacher(name, "scene", np.asarray(read(folder / f"{name}.hdr").data))


def _made(seed: int) -> Iterator[Teacher]:
    from palimpsest.scenes import make_scene

    for number, (kind, sensor) in enumerate(MADE):
        scene = make_scene(128, 128, sensor=sensor, seed=1000 * seed + number, kind=kind)
        yield teacher(f"made-{kind}-{sensor}", "made", np.asarray(scene.observed.data))


def _images() -> Iterator[Teacher]:
    try:
        from skimage import data
    except ImportError:
        return  # the scorecard's list of data says so
    for name in IMAGES:
        pixels = np.asarray(getattr(data, name)())[:LARGEST_IMAGE, :LARGEST_IMAGE]
        yield teacher(name, "image", np.moveaxis(np.atleast_3d(pixels)[..., :3], 2, 0))


def tasks(found: list[Teacher], shares: dict[str, float]) -> list[Task]:
    """Every plane worth coding at every step; weights sum to one, each kind of teacher has its share."""
    listed = []
    present = {one.kind for one in found}
    total = sum(shares[kind] for kind in present)
    for index, one in enumerate(found):
        peers = sum(1 for other in found if other.kind == one.kind)
        ladder = IMAGE_PSNR_DB if one.kind == "image" else SCENE_PSNR_DB
        for psnr in ladder:
            step = one.step(psnr)
            kept = np.flatnonzero(one.variances > step**2 / 12)
            bits = np.maximum(0.3 * np.log2(one.variances[kept] * 12 / step**2), 0.05)
            for component, share in zip(kept, bits / max(bits.sum(), 1e-9), strict=True):
                weight = shares[one.kind] / total / peers / len(ladder) * share
                listed.append(Task(index, int(component), step, float(weight)))
    return listed
