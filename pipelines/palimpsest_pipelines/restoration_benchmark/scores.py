"""How a restoration is scored: decibels, spectral angle, and intervals by band group and kind of damage."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from palimpsest.restoration.result import Restoration
    from palimpsest_pipelines.restoration_benchmark.cases import Case

BAND_GROUP_NAMES = ("visible", "near infrared", "to 1350 nm", "to 1800 nm", "beyond", "no wavelengths")
KIND_NAMES = ("short gap", "wide gap", "single voxels", "noise")
SINGLE_KIND, NOISE_KIND = 2, 3
NOISELESS = "single voxels by the truth without noise"  # shown beside, and counted once: as measurements
MANY = 10_000  # voxels from which a group's coverage is asked for
FEWEST_RANKED = 20


@dataclass(frozen=True, slots=True)
class Result:
    """One method on one case.

    Args:
        scene: which scene.
        case: which case.
        method: who restored.
        dmg_psnr: PSNR on damaged voxels, dB.
        mpsnr: mean PSNR of the bands (of the missing bands where whole bands are missing), dB.
        sam: mean spectral angle, degrees.
        seconds: wall clock.
        coverage: share of restored judged voxels whose truth lies in the 90 % interval; None for who gives none.
        half_width: mean half width of that interval, of the unit.
        sharpness: the same after all were scaled so that exactly nine voxels in ten are covered.
        ranking: rank correlation of half widths and errors (Spearman 1904), -1 to 1: whether the map of confidence says
            where the errors are.
        is_exact: whether the contributions add up to the restoration in every voxel.
        by_reason: PSNR on the voxels of each kind of damage, dB.
        groups: of the intervals, by band group and kind of damage: voxels, those covered, sum of half widths.
        grounds: the same by kind of material, as the expert rules name the truth's pixels; empty without wavelengths.
    """

    scene: str
    case: str
    method: str
    dmg_psnr: float
    mpsnr: float
    sam: float
    seconds: float
    coverage: float | None = None
    half_width: float | None = None
    sharpness: float | None = None
    ranking: float | None = None
    is_exact: bool | None = None
    by_reason: dict[str, float] = field(default_factory=dict)
    groups: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    grounds: dict[str, tuple[int, int, float]] = field(default_factory=dict)

    @property
    def figure(self) -> float:
        """What counts: damaged voxels where voxels are missing or struck, the mean over bands where noise is."""
        return self.mpsnr if self.case in ("a05", "a10", "b") else self.dmg_psnr


def score(case: Case, restored: NDArray[np.generic]) -> tuple[float, float, float]:
    """PSNR on damaged voxels, mean PSNR over bands, mean spectral angle in degrees; peak is the unit."""
    bands = case.truth.shape[0]
    squares, struck = np.zeros(bands), case.damaged.reshape(bands, -1)
    on_damaged = 0.0
    dot, ours, theirs = np.zeros((3, case.truth[0].size))
    for band in range(bands):
        x = np.asarray(case.truth[band], np.float64).ravel() / case.unit
        z = np.nan_to_num(np.asarray(restored[band], np.float64).ravel() / case.unit)
        error = (x - z) ** 2
        squares[band] = error.mean()
        on_damaged += error[struck[band]].sum()
        dot, ours, theirs = dot + x * z, ours + z * z, theirs + x * x
    whole = struck.all(axis=1)
    per_band = -10 * np.log10(np.maximum(squares[whole] if whole.any() else squares, 1e-12))
    cosine = np.clip(dot / np.maximum(np.sqrt(ours * theirs), 1e-12), -1, 1)
    damaged = -10 * np.log10(max(on_damaged / max(int(struck.sum()), 1), 1e-12))
    return float(damaged), float(per_band.mean()), float(np.degrees(np.arccos(cosine)).mean())


def by_reason(case: Case, restored: NDArray[np.generic]) -> dict[str, float]:
    """PSNR on the voxels of each kind of damage, dB, by the name of the reason in lower case."""
    from palimpsest.cubes import Reason

    found = {}
    for reason in np.unique(case.reasons[case.damaged]):
        here = case.reasons == reason
        error = np.asarray(restored)[here].astype(np.float64) - np.asarray(case.truth)[here]
        psnr = -10 * np.log10(max(float((np.nan_to_num(error / case.unit) ** 2).mean()), 1e-12))
        found[Reason(reason).name.lower()] = round(float(psnr), 3)
    return found


def intervals(case: Case, restoration: Restoration) -> dict[str, tuple[int, int, float]]:
    """Voxels, covered ones, and sum of half widths (of the unit), by 'band group, kind of damage'.

    Over the judged voxels that were restored; in cases of noise, over all voxels whose noise was taken off. Single
    voxels are held against what was measured; where the truth is another, under :data:`NOISELESS` against that too.
    """
    from palimpsest.restoration.integrator.confidence import band_group
    from palimpsest.restoration.view import Axis

    voxels, width, error, kind = _judged(case, restoration)
    axis = Axis.of(case.struck.bands)
    group = np.empty(axis.count, np.intp)
    group[axis.order] = band_group(axis)
    band = voxels // case.truth[0].size
    found = {}

    def count(name: str, here: NDArray[np.bool_], missed: NDArray[np.float64]) -> None:
        found[name] = int(here.sum()), int((missed <= width)[here].sum()), float(width[here].sum())

    for number in np.unique(group[band] * len(KIND_NAMES) + kind):
        here = group[band] * len(KIND_NAMES) + kind == number
        place, sort = BAND_GROUP_NAMES[number // len(KIND_NAMES)], number % len(KIND_NAMES)
        count(f"{place}, {KIND_NAMES[sort]}", here, error)
        if sort == SINGLE_KIND and case.measured is not None:
            count(f"{place}, {NOISELESS}", here, _missed(case, restoration, voxels, case.truth))
    return found


def total(groups: Mapping[str, tuple[int, int, float]]) -> tuple[int, int, float]:
    """Voxels, covered ones, and sum of half widths of all groups of :func:`intervals` together."""
    rows = [row for name, row in groups.items() if not name.endswith(NOISELESS)]
    number, covered, width = (sum(row[k] for row in rows) for k in range(3))
    return int(number), int(covered), float(width)


def by_ground(case: Case, restoration: Restoration) -> dict[str, tuple[int, int, float]]:
    """Voxels, covered ones, and sum of half widths (of the unit), by the kind of material of their pixel.

    Kinds are those of the release's hierarchy (vegetation, mineral, ...) for what the expert rules name in the truth;
    'unnamed' is the rest. Empty where the scene has no wavelengths.
    """
    if not case.struck.bands.has_wavelengths:
        return {}
    place, names = _grounds(case)
    voxels, width, error, _ = _judged(case, restoration)
    here = place[voxels % place.size]
    return {
        names[kind]: (int((here == kind).sum()), int((error <= width)[here == kind].sum()),
                      float(width[here == kind].sum()))
        for kind in np.unique(here)
    }


def _grounds(case: Case) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Kind of each pixel's material, ``(pixel,)``, and the kinds' names."""
    from palimpsest.knowledge.identification.identify import identify
    from palimpsest.knowledge.identification.mixtures import level_names
    from palimpsest.knowledge.releases.release import load

    knowledge = load(None)
    clean = replace(case.struck, data=np.asarray(case.truth), reasons=None)
    kinds = level_names(knowledge)[-1]
    names = tuple(dict.fromkeys(kinds))
    number = np.array([names.index(kind) for kind in kinds], np.intp)
    return number[identify(clean, knowledge).labels.reshape(-1)], names


