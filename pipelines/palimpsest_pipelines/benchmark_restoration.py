"""``palimpsest benchmark restoration``: damaged scenes repaired, against interpolation, with every part left out.

Damage is made by :func:`palimpsest.scenes.degrade` (the definitions by which restorers are compared); the recorded scene
is the truth. Figures are PSNR on damaged voxels, dB, against the scene's 99.9th percentile. The rivals are straight
lines and monotone cubics over band numbers with the nearest value held beyond the ends; a made scene with mixed defects
joins the recorded ones.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import Cube, Reason
from palimpsest.restoration.integrator import PARTS
from palimpsest.restoration.interpolation import linear, pchip
from palimpsest.restoration.restorer import restore
from palimpsest.restoration.view import Axis, view_of
from palimpsest.scenes import WIDE_CASES, degrade, make_scene

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase

SCENES = ("indian_pines", "gatorsense", "airport_1", "enmap_crop")
UNSEEN = ("indian_pines", "gatorsense")  # measured with weights that did not see them
CASES = ("e", "f", *WIDE_CASES)
MADE = "made-mixed"


@dataclass(frozen=True, slots=True)
class Task:
    """One damaged scene with its truth.

    Args:
        scene: its name.
        case: the damage.
        cube: the damaged cube.
        truth: ``(band, row, col)``.
        damaged: voxels that are scored.
        unit: stored units of one: the peak.
    """

    scene: str
    case: str
    cube: Cube
    truth: NDArray[np.float32]
    damaged: NDArray[np.bool_]
    unit: float


def run(
    *, scenes: Path, only: tuple[str, ...], rivals: Path | None, cases: tuple[str, ...], ablation: bool,
    out: Path | None, note: Callable[[str], None],
) -> dict[str, object]:
    """Every scene under every case; the table, and JSON lines when ``out`` is given.

    Args:
        scenes: folder of ENVI cubes.
        only: scene names; empty for :data:`SCENES` and the made one.
        rivals: kept for the other subjects; the rivals of this one are interpolations.
        cases: of :data:`CASES`; empty for all that apply.
        ablation: also without edges and without each part.
        out: JSON lines.
        note: hears progress.
    """
    from palimpsest.knowledge.release import load

    del rivals
    knowledge = load(None)
    rows: list[dict[str, object]] = []
    for name in only or (*SCENES, MADE):
        for task in tasks(scenes, name, cases or CASES):
            row = measure(task, knowledge, ablation=ablation)
            rows.append(row)
            note(json.dumps(row))
    if out is not None:
        out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    gains = [float(row["gain_db"]) for row in rows]  # type: ignore[arg-type]  # a number by construction
    table: dict[str, object] = {
        f"{row['scene']} {row['case']}": " ".join(
            f"{key[3:]} {value:.2f}" for key, value in row.items() if key.startswith("db_") and isinstance(value, float)
        )
        for row in rows
    }
    table["mean gain over the better interpolation, dB"] = float(np.mean(gains)) if gains else 0.0
    table["smallest gain, dB"] = min(gains, default=0.0)
    for key in [key for key in (rows[0] if rows else {}) if str(key).startswith("db_")]:
        values = [float(row[key]) for row in rows if key in row]  # type: ignore[arg-type]  # a number, as above
        table[f"mean {key[3:]}, dB"] = float(np.mean(values))
    return table


def tasks(folder: Path, name: str, cases: tuple[str, ...]) -> list[Task]:
    """A scene under each case that applies to it."""
    from palimpsest.formats import read

    if name == MADE:
        made = make_scene(96, 96, seed=20, kind="mixed", defects="mixed")
        unit = float(np.percentile(made.clean.data, 99.9))
        flagged = made.observed.voxel_reasons() != Reason.GOOD
        return [Task(name, "mixed", made.observed, made.clean.data, flagged & made.damaged, unit)]
    cube = read(folder / f"{name}.hdr")
    found = []
    for case in cases:
        if case.startswith("wide") and cube.bands.centre_nm is None:
            continue
        struck = degrade(cube, case)
        if struck.damaged.any():
            truth = np.asarray(cube.data, np.float32)
            found.append(Task(name, case, struck.cube, truth, struck.damaged, struck.unit))
    return found


def measure(task: Task, knowledge: KnowledgeBase, *, ablation: bool) -> dict[str, object]:
    """The figures of one task."""
    row: dict[str, object] = {"scene": task.scene, "case": task.case}
    line, cubic = (score(task, filled) for filled in interpolated(task))
    weights = unseen_weights(task.scene)
    started = time.perf_counter()
    result = restore(task.cube, knowledge=knowledge, weights=weights)
    row["seconds"] = round(time.perf_counter() - started, 1)
    row |= {"db_linear": line, "db_pchip": cubic, "db_restored": score(task, result.restored.data)}
    row["gain_db"] = round(float(row["db_restored"]) - max(line, cubic), 3)  # type: ignore[arg-type]  # just set
    row["is_exact"] = result.is_exact()
    row["coverage"] = coverage(task, result.changed, result.half_width, result.restored.data)
    if ablation:
        bare = restore(task.cube, knowledge=None, weights=weights)
        row["db_no_knowledge"] = score(task, bare.restored.data)
        loose = restore(task.cube, knowledge=knowledge, weights=weights, edges=False)
        row["db_no_edges"] = score(task, loose.restored.data)
        for part in PARTS:
            other = restore(task.cube, knowledge=knowledge, weights=weights, parts_left_out=(part,))
            row[f"db_without_{part}"] = score(task, other.restored.data)
            if part == "confidence":
                row["coverage_without_confidence"] = coverage(
                    task, other.changed, other.half_width, other.restored.data
                )
                row["mean_half_width"] = float(np.mean(result.half_width)) / task.unit
                row["mean_half_width_without_confidence"] = float(np.mean(other.half_width)) / task.unit
    return row


def unseen_weights(scene: str) -> Path | None:
    """Weights that did not see a scene: for the two that training may see, the ones trained without it."""
    from importlib.resources import as_file, files

    if scene not in UNSEEN:
        return None
    with as_file(files("palimpsest.restoration") / "weights" / f"without_{scene}.safetensors") as path:
        return path


def score(task: Task, values: NDArray[np.generic]) -> float:
    """PSNR on the damaged voxels, dB."""
    error = (np.asarray(values)[task.damaged].astype(np.float64) - task.truth[task.damaged]) / task.unit
    return round(float(-10 * np.log10(max(float((error**2).mean()), 1e-12))), 3)


def coverage(
    task: Task, changed: NDArray[np.int64], half_width: NDArray[np.float32], values: NDArray[np.generic]
) -> float:
    """Share of the changed damaged voxels whose truth lies inside the interval."""
    scored = task.damaged.reshape(-1)[changed]
    error = np.abs(np.asarray(values).reshape(-1)[changed].astype(np.float64) - task.truth.reshape(-1)[changed])
    return round(float((error <= half_width)[scored].mean()), 4) if scored.any() else 1.0


def interpolated(task: Task) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The rivals' cubes: straight lines and monotone cubics over band numbers."""
    plain = replace(task.cube, bands=replace(task.cube.bands, centre_nm=None, fwhm_nm=None))
    reasons = task.cube.voxel_reasons()
    pixels = np.arange(plain.shape.rows * plain.shape.cols, dtype=np.int64)
    view = view_of(plain, reasons, Axis.of(plain.bands), pixels, 1.0)
    line, cubic = (method(view).T.reshape(plain.data.shape).astype(np.float64) for method in (linear, pchip))
    return line, cubic
