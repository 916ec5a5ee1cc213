"""What the coder of a spectral basis knows beforehand: its first state.

Bases of made scenes, and of the scenes that may teach with windows of them, at several numbers of components each. The
coder codes all of them once, in a drawn order, and what it has learnt is kept. Deterministic by seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.codec.spectrum import basis_coder, spectral
from palimpsest.codec.spectrum.basis_coder import BasisState
from palimpsest_pipelines.codec_training.training_data import TEACHERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.codec.spectrum.spectral import SpectralLevel, Statistics

KINDS, SENSORS = ("mixed", "urban", "geology", "vegetation"), ("aviris", "hymap", "emit", "enmap")
MADE_SIDE, WINDOWS, SMALLEST = 96, 6, 24  # pixels a side; windows of a scene that teaches, and their least side
COMPONENTS = (4, 8, 16, 32, 64, 110)  # about how many are kept, as far as there are this many with room to spare
MOST_OF_BANDS = 0.7


def learn(scenes: Path | None, without: tuple[str, ...], seed: int, note: Callable[[str], None]) -> dict[str, Any]:
    """Tensors ``basis.*`` for a model.

    Args:
        scenes: folder of the ENVI scenes that may teach; None is made scenes alone.
        without: scenes held out.
        seed: of windows, made scenes and order.
        note: told of the progress.
    """
    rng = np.random.default_rng(seed)
    levels = [level for found in _teachers(scenes, without, rng, seed) for level in _levels(found)]
    state = BasisState.blank()
    for at in rng.permutation(len(levels)):
        basis_coder.encode_learning(levels[at], state)
    note(f"{len(levels)} bases taught the first state of their coder")
    return dict(basis_coder.packed(state))


def _teachers(
    scenes: Path | None, without: tuple[str, ...], rng: np.random.Generator, seed: int
) -> Iterator[Statistics]:
    from palimpsest.formats import read
    from palimpsest.scenes import make_scene

    for number, (kind, sensor) in enumerate((kind, sensor) for kind in KINDS for sensor in SENSORS):
        scene = make_scene(MADE_SIDE, MADE_SIDE, sensor=sensor, seed=5000 * seed + number, kind=kind)
        yield _statistics(np.asarray(scene.observed.data))
    for name in TEACHERS:
        if scenes is None or name in without or not (scenes / f"{name}.hdr").exists():
            continue
        values = np.asarray(read(scenes / f"{name}.hdr").data)
        yield _statistics(values)
        for _ in range(WINDOWS):
            rows, cols = (int(rng.integers(SMALLEST, int(0.8 * extent))) for extent in values.shape[1:])
            row = int(rng.integers(0, values.shape[1] - rows))
            col = int(rng.integers(0, values.shape[2] - cols))
            yield _statistics(values[:, row : row + rows, col : col + cols])


def _statistics(values: NDArray[np.generic]) -> Statistics:
    flat = values.reshape(len(values), -1).T
    return spectral.gather([flat[np.isfinite(flat).all(axis=1)].astype(np.float64)], len(values))


def _levels(found: Statistics) -> Iterator[SpectralLevel]:
    """Spectral levels at steps that keep about as many components as are listed."""
    bands = len(found.mean)
    variances = np.linalg.eigvalsh(found.covariance)[::-1]
    for kept in COMPONENTS:
        if kept < MOST_OF_BANDS * bands and variances[kept] > 0:
            yield spectral.fit(found, np.ones(bands), float(np.sqrt(12 * variances[kept])))