def sharpness(case: Case, restoration: Restoration) -> float | None:
    """Mean half width, of the unit, if all intervals were scaled to hold nine voxels in ten; None without voxels."""
    _, width, error, _ = _judged(case, restoration)
    if not width.size:
        return None
    return float(width.mean() * np.quantile(error / np.maximum(width, 1e-12), 0.9))


def ranking(case: Case, restoration: Restoration) -> float | None:
    """Spearman's rank correlation of half widths and errors; None where all are alike, or hardly a voxel is judged."""
    from scipy.stats import rankdata

    _, width, error, _ = _judged(case, restoration)
    if width.size < FEWEST_RANKED or np.ptp(width) == 0 or np.ptp(error) == 0:
        return None
    return float(np.corrcoef(rankdata(width), rankdata(error))[0, 1])


def _judged(
    case: Case, restoration: Restoration
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Voxels whose interval counts, half width and error, of the unit, and kind of damage."""
    changed = restoration.changed
    struck = case.damaged.reshape(-1)[changed]
    judged = np.ones(changed.size, bool) if case.is_noisy else struck
    voxels = changed[judged]
    width = restoration.half_width[judged].astype(np.float64) / case.unit
    kind = np.where(
        struck[judged] & (case.kind not in ("a05", "a10", "b")), _kinds(case)[voxels // case.truth[0].size], NOISE_KIND
    )
    error = _missed(case, restoration, voxels, case.truth)
    if case.measured is not None:
        error = np.where(kind == SINGLE_KIND, _missed(case, restoration, voxels, case.measured), error)
    return voxels, width, error, kind


def _missed(
    case: Case, restoration: Restoration, voxels: NDArray[np.int64], truth: NDArray[np.generic]
) -> NDArray[np.float64]:
    """How far what was restored is from a truth, of the unit, ``(voxel,)``."""
    restored = np.asarray(restoration.restored.data).reshape(-1)[voxels].astype(np.float64)
    return np.asarray(np.abs(restored - np.asarray(truth).reshape(-1)[voxels]) / case.unit)


def _kinds(case: Case) -> NDArray[np.intp]:
    """Kind of damage of each stored band, ``(band,)``: part of a short or a wide shared gap, or single voxels."""
    from palimpsest.restoration.factors.low_rank import FEWEST_SEEN
    from palimpsest.restoration.integrator.confidence import SHORT_NM
    from palimpsest.restoration.study.sources import runs_of
    from palimpsest.restoration.view import Axis

    axis = Axis.of(case.struck.bands)
    nm = axis.along if axis.centre_nm is not None else axis.along * 10.0
    lost = case.usable.reshape(axis.count, -1).sum(1)[axis.order] < FEWEST_SEEN
    kind = np.full(axis.count, SINGLE_KIND)
    for run in runs_of(lost):
        wide = nm[run.last - 1] - nm[run.first] + 10.0 > SHORT_NM
        kind[axis.order[run.first : run.last]] = int(wide)
    return kind


def pooled(results: list[Result]) -> dict[str, tuple[int, int, float]]:
    """Intervals of several results together, as of :func:`intervals`, with 'overall' first; then by ground."""
    found: dict[str, tuple[int, int, float]] = {"overall": (0, 0, 0.0)}

    def add(key: str, row: tuple[int, int, float]) -> None:
        n, c, w = found.get(key, (0, 0, 0.0))
        found[key] = n + row[0], c + row[1], w + row[2]

    for result in results:
        add("overall", total(result.groups))
        for name, row in result.groups.items():
            add(name, row)
    for result in results:
        for name, row in result.grounds.items():
            add(f"ground {name}", row)
    return found
