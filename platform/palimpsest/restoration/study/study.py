"""One scene looked at once: what is damaged, who may speak, and what the trials say; all from a seeded sample.

Everything here is bounded by the sample's size and not by the scene's, and everything that windows need afterwards is
in it, so that a window's result does not depend on the window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.factors import low_rank
from palimpsest.restoration.factors.band_noise import regressed
from palimpsest.restoration.factors.surroundings import fit_scene
from palimpsest.restoration.library.modelled import with_models
from palimpsest.restoration.library.semantic_mapper import library_for, read_scene
from palimpsest.restoration.organiser import PixelGroups, group_pixels
from palimpsest.restoration.spectrum import kernel_blend
from palimpsest.restoration.study.context import Context, build
from palimpsest.restoration.study.evidence import gather
from palimpsest.restoration.study.sources import Proposals, Sources, propose, runs_of
from palimpsest.restoration.view import ACCEPTED, Axis, View, noise_per_band, repairable, to_repair, unit_of, view_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.library.semantic_mapper import Library


SAMPLE = 4000
JUDGED_STRUCK, JUDGED_SHARED = 600, 400
READ_SPECTRA = 60


@dataclass(frozen=True, slots=True)
class Study:
    """What is known of a scene before its windows are restored.

    Args:
        axis: the band axis.
        unit: stored units of one.
        damaged: pixels to be repaired: flat indices into ``(row, col)``, ascending.
        noise: standard deviation per ascending band, scaled.
        groups: pixel groups.
        sources: fitted sources.
        judged: the pixels that the judgement looks at.
        proposals: what the sources say there.
        context: the subgraph; None when nothing is damaged.
        unaided: the subgraph of the same scene looked at without knowledge; None where there is none to do without.
    """

    axis: Axis
    unit: float
    damaged: NDArray[np.int64]
    noise: NDArray[np.float64]
    groups: PixelGroups
    sources: Sources
    judged: View
    proposals: Proposals
    context: Context | None
    unaided: Context | None = None


def study(
    cube: Cube, reasons: NDArray[np.uint8], knowledge: KnowledgeBase | None, *, left_out: Collection[str] = (),
    infer_opaque: bool = False, seed: int = 0, doubted: bool = False, modelled: bool = True,
) -> Study:
    """Look at a scene.

    Args:
        cube: the damaged cube.
        reasons: why voxels are not to be believed, ``(band, row, col)``.
        knowledge: the release, or None.
        left_out: parts of the integrator that are left out.
        infer_opaque: repair opaque and noisy bands too.
        seed: of the samples.
        doubted: look at it without knowledge too.
        modelled: ask radiative transfer what becomes of the materials that were found.

    Raises:
        CubeRefused: no usable voxel.
    """
    axis, unit = Axis.of(cube.bands), unit_of(cube, reasons)
    usable = np.isin(reasons.reshape(axis.count, -1), ACCEPTED)
    seen = usable.sum(0)
    worth = repairable(seen, axis.count)
    broken = to_repair(reasons, infer_opaque=infer_opaque).reshape(axis.count, -1)
    damaged = np.flatnonzero(worth & broken.any(0))
    noise = noise_per_band(cube, reasons, axis, unit)
    rng = np.random.default_rng(seed)
    sample = view_of(cube, reasons, axis, _some(rng, np.flatnonzero(worth), SAMPLE), unit)
    bands_hit = np.asarray((~usable[:, worth]).any(axis=1))[axis.order]
    # A band that no pixel of the sample shows is nothing that statistics could say: then the fit is spared.
    is_shown = bool((bands_hit & (sample.usable.sum(0) >= low_rank.FEWEST_SEEN)).any())
    model = fit_scene(cube, reasons, axis, unit, np.flatnonzero(worth), noise, seed) if is_shown else None
    noise = regressed(sample, noise, None if model is None else np.sqrt(model.noise))
    everywhere = bands_hit if model is None else bands_hit & ~model.known
    groups = group_pixels(sample, sample.usable.mean(0) > 0.9, seed=seed) if len(sample.pixels) else PixelGroups(
        np.zeros((1, axis.count)), np.ones(axis.count, bool)
    )
    means = _spectra_to_read(sample, groups, model)
    library = None
    if knowledge is not None and "semantic_mapper" not in left_out and everywhere.any():
        library = library_for(axis, knowledge)
    retrieve = "graph_processor" not in left_out
    flat = lit = None
    if library is not None and knowledge is not None:
        flat = read_scene(library, means, ~everywhere, lit=False, retrieve=retrieve)
        if modelled and flat is not None:
            library = with_models(library, knowledge, axis, [material.iri for material in flat.materials])
        lit = read_scene(library, means, ~everywhere, lit=True, retrieve=retrieve)
    fitted = {run: kernel_blend.fit(sample, run.bands, everywhere) for run in runs_of(everywhere)}
    sources = Sources(everywhere, model, flat, lit, {run: blend for run, blend in fitted.items() if blend is not None})
    struck = np.flatnonzero((~usable[axis.order][~everywhere]).any(0) & worth) if damaged.size else damaged
    looked = np.union1d(_some(rng, struck, JUDGED_STRUCK), _some(rng, damaged, JUDGED_SHARED)).astype(np.int64)
    judged = view_of(cube, reasons, axis, looked, unit)
    proposals = propose(sources, judged)
    seen = Study(axis, unit, damaged, noise, groups, sources, judged, proposals, None)
    if not damaged.size:
        return seen
    context = _looked_at(seen, sample, means, library, knowledge)
    unaided = None
    if doubted and library is not None:
        bare = replace(sources, flat=None, lit=None)
        alone = replace(seen, sources=bare, proposals=propose(bare, judged))
        unaided = _looked_at(alone, sample, means, None, None)
    return replace(seen, context=context, unaided=unaided)


def _looked_at(
    seen: Study, sample: View, means: NDArray[np.float64], library: Library | None, knowledge: KnowledgeBase | None
) -> Context:
    """The subgraph of a scene whose sources were asked."""
    evidence = gather(seen.sources, sample, means, library, seen.noise, seen.groups)
    return build(
        seen.judged, seen.groups.of(seen.judged), seen.proposals, seen.sources, evidence, seen.noise, knowledge,
        len(seen.groups.centres),
    )


def sample_of(cube: Cube, reasons: NDArray[np.uint8], seed: int = 0) -> View:
    """A seeded sample of a cube's pixels, for the statistics that its companions need."""
    axis, unit = Axis.of(cube.bands), unit_of(cube, reasons)
    seen = np.isin(reasons.reshape(axis.count, -1), ACCEPTED).sum(0)
    pixels = np.flatnonzero(repairable(seen, axis.count))
    return view_of(cube, reasons, axis, _some(np.random.default_rng(seed), pixels, SAMPLE), unit)


def _some(rng: np.random.Generator, pixels: NDArray[np.intp], count: int) -> NDArray[np.int64]:
    chosen = pixels if pixels.size <= count else rng.choice(pixels, count, replace=False)
    return np.sort(chosen).astype(np.int64)


def _spectra_to_read(
    sample: View, groups: PixelGroups, model: low_rank.LowRank | None
) -> NDArray[np.float64]:
    """Group means and some single pixels, missing voxels of known bands filled, ``(spectrum, band)``."""
    some = sample.rows(np.arange(0, len(sample.pixels), max(1, len(sample.pixels) // READ_SPECTRA)))
    pixels = some.values.astype(np.float64)
    if model is not None and (~some.usable & model.known).any():
        pixels = np.where(some.usable | ~model.known, pixels, model.predict(some)[0])
    return np.concatenate([groups.centres, pixels])
