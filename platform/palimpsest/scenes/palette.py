"""Materials of a made scene, each as a small lattice of physically valid spectra between which pixels vary.

A material's 5 x 5 lattice spans its own two ways of varying: leaf area and pigments for canopies (PROSPECT and SAIL
runs), grain size and an intimate companion for minerals, moisture for soils, depth and sediment for water, wear and
brightness for what people build. A pixel's spectrum is a convex mix of lattice spectra, so whatever bounds hold for
them hold for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import UnknownTerm
from palimpsest.radiative_transfer.canopy import Canopy, canopy_reflectance
from palimpsest.radiative_transfer.ground import grain, intimate, moist_soil, over_bottom
from palimpsest.radiative_transfer.leaf import LeafTraits, leaf_optics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase, Material

STEPS = 5
MOST_UNKNOWN_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Palette:
    """One material as a made scene uses it.

    Args:
        name: for people.
        iri: the material of the release that it is an instance of.
        spectra: reflectance, ``(STEPS, STEPS, grid)`` float64, within 0 and 1.
        texture: standard deviation of the brightness from pixel to pixel.
        is_level: lies level whatever the terrain (water).
    """

    name: str
    iri: str
    spectra: NDArray[np.float64]
    texture: float = 0.05
    is_level: bool = False


class Library:
    """Reference spectra of a release, whole over the grid, by the last word of their IRI."""

    def __init__(self, knowledge: KnowledgeBase) -> None:
        self.grid_nm = knowledge.grid_nm
        self._materials = {entry.iri.replace("#", "/").rsplit("/", 1)[-1]: entry for entry in knowledge.materials}

    def material(self, word: str) -> Material:
        """A material.

        Raises:
            UnknownTerm: the release has none of that name.
        """
        if word not in self._materials:
            raise UnknownTerm("the release has no such material", where=word)
        return self._materials[word]

    def has(self, word: str) -> bool:
        """Whether the release has a spectrum of that material that covers enough of the grid."""
        material = self._materials.get(word)
        if material is None or material.spectrum is None:
            return False
        return bool(np.isnan(material.spectrum).mean() < MOST_UNKNOWN_SHARE)

    def spectrum(self, word: str, host: str = "playa-surface") -> NDArray[np.float64]:
        """Reflectance over the whole grid, ``(grid,)``.

        Where the reference is unknown it follows the host (a soil), scaled to meet the known part: many records of the
        rule base begin where their features do.
        """
        values = np.asarray(self.material(word).spectrum, np.float64)
        known = np.isfinite(values)
        if known.all():
            return np.clip(values, 0.001, 0.98)
        place = np.arange(values.size)
        inside = np.interp(place, place[known], values[known])
        if host == word or np.isnan(values).mean() < 0.05:
            return np.clip(inside, 0.001, 0.98)
        carrier = self.spectrum(host, host)
        first, last = place[known][0], place[known][-1]
        inside[:first] = values[first] * carrier[:first] / carrier[first]
        inside[last + 1:] = values[last] * carrier[last + 1:] / carrier[last]
        return np.clip(inside, 0.001, 0.98)


def canopy_palette(
    library: Library, rng: np.random.Generator, name: str, word: str, *, soil: str = "playa-mud-dry",
    area: tuple[float, float] = (0.8, 4.5), green: tuple[float, float] = (18.0, 55.0), angles: str = "spherical",
    structure: float = 1.6, water_cm: float = 0.012, brown: float = 0.0, anthocyanin: float = 1.0,
    texture: float = 0.07,
) -> Palette:
    """Leaves over soil: leaf area along the first axis, chlorophyll (water and dry matter with it) along the second."""
    grid = library.grid_nm
    vigour = np.linspace(0, 1, STEPS)
    chlorophyll = green[0] + (green[1] - green[0]) * vigour
    traits = LeafTraits(
        structure=structure + 0.1 * rng.standard_normal(), chlorophyll_ug_cm2=chlorophyll,
        carotenoid_ug_cm2=3 + 0.18 * chlorophyll, anthocyanin_ug_cm2=anthocyanin * (2 - vigour),
        brown=brown * (1.3 - vigour), water_cm=water_cm * (0.6 + 0.8 * vigour),
        dry_matter_g_cm2=0.0065 * np.exp(0.15 * rng.standard_normal()) * (1.2 - 0.3 * vigour),
    )
    r, t = leaf_optics(grid, traits)
    ground = moist_soil(grid, library.spectrum(soil, soil), float(rng.uniform(0, 0.6)))
    rows = [
        canopy_reflectance(r, t, ground, Canopy(leaf_area_index=float(lai), leaf_angles=angles)).directional
        for lai in np.geomspace(*area, STEPS)
    ]
    return Palette(name, library.material(word).iri, np.clip(np.stack(rows), 0.0, 1.0), texture)


def mineral_palette(
    library: Library, rng: np.random.Generator, word: str, companion: str, *, texture: float = 0.05
) -> Palette:
    """A mineral: grain size along the first axis, share of an intimate companion along the second."""
    host = companion if library.has(companion) else "playa-surface"
    pure, other = library.spectrum(word), library.spectrum(host)
    shares = np.linspace(0.05, 0.5, STEPS) * rng.uniform(0.8, 1.1)
    mixed = intimate(np.stack([pure, other]), np.stack([1 - shares, shares], axis=-1))
    sizes = np.geomspace(0.7, 1.5, STEPS)
    spectra = np.stack([grain(mixed, float(size)) for size in sizes])
    return Palette(library.material(word).label, library.material(word).iri, np.clip(spectra, 0.0, 1.0), texture)


def soil_palette(library: Library, rng: np.random.Generator, word: str, *, texture: float = 0.06) -> Palette:
    """A soil: brightness along the first axis, moisture along the second."""
    dry = library.spectrum(word, word)
    films = np.linspace(0.0, 2.2, STEPS) * rng.uniform(0.7, 1.2)
    wet = np.stack([moist_soil(library.grid_nm, dry, float(film)) for film in films])
    spectra = np.stack([grain(wet, float(size)) for size in np.geomspace(0.75, 1.35, STEPS)])
    return Palette(library.material(word).label, library.material(word).iri, np.clip(spectra, 0.0, 1.0), texture)


def built_palette(
    library: Library, rng: np.random.Generator, word: str, *, dust: str = "playa-mud-dry", texture: float = 0.04
) -> Palette:
    """What people build: weathering (grain) along the first axis, dust on top along the second."""
    pure, cover = library.spectrum(word, word), library.spectrum(dust, dust)
    shares = np.linspace(0.0, 0.35, STEPS)[:, None] * rng.uniform(0.6, 1.1)
    dusty = (1 - shares) * pure + shares * cover * 0.6
    spectra = np.stack([grain(dusty, float(size)) for size in np.geomspace(0.7, 1.45, STEPS)])
    return Palette(library.material(word).label, library.material(word).iri, np.clip(spectra, 0.0, 1.0), texture)


def water_palette(library: Library, rng: np.random.Generator, *, bottom: str = "quartz-sand") -> Palette:
    """Water: sediment along the first axis, depth over a bottom along the second."""
    grid = library.grid_nm
    clear, muddy = library.spectrum("water", "water"), library.spectrum("water_sediment_high", "water")
    shares = np.linspace(0.0, 0.6, STEPS)[:, None] * rng.uniform(0.5, 1.0)
    deep = (1 - shares) * clear + shares * muddy
    ground = library.spectrum(bottom, bottom)
    depths = np.geomspace(0.4, 6.0, STEPS)[::-1]
    spectra = np.stack(
        [np.stack([over_bottom(grid, water, ground, float(depth)) for depth in depths]) for water in deep]
    )
    return Palette("water", library.material("water").iri, np.clip(spectra, 0.0, 1.0), 0.03, is_level=True)


def snow_palette(library: Library, word: str) -> Palette:
    """Snow: grain size along the first axis, dirt along the second."""
    pure, dirt = library.spectrum(word, word), library.spectrum("playa-mud-dry", "playa-mud-dry")
    shares = np.linspace(0.0, 0.2, STEPS)[:, None]
    dirty = (1 - shares) * pure + shares * dirt
    spectra = np.stack([grain(dirty, float(size)) for size in np.geomspace(0.5, 2.0, STEPS)])
    return Palette(library.material(word).label, library.material(word).iri, np.clip(spectra, 0.0, 1.0), 0.03)


def dry_palette(library: Library, rng: np.random.Generator, word: str, *, texture: float = 0.06) -> Palette:
    """Dry plants: weathering along the first axis, soil seen between along the second."""
    pure = library.spectrum(word, word)
    soil = library.spectrum("playa-mud-dry", "playa-mud-dry")
    shares = np.linspace(0.0, 0.5, STEPS)[:, None] * rng.uniform(0.7, 1.1)
    open_cover = (1 - shares) * pure + shares * soil
    spectra = np.stack([grain(open_cover, float(size)) for size in np.geomspace(0.75, 1.35, STEPS)])
    return Palette(library.material(word).label, library.material(word).iri, np.clip(spectra, 0.0, 1.0), texture)
