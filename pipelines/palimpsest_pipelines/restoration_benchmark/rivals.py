"""Rivals of the restoration benchmark: interpolation along the spectrum, and the restorers of a folder of rivals."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import PchipInterpolator, interp1d

from palimpsest.cubes import Cube
from palimpsest.errors import UsageError
from palimpsest_pipelines.restoration_benchmark.cases import MIXED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

    from palimpsest_pipelines.restoration_benchmark.cases import Case

    Restorer = Callable[[], NDArray[np.float32]]

RIDGE = "ridge on the clean pixels"
UNMIXED = "nnls_residual"  # on the release's references
MODELLED = f"{UNMIXED}, modelled too"  # the same recipe on what radiative transfer makes of the library as well
READ_SPECTRA = 60  # of a scene, by which it is told what is on the ground
COMPONENTS = 15  # of the observed bands, as in the measurements that the rivals came from
_RIDGE = 1e-2
_MOSTLY = 0.5  # share of the pixels that show a band
ORACLE = "oracle_wiener"  # knows the clean scene's covariance and the noise: a hint, and no rival


def interpolated(cube: Cube, usable: NDArray[np.bool_], kind: str) -> NDArray[np.float32]:
    """Each spectrum with its unusable bands interpolated over band numbers, as the rivals do it.

    Where detectors overlap, band numbers serve a cubic better than wavelengths do. Beyond the first and last usable
    band the nearest usable value holds.

    Args:
        cube: the cube.
        usable: ``(band, row, col)``.
        kind: 'linear' or 'pchip'.
    """
    bands = cube.shape.bands
    at = np.arange(bands, dtype=np.float64)
    values = np.asarray(cube.data).reshape(bands, -1).astype(np.float32)
    masks = usable.reshape(bands, -1)
    packed = np.ascontiguousarray(np.packbits(masks, axis=0).T)
    _, first, group = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    members = np.split(np.argsort(group.ravel(), kind="stable"), np.cumsum(np.bincount(group.ravel()))[:-1])
    for pixel, pixels in zip(first, members, strict=True):
        good = masks[:, pixel]
        if good.all() or good.sum() < 2:
            continue
        wanted = np.clip(at[~good], at[good][0], at[good][-1])
        known = values[np.ix_(good, pixels)]
        make = PchipInterpolator if kind == "pchip" else interp1d
        values[np.ix_(~good, pixels)] = make(at[good], known, axis=0)(wanted)
    return values.reshape(cube.data.shape)


def rivals_for(folder: Path, case: Case) -> dict[str, Restorer]:
    """The restorers of a folder's ``restorers.py`` that serve a case, by name; each gives stored units.

    Those that need a package which is not installed raise ImportError when they are asked.

    Raises:
        UsageError: no such file, or it cannot be read.
    """
    rival = module(folder, "restorers")
    y = np.ascontiguousarray(np.moveaxis(np.asarray(case.struck.data), 0, 2).astype(np.float32) / np.float32(case.unit))
    mask = np.ascontiguousarray(np.moveaxis(case.usable, 0, 2))
    if not case.is_blind or case.kind in ("made", MIXED):
        y = np.where(mask, y, np.float32(0))
    bands = y.shape[2]
    told = None if mask.all() else mask

    def factors(count: int) -> NDArray[np.float32]:
        flat_mask = None if told is None else told.reshape(-1, bands)
        model = rival.fa_em(y.reshape(-1, bands).astype(np.float64), flat_mask, k=count, iters=25)
        return np.asarray(rival.fa_rec(model, y.shape))

    def unmixed(library: NDArray[np.float64]) -> NDArray[np.float32]:
        gap = np.broadcast_to(mask.any(axis=(0, 1)) & (mask.mean(axis=(0, 1)) > _MOSTLY), mask.shape)
        return np.where(mask, y, rival.nnls_residual(y, gap, library))

    if case.kind in ("wide", "clean", "f"):
        chosen: dict[str, Restorer] = {} if case.kind == "clean" else {
            "akima": lambda: rival.interp_spec(y, mask, "akima"), "gp6": lambda: rival.gp_spec(y, mask, 6),
            "gp12": lambda: rival.gp_spec(y, mask, 12), "gp25": lambda: rival.gp_spec(y, mask, 25),
        }
        libraries = _libraries(case) if case.kind != "f" else {}
        for name, library in libraries.items():
            chosen[name] = partial(unmixed, library)
        if case.kind == "clean":
            chosen[RIDGE] = lambda: np.where(mask, y, ridge(y, mask))
    elif case.kind == "g":
        chosen = {
            "fa30": lambda: np.where(mask, y, factors(30)),
            "softimpute": lambda: np.where(mask, y, rival.softimpute(y, mask, 150, 1e-4)),
        }
    elif case.is_noisy:
        chosen = noise_rivals(rival, case, y, told) | {"fa20": lambda: factors(20)}
    else:
        chosen = {"fa20+pchip": lambda: _factors_then_pchip(rival, case.struck, mask, y)}
    return {name: _stored(run, case.unit) for name, run in chosen.items()}


def _libraries(case: Case) -> dict[str, NDArray[np.float64]]:
    """Spectra at a case's bands in stored order, ``(spectrum, band)``, by the rival; none without wavelengths.

    The release's references, and these with all that models make of what is on the ground, as restoration has it.
    """
    from palimpsest.knowledge.releases.release import load
    from palimpsest.restoration.library.modelled import with_models
    from palimpsest.restoration.library.semantic_mapper import library_for, read_scene
    from palimpsest.restoration.view import Axis

    axis, knowledge = Axis.of(case.struck.bands), load(None)
    library = library_for(axis, knowledge)
    if library is None:
        return {}
    observed = ~case.gap[axis.order]
    pixels = np.asarray(case.struck.data).reshape(axis.count, -1)[axis.order].T / case.unit
    some = pixels[:: max(1, len(pixels) // READ_SPECTRA)].astype(np.float64)
    reading = read_scene(library, some, observed, lit=False)
    found = [] if reading is None else [material.iri for material in reading.materials]
    answer = {}
    for name, one in ((UNMIXED, library), (MODELLED, with_models(library, knowledge, axis, found))):
        answer[name] = np.empty_like(one.spectra)
        answer[name][:, axis.order] = one.spectra
    return answer


def ridge(y: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Missing bands from the observed ones' principal components, by ridge on the pixels that have all bands.

    Args:
        y: values of the unit, ``(row, col, band)``.
        mask: True = usable, alike in all pixels but the clean ones.
    """
    spectra, seen = y.reshape(-1, y.shape[2]).astype(np.float64), mask.reshape(-1, y.shape[2])
    gap, clean = seen.mean(0) <= _MOSTLY, seen.all(axis=1)
    shown = spectra[:, ~gap] - spectra[:, ~gap].mean(0)
    _, strength, basis = np.linalg.svd(shown, full_matrices=False)
    scores = shown @ basis[:COMPONENTS].T * np.sqrt(len(shown)) / strength[0]
    base = spectra[clean][:, gap].mean(0)
    known, told = scores[clean] - scores[clean].mean(0), spectra[clean][:, gap] - base
    slopes = np.linalg.solve(known.T @ known + _RIDGE * np.eye(known.shape[1]), known.T @ told)
    spectra[:, gap] = base + (scores - scores[clean].mean(0)) @ slopes
    return spectra.reshape(y.shape).astype(np.float32)


