"""Seeded defects on any cube, with the truth kept: which voxel was struck, and why.

Definitions are those by which restorers are compared: strengths are shares of the cube's 99.9th percentile. Defects
that a mission flags itself (dead lines, missing bands and voxels, saturation) are marked in the cube's own mask and
hold zero, or the ceiling; impulses and stripes are not marked: a restorer has to find them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import Cube, Reason
from palimpsest.errors import MissingWavelengths, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

WIDE_NM: dict[str, tuple[tuple[float, float], ...]] = {
    "vapour_940_1130": ((895.0, 985.0), (1090.0, 1175.0)),
    "red_edge": ((660.0, 780.0),),
    "swir_1450_1800": ((1450.0, 1800.0),),
    "swir2": ((1950.0, 2500.0),),
    "visible": ((420.0, 670.0),),
}
THREE_RUNS = "three_runs_of_15"
CASES = ("a05", "a10", "b", "c", "d", "e", "f", "g", "mixed", "saturated")
_DRAWS = 24  # tries to place a run where no other date has lost the band
WIDE_CASES = (*(f"wide:{name}" for name in WIDE_NM), f"wide:{THREE_RUNS}")


@dataclass(frozen=True, slots=True)
class Degraded:
    """A struck cube and the truth about it.

    Args:
        cube: values with defects, in the type given; its mask names what a mission would flag.
        reasons: why each damaged voxel is damaged, ``(band, row, col)`` uint8; GOOD elsewhere.
        noise_sigma: standard deviation of the noise that was added, stored units, ``(band,)``.
        unit: the 99.9th percentile that strengths refer to, stored units.
    """

    cube: Cube
    reasons: NDArray[np.uint8]
    noise_sigma: NDArray[np.float64]
    unit: float

    @property
    def damaged(self) -> NDArray[np.bool_]:
        """Voxels struck by a defect other than plain noise, ``(band, row, col)``."""
        return np.not_equal(self.reasons, np.uint8(Reason.GOOD))


@dataclass(slots=True)
class _Canvas:
    """Values being struck, ``(band, row, col)`` float32 in units of the 99.9th percentile, with the truth so far."""

    values: NDArray[np.float32]
    reasons: NDArray[np.uint8]
    flagged: NDArray[np.bool_]
    sigma: NDArray[np.float64]
    rng: np.random.Generator
    noise_rng: np.random.Generator
    lost: NDArray[np.int64]


def degrade(cube: Cube, case: str, *, seed: int = 0, lost: NDArray[np.int64] | None = None) -> Degraded:
    """A cube with the defects of a case.

    Args:
        cube: any cube; its values are taken for clean.
        case: 'a05', 'a10' noise of one strength; 'b' noise U(0, 0.1) per band; 'c' b and impulses; 'd' b and stripes;
            'e' b and flagged dead lines; 'f' three short runs of bands missing; 'g' half the voxels missing;
            'saturated'; 'mixed' impulses, stripes, dead lines, short runs and one wide run together; 'wide:NAME' runs
            of bands missing in every pixel.
        seed: of all chance; cases b to e share one noise.
        lost: at how many other dates each band is missing, ``(band,)``: the runs of 'f' and 'mixed' keep clear of
            them where the sensor's range leaves room.

    Raises:
        UsageError: no such case, or a wide run outside the cube's bands.
        MissingWavelengths: a wide run named by wavelengths on a cube without them.
    """
    makers = _makers()
    if case not in makers and not case.startswith("wide:"):
        raise UsageError("unknown defect", got=case, wanted=", ".join((*CASES, *WIDE_CASES)))
    unit = _unit(cube)
    values = np.asarray(cube.data).astype(np.float32) / np.float32(unit)
    bands = values.shape[0]
    canvas = _Canvas(
        values, np.zeros(values.shape, np.uint8), np.zeros(values.shape, bool), np.zeros(bands),
        np.random.default_rng([seed, _number(case)]), np.random.default_rng([seed, 99]),
        np.zeros(bands, np.int64) if lost is None else lost,
    )
    if case.startswith("wide:"):
        missing = wide_bands(cube, case.removeprefix("wide:"))
        if not missing.any():
            raise UsageError("the run lies outside the cube's bands", where=cube.name, got=case, wanted="another run")
        _missing_bands(canvas, missing)
    else:
        makers[case](canvas)
        if case == "mixed":
            _missing_bands(canvas, _one_wide_run(cube, canvas.rng, canvas.lost))
    return _finish(cube, canvas, unit, case)


def wide_bands(cube: Cube, name: str) -> NDArray[np.bool_]:
    """Bands of a wide run, ``(band,)``.

    Raises:
        UsageError: no run of that name.
        MissingWavelengths: the run is given in nm and the cube has no centres.
    """
    bands = cube.shape.bands
    missing = np.zeros(bands, bool)
    if name == THREE_RUNS:
        for place in (0.2, 0.5, 0.8):
            missing[max(int(place * bands) - 7, 0):int(place * bands) + 8] = True
        return missing
    if name not in WIDE_NM:
        raise UsageError("unknown wide run", got=name, wanted=", ".join((*WIDE_NM, THREE_RUNS)))
    if cube.bands.centre_nm is None:
        raise MissingWavelengths("a wide run is given in nm", where=cube.name, wanted=f"band centres, or {THREE_RUNS}")
    for low, high in WIDE_NM[name]:
        missing |= (cube.bands.centre_nm >= low) & (cube.bands.centre_nm <= high)
    return missing


def _makers() -> dict[str, Callable[[_Canvas], None]]:
    return {
        "a05": lambda canvas: _noise(canvas, np.full(canvas.sigma.size, 0.05)),
        "a10": lambda canvas: _noise(canvas, np.full(canvas.sigma.size, 0.1)),
        "b": _band_noise,
        "c": _noise_and_impulses,
        "d": _noise_and_stripes,
        "e": _noise_and_dead_lines,
        "f": _short_runs,
        "g": lambda canvas: _missing_voxels(canvas, 0.5),
        "saturated": lambda canvas: _saturate(canvas, 0.25),
        "mixed": _mixed,
    }


def _number(case: str) -> int:
    known = (*CASES, *WIDE_CASES)
    return known.index(case) if case in known else len(known)


def _unit(cube: Cube) -> float:
    """The 99.9th percentile of usable values; of a large cube, of every seventh pixel."""
    values = np.asarray(cube.data).reshape(cube.shape.bands, -1)
    step = 7 if values.size > 20_000_000 else 1
    usable = cube.usable().reshape(values.shape)[:, ::step] if cube.nodata is not None else None
    part = values[:, ::step]
    taken = part[usable] if usable is not None and usable.any() else part[np.isfinite(part)]
    level = float(np.percentile(taken, 99.9)) if taken.size else 1.0
    return level if level > 0 else 1.0


def _noise(canvas: _Canvas, sigma: NDArray[np.float64]) -> None:
    canvas.sigma[:] = sigma
    for plane, strength in zip(canvas.values, sigma, strict=True):
        plane += np.float32(strength) * canvas.noise_rng.standard_normal(plane.shape, np.float32)


def _band_noise(canvas: _Canvas) -> None:
    _noise(canvas, canvas.noise_rng.uniform(0, 0.1, canvas.sigma.size))


def _noise_and_impulses(canvas: _Canvas) -> None:
    _band_noise(canvas)
    _impulses(canvas, 1 / 3, 0.1)


def _noise_and_stripes(canvas: _Canvas) -> None:
    _band_noise(canvas)
    _stripes(canvas, 1 / 3)


def _noise_and_dead_lines(canvas: _Canvas) -> None:
    _band_noise(canvas)
    _dead_lines(canvas, 20)


def _some_bands(canvas: _Canvas, count: int) -> NDArray[np.int64]:
    bands = canvas.sigma.size
    return canvas.rng.choice(bands, min(max(count, 1), bands), replace=False)


def _impulses(canvas: _Canvas, band_share: float, voxel_share: float) -> None:
    for band in _some_bands(canvas, int(band_share * canvas.sigma.size)):
        struck = canvas.rng.random(canvas.values.shape[1:]) < voxel_share
        canvas.values[band][struck] = canvas.rng.integers(0, 2, int(struck.sum()))
        canvas.reasons[band][struck] = Reason.IMPULSE


def _stripes(canvas: _Canvas, band_share: float) -> None:
    cols = canvas.values.shape[2]
    for band in _some_bands(canvas, int(band_share * canvas.sigma.size)):
        columns = canvas.rng.choice(cols, max(1, int(0.15 * cols)), replace=False)
        offset = canvas.rng.choice([-1, 1], columns.size) * canvas.rng.uniform(0.05, 0.25, columns.size)
        canvas.values[band][:, columns] += offset.astype(np.float32)
        canvas.reasons[band][:, columns] = Reason.STRIPE


def _dead_lines(canvas: _Canvas, bands: int) -> None:
    cols = canvas.values.shape[2]
    for band in _some_bands(canvas, bands):
        for _ in range(3):
            width = min(int(canvas.rng.integers(3, 6)), cols)
            first = int(canvas.rng.integers(0, max(cols - width, 1)))
            _strike(canvas, (slice(int(band), int(band) + 1), slice(None), slice(first, first + width)), Reason.DEAD)


def _short_runs(canvas: _Canvas) -> None:
    bands = canvas.sigma.size
    missing = np.zeros(bands, bool)
    for length, place in zip((3, 3, 4), (0.17, 0.47, 0.80), strict=True):  # away from the ends
        for attempt in range(_DRAWS):
            first = int(place * bands) + int(canvas.rng.integers(-5 - attempt, 6 + attempt))
            run = slice(max(first, 0), max(first + length, 0))
            if not canvas.lost[run].any():
                break
        missing[run] = True
    _missing_bands(canvas, missing)


def _missing_bands(canvas: _Canvas, missing: NDArray[np.bool_]) -> None:
    for band in np.flatnonzero(missing):
        _strike(canvas, (slice(int(band), int(band) + 1), slice(None), slice(None)), Reason.BAD_BAND)


def _missing_voxels(canvas: _Canvas, share: float) -> None:
    for plane, reasons, flagged in zip(canvas.values, canvas.reasons, canvas.flagged, strict=True):
        struck = canvas.rng.random(plane.shape) < share
        plane[struck], reasons[struck], flagged[struck] = 0.0, Reason.NODATA, True


def _saturate(canvas: _Canvas, band_share: float) -> None:
    for band in _some_bands(canvas, int(band_share * canvas.sigma.size)):
        plane = canvas.values[band]
        ceiling = np.float32(np.percentile(plane, 100 - canvas.rng.uniform(0.5, 4)))
        struck = plane > ceiling
        plane[struck], canvas.reasons[band][struck], canvas.flagged[band][struck] = ceiling, Reason.SATURATED, True


def _mixed(canvas: _Canvas) -> None:
    _impulses(canvas, 1 / 12, 0.02)
    _stripes(canvas, 1 / 12)
    _saturate(canvas, 1 / 20)
    _dead_lines(canvas, max(1, canvas.sigma.size // 11))
    _short_runs(canvas)


def _one_wide_run(cube: Cube, rng: np.random.Generator, lost: NDArray[np.int64]) -> NDArray[np.bool_]:
    if cube.bands.centre_nm is None:
        return np.zeros(cube.shape.bands, bool)
    runs = [run for run in (wide_bands(cube, name) for name in ("vapour_940_1130", "red_edge", "swir_1450_1800"))
            if run.any()]
    least = min((int(lost[run].sum()) for run in runs), default=0)
    runs = [run for run in runs if lost[run].sum() == least]
    return runs[int(rng.integers(len(runs)))] if runs else np.zeros(cube.shape.bands, bool)


def _strike(canvas: _Canvas, where: tuple[slice, slice, slice], reason: Reason) -> None:
    canvas.values[where], canvas.reasons[where], canvas.flagged[where] = 0.0, reason, True


def _finish(cube: Cube, canvas: _Canvas, unit: float, case: str) -> Degraded:
    values = canvas.values
    values *= np.float32(unit)
    dtype = np.asarray(cube.data).dtype
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        np.rint(values, out=values)
        np.clip(values, limits.min, min(limits.max, 2**31 - 256), out=values)
    struck = values.astype(dtype)
    # Where nothing was done the value is the very one that was given, whatever rounding would have made of it.
    untouched = (canvas.reasons == Reason.GOOD) & (canvas.sigma == 0)[:, None, None]
    np.copyto(struck, np.asarray(cube.data), where=untouched)
    before = np.zeros(cube.shape, np.uint8) if cube.reasons is None else cube.reasons
    mask = np.where(canvas.flagged, canvas.reasons, before).astype(np.uint8)
    reported = mask if canvas.flagged.any() or cube.reasons is not None else None
    damaged = replace(cube, data=struck, reasons=reported, history=(*cube.history, f"defects: {case}"))
    return Degraded(damaged, canvas.reasons, canvas.sigma * unit, unit)
