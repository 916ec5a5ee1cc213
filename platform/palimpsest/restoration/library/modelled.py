"""What radiative transfer makes of the materials of a scene: states of them that no library holds.

A library has a leaf, and a field is a canopy of leaves over ground; it has a soil, and after rain that soil is darker
and has water's bands. So what the first reading of a scene found on the ground is varied by models: green plants as
canopies over the release's soils, soils and what people build under films of water and in other grain, minerals in
other grain, water over a bottom. The second reading, the one under a fitted light, mixes these with the references;
the first one stays with what was measured, and the judge hears both. A contribution names the material that a model
began with.

Source: :mod:`palimpsest.radiative_transfer`; traits are drawn from ranges usual for such canopies (a review of the
models: Jacquemoud et al. 2009, Remote Sens. Environ. 113, S56-S66).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.radiative_transfer.canopy import Canopy, canopy_reflectance
from palimpsest.radiative_transfer.ground import grain, moist_soil, over_bottom
from palimpsest.radiative_transfer.leaf import LeafTraits, leaf_optics
from palimpsest.radiative_transfer.leaf_absorption import calibrated

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase, Material
    from palimpsest.restoration.library.semantic_mapper import Library
    from palimpsest.restoration.view import Axis

MODELLED = "modelled"  # key of Material.extra: what was made of it
CANOPY, WET, GRAIN, SHALLOW = "as canopies over soil", "under films of water", "in other grain", "over a bottom"
PATHS = "with longer or shorter ways of light"  # the same as other grain, of what has none: waters and green plants
GREEN, SOIL, DRY, BUILT, WATER = "green-vegetation", "soil", "dry-vegetation", "urban-material", "liquid-water"
ANGLES = ("spherical", "planophile", "erectophile", "plagiophile", "uniform")
SUNS_DEG = (22.0, 37.0, 52.0)
OF_EACH = 20  # canopies of each distribution of leaf angles under each sun
CHLOROPHYLL_UG_CM2, STRUCTURE, CAROTENOID_SHARE = (5.0, 75.0), (1.1, 2.4), (0.12, 0.35)
WATER_CM, DRY_MATTER_G_CM2, LEAF_AREA = (0.002, 0.04), (0.002, 0.02), (0.3, 8.0)  # drawn evenly in the logarithm
SOIL_BRIGHTNESS, GROUND_FILMS = (0.5, 1.3), (0.0, 1.0)
FILMS, GRAINS, DEPTHS_M = (0.4, 1.0, 2.0), (0.6, 1.6), (0.3, 1.0, 3.0)
STEP_NM = 5.0
_SEED = 29
_MOST_UNKNOWN = 0.1
_LEAST, _MOST = 0.001, 0.98


def with_models(library: Library, knowledge: KnowledgeBase, axis: Axis, found: Collection[str]) -> Library:
    """The library, and what models make of the materials that were found in a scene; as it is where there is none.

    Args:
        library: reference spectra at the bands.
        knowledge: the release that they are of.
        axis: the bands.
        found: IRIs of the materials that a reading of the scene took.
    """
    from palimpsest.spectra.resampling import resample

    if axis.centre_nm is None or axis.fwhm_nm is None:
        return library
    grid = np.arange(knowledge.grid_nm[0], knowledge.grid_nm[-1] + STEP_NM, STEP_NM)
    whole = _Ground(knowledge, grid)
    origins, spectra = [], []
    for origin, how, spectrum in (*whole.canopies(found), *whole.states(found)):
        origins.append(replace(origin, spectrum=None, features=(), extra={**origin.extra, MODELLED: how}))
        spectra.append(spectrum)
    if not origins:
        return library
    rows = resample(np.stack(spectra), grid, axis.centre_nm, axis.fwhm_nm)
    known = np.isfinite(rows)
    # Beyond the model's grid a band keeps the nearest value, as those of a reference do.
    filled = np.stack([
        np.interp(axis.along, axis.along[seen], row[seen]) for row, seen in zip(rows, known, strict=True)
    ]) if known.any(axis=1).all() else np.zeros((0, axis.count))
    return replace(
        library, materials=(*library.materials, *origins[: len(filled)]),
        spectra=np.concatenate([library.spectra, np.maximum(filled, 0.0)]),
    )


def how_made(material: Material) -> str:
    """What a model made of a material, for people; empty for a reference."""
    return str(material.extra.get(MODELLED, ""))


class _Ground:
    """A release's references on the models' grid, by group."""

    def __init__(self, knowledge: KnowledgeBase, grid: NDArray[np.float64]) -> None:
        self.grid = grid
        self.spectra: dict[str, NDArray[np.float64]] = {}
        self.materials: dict[str, Material] = {}
        for material in knowledge.materials:
            if material.spectrum is None or "is_described" in material.extra:
                continue
            known = np.isfinite(material.spectrum)
            if known.mean() >= 1 - _MOST_UNKNOWN:
                values = np.interp(grid, knowledge.grid_nm[known], np.asarray(material.spectrum, np.float64)[known])
                self.spectra[material.iri] = np.clip(values, _LEAST, _MOST)
                self.materials[material.iri] = material

    def of(self, *groups: str) -> list[str]:
        """IRIs of the materials in any of some groups, in release order."""
        return [
            iri for iri, material in self.materials.items()
            if any(above.rsplit("/", 1)[-1] in groups for above in material.broader)
        ]

    def canopies(self, found: Collection[str]) -> list[tuple[Material, str, NDArray[np.float64]]]:
        """Canopies over the release's soils, each with the green plant that looks most like it, and what it is."""
        greens, soils = self.of(GREEN), self.of(SOIL)
        if not soils or not any(iri in found for iri in greens):
            return []
        grounds = np.stack([moist_soil(self.grid, self.spectra[iri], films) for iri in soils for films in GROUND_FILMS])
        spectra = _canopies(float(self.grid[0]), self.grid.size, grounds.tobytes())
        names = _most_alike(spectra, np.stack([self.spectra[iri] for iri in greens]))
        return [(self.materials[greens[name]], CANOPY, row) for name, row in zip(names, spectra, strict=True)]

    def states(self, found: Collection[str]) -> list[tuple[Material, str, NDArray[np.float64]]]:
        """Other states of the materials that were found, each with the material and what was made of it."""
        made: list[tuple[Material, str, NDArray[np.float64]]] = []
        earthen, dry, waters = (set(self.of(*groups)) for groups in ((SOIL, BUILT), (DRY,), (WATER,)))
        bottoms, grainless = self.of(SOIL), set(self.of(WATER, GREEN))
        for iri, material in self.materials.items():
            if iri not in found:
                continue
            spectrum = self.spectra[iri]
            if iri in earthen:
                made += [(material, WET, moist_soil(self.grid, spectrum, films)) for films in FILMS]
            if iri in earthen or iri in dry or material.features:
                how = PATHS if iri in grainless else GRAIN
                made += [(material, how, grain(spectrum, size)) for size in GRAINS]
            if iri in waters:
                made += [
                    (material, SHALLOW, over_bottom(self.grid, spectrum, self.spectra[bottom], depth))
                    for bottom in bottoms for depth in DEPTHS_M
                ]
        return made