def noise_rivals(
    rival: ModuleType, case: Case, y: NDArray[np.float32], told: NDArray[np.bool_] | None
) -> dict[str, Restorer]:
    """Those that take noise off a cube, by name; each gives values of the unit, ``(row, col, band)``.

    Args:
        rival: the folder's ``restorers.py``.
        case: what was struck.
        y: values of the unit, ``(row, col, band)``.
        told: the mask, or None where there is none.
    """
    sigma = np.zeros(y.shape[2]) if case.sigma is None else case.sigma / case.unit
    clean = np.moveaxis(np.asarray(case.truth), 0, 2).astype(np.float32) / np.float32(case.unit)
    struck = None if case.kind not in ("c", "d", "e") else np.moveaxis(case.damaged, 0, 2)
    chosen: dict[str, Restorer] = {ORACLE: lambda: rival.oracle_wiener(y, clean, sigma, struck)}
    if case.kind in ("c", "d", "e"):
        chosen["rob_fa"] = lambda: _robust(rival, y, told)
        chosen["rob_fa_bm3d"] = lambda: _robust(rival, y, told, collaborative=True)
    if told is None:
        chosen |= {
            "nlm_eig": lambda: rival.nlm_eig(y), "tv_eig": lambda: rival.tv_eig(y), "pca10": lambda: rival.pca(y),
            "mnf10": lambda: rival.mnf(y), "fasthyde_joint_bm3d": lambda: rival.fasthyde_joint(y),
        }
        if case.kind in ("c", "d", "e"):
            chosen["rpca"] = lambda: rival.rpca(y)
    return chosen


