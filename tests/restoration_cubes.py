"""Small cubes of library mixtures for the tests of restoration, from seeds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import BandTable, Cube, Reason
from palimpsest.knowledge.releases.release import load

if TYPE_CHECKING:
    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.study.context import Context

GRID = np.arange(400.0, 2500.0, 25.0)
PICKED = ("lawn-grass", "asphalt", "concrete", "brick", "playa", "oak")


@cache
def knowledge() -> KnowledgeBase:
    return load(None)


def mixtures(rows: int = 20, cols: int = 24, seed: int = 1, centre_nm: np.ndarray = GRID) -> np.ndarray:
    """Clean reflectance of smooth mixtures, ``(band, row, col)`` float64."""
    rng = np.random.default_rng(seed)
    base = knowledge()
    materials = [m for m in base.materials if m.spectrum is not None and any(p in m.iri for p in PICKED)][:6]
    assert len(materials) >= 4
    spectra = []
    for material in materials:
        known = np.isfinite(material.spectrum)
        spectra.append(np.interp(centre_nm, base.grid_nm[known], material.spectrum[known]))
    coarse = rng.dirichlet(np.full(len(spectra), 0.5), (rows // 4 + 2) * (cols // 4 + 2))
    coarse = coarse.reshape(rows // 4 + 2, cols // 4 + 2, -1)
    shares = np.kron(coarse, np.ones((4, 4, 1)))[:rows, :cols]
    shares = shares * rng.uniform(0.7, 1.0, (rows, cols, 1))
    return np.einsum("rcm,mb->brc", shares, np.stack(spectra))


def cube_of(reflectance: np.ndarray, centre_nm: np.ndarray | None = GRID, noise: float = 5.0, seed: int = 3) -> Cube:
    rng = np.random.default_rng(seed)
    data = np.rint(reflectance * 10000 + noise * rng.standard_normal(reflectance.shape)).astype(np.int16)
    bands = BandTable(len(data), centre_nm)
    return Cube(data, bands, scale=1e-4, units="reflectance", name="mixtures")


def with_gap(cube: Cube, first: int, last: int) -> Cube:
    data, reasons = cube.data.copy(), np.zeros(cube.data.shape, np.uint8)
    data[first:last], reasons[first:last] = 0, Reason.DEAD
    return replace(cube, data=data, reasons=reasons)


def with_dead_columns(cube: Cube, seed: int = 0, bands: int = 8) -> Cube:
    rng = np.random.default_rng(seed)
    data, reasons = cube.data.copy(), np.zeros(cube.data.shape, np.uint8)
    for band in rng.choice(len(data), bands, replace=False):
        col = int(rng.integers(0, data.shape[2] - 3))
        data[band, :, col : col + 3], reasons[band, :, col : col + 3] = 0, Reason.DEAD
    return replace(cube, data=data, reasons=reasons)


def error_db(test: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    difference = (test.astype(np.float64) - truth)[where] / 10000
    return float(-10 * np.log10((difference**2).mean()))


@cache
def gap_context() -> Context:
    """What the judge sees of a small scene whose bands 30 to 39 are lost."""
    from palimpsest.restoration.study.study import study

    cube = with_gap(cube_of(mixtures()), 30, 40)
    seen = study(cube, cube.voxel_reasons(), knowledge()).context
    assert seen is not None
    return seen