@lru_cache(maxsize=4)
def _canopies(first_nm: float, count: int, soils: bytes) -> NDArray[np.float64]:
    """Canopies of every geometry, ``(canopy, grid)``; kept: a release's soils are the same in scene after scene."""
    grid, rng = np.asarray(first_nm + STEP_NM * np.arange(count), np.float64), np.random.default_rng(_SEED)
    grounds = np.frombuffer(soils, np.float64).reshape(-1, count)
    return np.concatenate([_of_one_geometry(grid, grounds, angles, sun, rng) for angles in ANGLES for sun in SUNS_DEG])


def _of_one_geometry(
    grid: NDArray[np.float64], grounds: NDArray[np.float64], angles: str, sun_deg: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Canopies of one geometry and chance traits over chance grounds, ``(canopy, grid)``."""
    def drawn(low: float, high: float) -> NDArray[np.float64]:
        return rng.uniform(low, high, OF_EACH)

    def evenly(low: float, high: float) -> NDArray[np.float64]:
        return np.exp(drawn(np.log(low), np.log(high)))

    chlorophyll = drawn(*CHLOROPHYLL_UG_CM2)
    leaves = LeafTraits(
        structure=drawn(*STRUCTURE), chlorophyll_ug_cm2=chlorophyll,
        carotenoid_ug_cm2=2.0 + drawn(*CAROTENOID_SHARE) * chlorophyll, anthocyanin_ug_cm2=0.0, brown=0.0,
        water_cm=evenly(*WATER_CM), dry_matter_g_cm2=evenly(*DRY_MATTER_G_CM2),
    )
    reflected, passed = leaf_optics(grid, leaves, calibrated())
    soil = grounds[rng.integers(len(grounds), size=OF_EACH)] * drawn(*SOIL_BRIGHTNESS)[:, None]
    canopy = Canopy(leaf_area_index=evenly(*LEAF_AREA), leaf_angles=angles, sun_zenith_deg=sun_deg)
    return np.clip(canopy_reflectance(reflected, passed, np.minimum(soil, _MOST), canopy).directional, 0.0, 1.0)


def _most_alike(spectra: NDArray[np.float64], references: NDArray[np.float64]) -> Sequence[int]:
    """The reference at the smallest spectral angle from each spectrum, ``(spectrum,)``."""
    unit = [part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12) for part in (spectra, references)]
    return [int(number) for number in np.argmax(unit[0] @ unit[1].T, axis=1)]