def cached(path: Path | None, folder: Path, case: Case, name: str) -> tuple[str, dict[str, object] | None]:
    """The key of a rival's figures on a case, and the figures where they were measured before.

    The key holds the struck values, what was told, the truth, and the rivals' code: a change in any of them, and the
    rival runs again.

    Raises:
        UsageError: lines that are not JSON.
    """
    running = hashlib.sha256(f"{case.scene} {case.name} {name}".encode())
    for file in sorted(folder.glob("*.py")):
        running.update(file.read_bytes())
    for part in (case.struck.data, case.truth, case.usable):
        running.update(np.ascontiguousarray(part).tobytes())
    key = running.hexdigest()[:32]
    if path is None or not path.is_file():
        return key, None
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError("not a cache of rivals' figures", where=path, got=line[:60], wanted="JSON") from error
        if row.get("key") == key:
            return key, dict(row["figures"])
    return key, None


def _factors_then_pchip(
    rival: ModuleType, cube: Cube, mask: NDArray[np.bool_], y: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Factors where a band is there in some pixels; PCHIP over the result where it is there in none."""
    there = np.asarray(mask.any(axis=(0, 1)))
    part, part_mask = y[..., there], mask[..., there]
    flat, flat_mask = (a.reshape(-1, int(there.sum())) for a in (part, part_mask))
    model = rival.fa_em(flat.astype(np.float64), flat_mask, k=20, iters=25)
    filled = y.copy()
    filled[..., there] = np.where(part_mask, part, np.asarray(rival.fa_rec(model, part.shape)))
    known = np.broadcast_to(there[:, None, None], cube.data.shape)
    values = interpolated(Cube(np.moveaxis(filled, 2, 0), cube.bands), known, "pchip")
    return np.moveaxis(values, 0, 2)


def _stored(run: Restorer, unit: float) -> Restorer:
    return lambda: np.moveaxis(np.asarray(run(), np.float32), 2, 0) * np.float32(unit)


def _robust(
    rival: ModuleType, y: NDArray[np.float32], mask: NDArray[np.bool_] | None, *, collaborative: bool = False
) -> NDArray[np.float32]:
    model, moved, trusted, _ = rival.rob_fa(y, mask)
    if not collaborative:
        return np.asarray(rival.fa_rec(model, y.shape))
    return np.asarray(rival.eigen_bm3d(model, rival.fill(moved, trusted, model), y.shape))


def module(folder: Path, name: str) -> ModuleType:
    """A module of the rivals' folder.

    Raises:
        UsageError: no such file, or it cannot be read.
    """
    path = folder / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"rival_{name}", path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise UsageError("no rivals there", where=folder, wanted=f"a folder with {name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found
