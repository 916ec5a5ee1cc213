"""Examples that the integrator learns judgement from: scenes with known truth, made damage, and every source's errors.

Knowledge is varied as it will be in life: all of it, a random part, with the scene's own materials held out, only
minerals (wrong on most places), every material with another's spectrum, none. So is what was recorded: reflectance;
radiance under a sun and an atmosphere; raw numbers with a dark signal and centres some nanometres off; bands that are
calibrated a little wrong each; the faults of recorded scenes
(:mod:`~palimpsest_pipelines.restoration_training.faults`); cubes without wavelengths; cubes that a stream was made of
and decoded from.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import BandTable, Cube, Reason
from palimpsest.errors import UsageError
from palimpsest.restoration.judgement.verdict import spoken_of
from palimpsest.restoration.library.illumination import shapes
from palimpsest.restoration.study.sources import KRIGING, LINEAR, PCHIP
from palimpsest.restoration.study.study import Study, study
from palimpsest.restoration.view import view_of
from palimpsest.scenes import KINDS, WIDE_CASES, degrade, make_scene
from palimpsest_pipelines.restoration_training import faults
from palimpsest_pipelines.restoration_training.penalty import Held, Places, held_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.study.context import Context
    from palimpsest.restoration.view import Axis
    from palimpsest.scenes.scene import MadeScene

VOXELS = 48
WHOLE = 8  # pixels of each group whose spectra are held to the rules
SIDE = 48
CROP = 56
CODED = 32  # side of decoded examples: coding is dear
SENSORS = ("aviris", "enmap", "emit", "hymap")
LIGHTS = ("reflectance", "radiance", "raw")
KNOWLEDGE = ("full", "part", "held out", "minerals", "none", "shuffled")
CASES = ("end", "f", "runs", "f", "e", "runs", "mixed", "end", "f", "runs", "runs", *WIDE_CASES)
ZEROED = 0.5  # share of scenes with zeros in opaque bands
DECODED, NAMELESS = 0.12, 0.25  # shares of examples from a stream, without wavelengths
MODELLED = 0.5  # share of the made examples to learn from in which radiative transfer is part of what is known
CALIBRATING, TESTING = (4, 7), (9,)  # of each ten made examples; kinds of place take turns of six: this reaches all
RATES = (0.1, 0.25, 0.5, 1.0)  # bpppc of decoded cubes
_MOST_RUN = 60


@dataclass(frozen=True, slots=True)
class Example:
    """A judged scene with the truth of a sample of voxels in each cell.

    Args:
        context: the subgraph that the integrator sees.
        errors: candidate minus truth of sampled voxels, ``(cell, source, voxel)`` float32, scaled.
        valid: ``(cell, voxel)``.
        share: of all damaged voxels that each cell stands for, ``(cell,)`` float32.
        scene: what it was made from, for the split.
        case: the damage.
        knowledge: which knowledge was given.
        kind: defect kind of each cell.
        band_group: band group of each cell.
        held: what the rules hold some of the pixels to.
        axis: the band axis.
        unaided: the subgraph without knowledge, which the answer is drawn back to; None where nobody asks.
        is_spoken: whether the library speaks about the cell's band, ``(cell,)``.
    """

    context: Context
    errors: NDArray[np.float32]
    valid: NDArray[np.bool_]
    share: NDArray[np.float32]
    scene: str
    case: str
    knowledge: str
    kind: NDArray[np.intp]
    band_group: NDArray[np.intp]
    held: Held
    axis: Axis
    unaided: Context | None
    is_spoken: NDArray[np.bool_]


def example_of(
    damaged: Cube, truth: NDArray[np.floating], knowledge: KnowledgeBase | None, labels: tuple[str, str, str],
    seed: int, *, modelled: bool = True, doubted: bool = False,
) -> Example | None:
    """Study a damaged cube and measure every source against the truth ``(band, row, col)``; None without damage.

    With ``modelled`` False radiative transfer is left out of what is known; with ``doubted`` True the scene is looked
    at without knowledge too, as it is to be restored.
    """
    from palimpsest.restoration.integrator.confidence import band_group, defect_kind

    reasons = damaged.voxel_reasons()
    seen = study(damaged, reasons, knowledge, seed=seed, modelled=modelled, doubted=doubted)
    if seen.context is None:
        return None
    whole = Cube(np.ascontiguousarray(truth, np.float32), damaged.bands)
    true = view_of(whole, np.zeros(truth.shape, np.uint8), seen.axis, seen.judged.pixels, seen.unit).values
    errors, valid, share, places = _errors(seen, true, np.random.default_rng(seed))
    cells = seen.context.cells
    return Example(
        seen.context, errors, valid, share, *labels, defect_kind(cells, seen.axis), band_group(seen.axis)[cells.band],
        held_to(seen, damaged, knowledge, true, places, errors), seen.axis, seen.unaided, spoken_of(seen)[cells.band],
    )


def _errors(
    seen: Study, true: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32], Places]:
    assert seen.context is not None
    cells, member = seen.context.cells, seen.groups.of(seen.judged)
    count, sources = seen.context.speaks.shape
    errors = np.zeros((count, sources, VOXELS), np.float32)
    valid = np.zeros((count, VOXELS), bool)
    share = np.zeros(count, np.float32)
    dead = ~seen.judged.usable
    # One order of a group's pixels for all its cells, so that spectra can be put together of the first of them.
    order = [rng.permutation(np.flatnonzero(member == group)) for group in range(len(seen.groups.centres))]
    places = _places(order, np.flatnonzero(dead.any(0)))
    row_of = np.full(len(member), -1)
    row_of[places.pixel] = np.arange(len(places.pixel))
    for number in range(count):
        band, pixels = cells.band[number], order[cells.group[number]]
        inside = pixels[dead[pixels, band]]
        share[number] = inside.size
        inside = inside[:VOXELS]
        errors[number, :, : inside.size] = seen.proposals.values[:, inside, band] - true[inside, band]
        valid[number, : inside.size] = True
        voxel = np.flatnonzero(row_of[inside] >= 0)
        at = row_of[inside[voxel]], np.searchsorted(places.bands, band)
        places.cell[at], places.voxel[at] = number, voxel
    speaks = seen.context.speaks
    errors[~speaks] = 0
    # Where a blend of kernels speaks for line and cubic, it is what the judge has to be better than.
    blended = ~speaks[:, LINEAR] & speaks[:, KRIGING]
    errors[blended, LINEAR] = errors[blended, PCHIP] = errors[blended, KRIGING]
    return errors, valid, share / max(float(share.sum()), 1.0), places


def _places(order: list[NDArray[np.intp]], bands: NDArray[np.intp]) -> Places:
    """The first pixels of each group, none of whose voxels is placed yet."""
    pixel = np.concatenate([pixels[:WHOLE] for pixels in order])
    group = np.repeat(np.arange(len(order)), [min(pixels.size, WHOLE) for pixels in order])
    empty = (pixel.size, bands.size)
    return Places(pixel, group, bands, np.full(empty, -1, np.int32), np.zeros(empty, np.uint8))


def made_examples(
    knowledge: KnowledgeBase, count: int, seed: int, note: Callable[[str], None], first: int = 0,
    cases: Sequence[str] = CASES, *, all_kept_back: bool = False,
) -> Iterator[Example]:
    """Examples from made scenes, knowledge drawn by ``seed``, cases in turn; each depends on its number alone.

    Those kept back, which calibrate and measure, are looked at as scenes are that are to be restored: with models, and
    without knowledge too. ``all_kept_back``: none of them is to learn from.
    """
    for number in range(first, count):
        rng = np.random.default_rng([seed, number])
        kind = KINDS[number % len(KINDS)]
        sensor = SENSORS[int(rng.integers(len(SENSORS)))]
        scene = make_scene(
            SIDE, SIDE, sensor=sensor, seed=int(rng.integers(1 << 30)), kind=kind, noise=float(rng.uniform(0.3, 2)),
            opaque="zero" if rng.random() < ZEROED else "noise", knowledge=knowledge,
        )
        light = LIGHTS[int(rng.choice(3, p=[0.4, 0.25, 0.35]))]
        recorded, truth = stored_of(rng, scene, light, knowledge)
        if rng.random() < DECODED:
            recorded, truth = _decoded(recorded, RATES[int(rng.integers(len(RATES)))]), truth[:, :CODED, :CODED]
        case = cases[number % len(cases)]
        which = KNOWLEDGE[int(rng.choice(6, p=[0.3, 0.17, 0.2, 0.13, 0.1, 0.1]))]
        known = vary(knowledge, which, rng, scene.material_iris)
        damaged = _struck(rng, recorded, case, number)
        # The models that vary what a scene is made of are the ones that restore it: in every second made scene to learn
        # from they are left out, or the judge would believe them as if they were the ground.
        is_kept_back = all_kept_back or not is_for_learning(number)
        modelled = is_kept_back or bool(np.random.default_rng([seed, 11, number]).random() < MODELLED)
        found = example_of(
            damaged, truth, known, (f"made-{kind}-{number}", case, which), number, modelled=modelled,
            doubted=is_kept_back,
        )
        if found is not None:
            yield found
        note(f"example {number + 1} of {count}: {kind}, {sensor}, {light}, {case}, knowledge {which}")


def is_for_learning(number: int) -> bool:
    """Whether a made example is one to learn from; the others calibrate intervals or measure."""
    return number % 10 not in (*CALIBRATING, *TESTING)


def real_examples(
    name: str, cube: Cube, knowledge: KnowledgeBase, count: int, seed: int, note: Callable[[str], None]
) -> Iterator[Example]:
    """Examples from a recorded scene that training may see: its own values are the truth."""
    for number in range(count):
        rng = np.random.default_rng([seed, 7, number])
        part = _crop(rng, cube)
        truth = np.asarray(part.data, np.float32)
        if rng.random() < DECODED:
            part, truth = _decoded(part, RATES[int(rng.integers(len(RATES)))]), truth[:, :CODED, :CODED]
        case = CASES[number % len(CASES)]
        which = KNOWLEDGE[int(rng.choice(6, p=[0.55, 0.13, 0.0, 0.12, 0.1, 0.1]))]
        known = vary(knowledge, which, rng, ())
        damaged = _struck(rng, part, case, number)
        found = example_of(damaged, truth, known, (name, case, which), number, doubted=True)
        if found is not None:
            yield found
        note(f"{name}, example {number + 1} of {count}: {case}, knowledge {which}")


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
    elif which == "shuffled":
        order = rng.permutation(len(keep))
        keep = tuple(
            replace(one, spectrum=_twisted(keep[other].spectrum, rng)) for one, other in zip(keep, order, strict=True)
        )
    return replace(knowledge, materials=keep)


def _twisted(spectrum: NDArray[np.float32] | None, rng: np.random.Generator) -> NDArray[np.float32] | None:
    """A spectrum, or the same from its other end: wrong in the right form."""
    return spectrum if spectrum is None or rng.random() < 0.5 else np.ascontiguousarray(spectrum[::-1])


def stored_of(
    rng: np.random.Generator, scene: MadeScene, light: str, knowledge: KnowledgeBase
) -> tuple[Cube, NDArray[np.float64]]:
    """A made scene as a sensor may have stored it, and the same without noise, ``(band, row, col)``."""
    cube, truth = scene.observed, np.asarray(scene.clean.data, np.float64)
    values = truth if rng.random() < 0.3 else np.asarray(cube.data, np.float64)
    bands = cube.bands
    assert bands.centre_nm is not None
    gain, dark = np.ones((bands.count, 1, 1)), 0.0
    if light != "reflectance":
        gain = _light(rng, cube, knowledge)
    if light == "raw":
        # Raw numbers carry a dark signal, and old scenes centres that are some nanometres off.
        dark = float(rng.uniform(0, 0.2) * np.percentile(truth, 99))
        bands = replace(bands, centre_nm=bands.centre_nm + rng.uniform(-6, 6))
    values, truth, bands = _with_faults(rng, values, truth, bands)
    # Every band a little wrong in its own way: recorded radiance zigzags, calibrated reflectance hardly.
    strength = 0.06 if light != "reflectance" else 0.015
    gain = gain * np.exp(np.exp(rng.uniform(np.log(0.001), np.log(strength))) * rng.standard_normal(gain.shape))
    stored = np.clip(np.rint(values * gain + dark), -32768, 32767).astype(np.int16)
    kept = _kept(rng, bands, light)
    table = bands.select(kept)
    table = replace(table, good=np.ones(kept.size, bool), reasons=np.zeros(kept.size, np.uint8))
    recorded = Cube(
        stored[kept], table, scale=1.0 if light == "raw" else cube.scale, units="" if light == "raw" else light,
        name=cube.name,
    )
    return recorded, (truth * gain + dark)[kept]


def _with_faults(
    rng: np.random.Generator, values: NDArray[np.float64], truth: NDArray[np.float64], bands: BandTable
) -> tuple[NDArray[np.float64], NDArray[np.float64], BandTable]:
    """What was stored and what would have been without noise, both with the same faults of recorded scenes."""
    if rng.random() < faults.FAULTLESS:
        return values, truth, bands
    centre = bands.centre_nm
    assert centre is not None
    gain = faults.gains(rng, centre, *values.shape[1:])
    offset = faults.stray(rng, float(truth.mean()), centre.size)[:, None, None]
    step = faults.polished(rng, centre)
    shut = ~bands.good[:, None, None]
    shifted = replace(bands, centre_nm=np.maximum.accumulate(centre + faults.shift_of(rng, centre)))
    return (
        np.where(shut, values, step(values * gain + offset)), np.where(shut, truth, step(truth * gain + offset)),
        shifted,
    )


def _kept(rng: np.random.Generator, bands: BandTable, light: str) -> NDArray[np.intp]:
    """Bands that a scene came with: opaque windows cut out, cut out but for their slopes, or left in."""
    assert bands.centre_nm is not None
    away = np.abs(bands.centre_nm[:, None] - bands.centre_nm[bands.good]).min(1)
    reach = (0.0, 35.0, np.inf)[int(rng.choice(3, p=[0.4, 0.3, 0.3] if light == "reflectance" else [0.3, 0.5, 0.2]))]
    return np.flatnonzero(away <= reach)


def _struck(rng: np.random.Generator, cube: Cube, case: str, seed: int) -> Cube:
    try:
        struck = _runs(rng, cube, case) if case in ("end", "runs") else degrade(cube, case, seed=seed).cube
    except UsageError:
        struck = _runs(rng, cube, "runs")  # the named run is not among the bands that were kept
    # A run named by wavelengths is struck first, and may lose its wavelengths then.
    return replace(struck, bands=BandTable(struck.shape.bands)) if rng.random() < NAMELESS else struck


def _decoded(cube: Cube, rate: float) -> Cube:
    """A corner of a cube as a stream gives it back."""
    from palimpsest.codec.contract import EncodeSettings
    from palimpsest.codec.decoder import decode
    from palimpsest.codec.encoder import encode
    from palimpsest.cubes import Window

    corner = cube.window(Window(0, min(CODED, cube.shape.rows), 0, min(CODED, cube.shape.cols)))
    with tempfile.TemporaryDirectory() as folder:
        stream = Path(folder) / "example.plm"
        encode(corner, EncodeSettings(bpppc=rate, strength=0.0, effort=1), out=stream)
        return replace(corner, data=np.ascontiguousarray(decode(stream).data))


def _crop(rng: np.random.Generator, cube: Cube) -> Cube:
    from palimpsest.cubes import Window

    rows, cols = min(CROP, cube.shape.rows), min(CROP, cube.shape.cols)
    row = int(rng.integers(cube.shape.rows - rows + 1))
    col = int(rng.integers(cube.shape.cols - cols + 1))
    part = cube.window(Window(row, row + rows, col, col + cols))
    return replace(part, data=np.ascontiguousarray(part.data))


def _runs(rng: np.random.Generator, cube: Cube, case: str) -> Cube:
    """Runs missing everywhere, one to three or an end of the range, with noise in a third of the cases."""
    bands = cube.shape.bands
    data = np.array(cube.data)
    reasons = np.zeros(data.shape, np.uint8) if cube.reasons is None else cube.reasons.copy()
    for _ in range(1 if case == "end" else int(rng.integers(1, 4))):
        if case == "end":
            width = int(bands * np.exp(rng.uniform(np.log(0.02), np.log(0.4))))
            first = 0 if rng.random() < 0.35 else bands - width
        else:
            width = int(np.exp(rng.uniform(np.log(2), np.log(min(_MOST_RUN, bands // 3)))))
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
    knots = int(rng.integers(6, 26))
    strength = np.exp(rng.uniform(np.log(0.03), np.log(0.25)))
    wander = np.interp(centre, np.linspace(centre.min(), centre.max(), knots), rng.normal(0, strength, knots))
    gain = np.exp(basis @ scale + wander)
    return np.asarray(gain / gain.max())[:, None, None]
