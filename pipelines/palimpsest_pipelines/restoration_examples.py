"""Examples that the integrator learns judgement from: scenes with known truth, made damage, and every source's errors.

Knowledge is varied as it will be in life: all of it, a random part, with the scene's own materials held out, only
minerals (wrong on most places), none. Light is varied too: reflectance, or multiplied by a sun and an atmosphere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import Cube, Reason
from palimpsest.restoration.illumination import shapes
from palimpsest.restoration.study import Study, study
from palimpsest.restoration.view import view_of
from palimpsest.scenes import KINDS, WIDE_CASES, degrade, make_scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.context import Context

VOXELS = 48
SIDE = 56
PLAIN = 64  # examples from here on are raw numbers under a sun, an atmosphere and a dark signal
SENSORS = ("aviris", "enmap", "emit", "hymap")
KNOWLEDGE = ("full", "part", "held out", "minerals", "none")


@dataclass(frozen=True, slots=True)
class Example:
    """A judged scene with the truth of a sample of voxels in each cell.

    Args:
        context: the subgraph that the integrator sees.
        errors: candidate minus truth of sampled voxels, ``(cell, source, voxel)`` float32, scaled.
        valid: ``(cell, voxel)``.
        scene: what it was made from, for the split.
        case: the damage.
        knowledge: which knowledge was given.
        kind: defect kind of each cell.
        band_group: band group of each cell.
    """

    context: Context
    errors: NDArray[np.float32]
    valid: NDArray[np.bool_]
    scene: str
    case: str
    knowledge: str
    kind: NDArray[np.intp]
    band_group: NDArray[np.intp]


def example_of(
    damaged: Cube, truth: NDArray[np.floating], knowledge: KnowledgeBase | None, labels: tuple[str, str, str], seed: int
) -> Example | None:
    """Study a damaged cube and measure every source against the truth ``(band, row, col)``; None without damage."""
    from palimpsest.restoration.confidence import band_group, defect_kind

    reasons = damaged.voxel_reasons()
    seen = study(damaged, reasons, knowledge, seed=seed)
    if seen.context is None:
        return None
    whole = Cube(np.ascontiguousarray(truth, np.float32), damaged.bands)
    true = view_of(whole, np.zeros(truth.shape, np.uint8), seen.axis, seen.judged.pixels, seen.unit).values
    errors, valid = _errors(seen, true, np.random.default_rng(seed))
    cells = seen.context.cells
    return Example(
        seen.context, errors, valid, *labels, defect_kind(cells, seen.axis), band_group(seen.axis)[cells.band]
    )


def _errors(
    seen: Study, true: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    assert seen.context is not None
    cells, member = seen.context.cells, seen.groups.of(seen.judged)
    count, sources = seen.context.speaks.shape
    errors = np.zeros((count, sources, VOXELS), np.float32)
    valid = np.zeros((count, VOXELS), bool)
    dead = ~seen.judged.usable
    for number in range(count):
        band = cells.band[number]
        inside = np.flatnonzero(dead[:, band] & (member == cells.group[number]))
        if inside.size > VOXELS:
            inside = rng.choice(inside, VOXELS, replace=False)
        errors[number, :, : inside.size] = seen.proposals.values[:, inside, band] - true[inside, band]
        valid[number, : inside.size] = True
    errors[~seen.context.speaks] = 0
    return errors, valid


def made_examples(
    knowledge: KnowledgeBase, count: int, seed: int, note: Callable[[str], None], first: int = 0
) -> Iterator[Example]:
    """Examples from made scenes, cases and knowledge drawn by ``seed``; each depends on its number alone."""
    for number in range(first, count):
        rng = np.random.default_rng([seed, number])
        kind = KINDS[number % len(KINDS)]
        sensor = SENSORS[int(rng.integers(len(SENSORS)))]
        scene = make_scene(
            SIDE, SIDE, sensor=sensor, seed=int(rng.integers(1 << 30)), kind=kind, noise=float(rng.uniform(0.3, 2)),
            knowledge=knowledge,
        )
        recorded = replace(
            scene.observed, data=np.clip(np.rint(scene.clean.data), -32768, 32767).astype(np.int16)
        ) if rng.random() < 0.5 else scene.observed
        truth = np.asarray(scene.clean.data, np.float64)
        is_raw = number >= PLAIN
        if rng.random() < (1.0 if is_raw else 0.35):
            gain = _light(rng, recorded, knowledge)
            # Raw numbers also carry a dark signal, and old scenes centres that are some nanometres off.
            dark = float(rng.uniform(0, 0.2) * np.percentile(truth, 99)) if is_raw else 0.0
            dimmed = np.rint(np.asarray(recorded.data, np.float64) * gain + dark).astype(np.int16)
            recorded = replace(recorded, data=dimmed, units="radiance")
            if is_raw and recorded.bands.centre_nm is not None:
                moved = recorded.bands.centre_nm + rng.uniform(-6, 6)
                recorded = replace(recorded, bands=replace(recorded.bands, centre_nm=moved))
            truth = truth * gain + dark
        case = _case(rng, number)
        damaged = _random_runs(rng, recorded) if case == "runs" else degrade(recorded, case, seed=number).cube
        which = KNOWLEDGE[int(rng.choice(5, p=[0.15, 0.2, 0.4, 0.15, 0.1]))]
        known = vary(knowledge, which, rng, scene.material_iris)
        found = example_of(damaged, truth, known, (f"made-{kind}-{number}", case, which), number)
        if found is not None:
            yield found
        note(f"example {number + 1} of {count}: {kind}, {sensor}, {case}, knowledge {which}")


def real_examples(
    name: str, cube: Cube, knowledge: KnowledgeBase, count: int, seed: int, note: Callable[[str], None]
) -> Iterator[Example]:
    """Examples from a recorded scene that training may see: its own values are the truth."""
    for number in range(count):
        rng = np.random.default_rng([seed, 7, number])
        bands = cube.shape.bands
        part = _crop(rng, cube)
        case = ("e", "f", "runs", "runs", *WIDE_CASES)[number % (4 + len(WIDE_CASES))]
        damaged = _random_runs(rng, part) if case == "runs" else degrade(part, case, seed=number).cube
        which = KNOWLEDGE[int(rng.choice(5, p=[0.6, 0.15, 0.0, 0.15, 0.1]))]
        known = vary(knowledge, which, rng, ())
        found = example_of(damaged, np.asarray(part.data, np.float32), known, (name, case, which), number)
        if found is not None:
            yield found
        note(f"{name}, example {number + 1} of {count}: {case}, {bands} bands, knowledge {which}")


def vary(
    knowledge: KnowledgeBase, which: str, rng: np.random.Generator, own: tuple[str, ...]
) -> KnowledgeBase | None:
    """A release as it may be in life; see :data:`KNOWLEDGE`."""
    if which == "none":
        return None
    keep = knowledge.materials
    if which == "part":
        keep = tuple(material for material in keep if rng.random() < 0.4)
    elif which == "held out":
        gone = {iri for iri in own if rng.random() < 0.7}
        keep = tuple(material for material in keep if material.iri not in gone and rng.random() < 0.85)
    elif which == "minerals":
        keep = tuple(material for material in keep if material.features)
    return replace(knowledge, materials=keep)


def _case(rng: np.random.Generator, number: int) -> str:
    fixed = ("e", "f", "runs", "runs", "mixed", "runs", *WIDE_CASES)
    return fixed[number % len(fixed)] if number % 2 else fixed[int(rng.integers(len(fixed)))]


def _crop(rng: np.random.Generator, cube: Cube) -> Cube:
    from palimpsest.cubes import Window

    rows, cols = min(72, cube.shape.rows), min(72, cube.shape.cols)
    row = int(rng.integers(cube.shape.rows - rows + 1))
    col = int(rng.integers(cube.shape.cols - cols + 1))
    part = cube.window(Window(row, row + rows, col, col + cols))
    return replace(part, data=np.ascontiguousarray(part.data))


def _random_runs(rng: np.random.Generator, cube: Cube) -> Cube:
    """One to three runs of 2 to 60 bands missing everywhere, with noise in a third of the cases."""
    bands = cube.shape.bands
    data = np.array(cube.data)
    reasons = np.zeros(data.shape, np.uint8) if cube.reasons is None else cube.reasons.copy()
    for _ in range(int(rng.integers(1, 4))):
        width = int(np.exp(rng.uniform(np.log(2), np.log(min(60, bands // 3)))))
        first = int(rng.integers(0, bands - width + 1))
        data[first : first + width] = 0
        reasons[first : first + width] = Reason.DEAD
    if rng.random() < 0.33:
        sigma = rng.uniform(0, 0.03) * float(np.percentile(cube.data.astype(np.float64), 99.9))
        noisy = data + sigma * rng.standard_normal(data.shape)
        data = np.where(reasons == 0, np.rint(noisy), data).astype(cube.data.dtype)
    return replace(cube, data=data, reasons=reasons)


def _light(rng: np.random.Generator, cube: Cube, knowledge: KnowledgeBase) -> NDArray[np.float64]:
    centre = cube.bands.centre_nm
    assert centre is not None
    basis = shapes(centre, knowledge.windows)
    scale = np.array([0.0, rng.uniform(0.3, 1.1), rng.uniform(0, 1.3), rng.uniform(0, 0.1), rng.uniform(-0.2, 0.2)])
    wander = np.interp(centre, np.linspace(centre.min(), centre.max(), 9), rng.normal(0, 0.05, 9))
    gain = np.exp(basis @ scale + wander)
    return np.asarray(gain / gain.max())[:, None, None]
