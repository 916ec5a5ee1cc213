"""Kinds of landscape: which materials, in which parcels, how large, with what between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from palimpsest.errors import UsageError
from palimpsest.scenes import palette

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from palimpsest.scenes.palette import Library, Palette

KINDS = ("mixed", "vegetation", "geology", "urban", "coast", "snow")


@dataclass(frozen=True, slots=True)
class Landscape:
    """A kind of place.

    Args:
        materials: the palette; indices below point into it.
        parcels: materials that parcels are given to, with weights.
        parcel_px: mean diameter of a parcel.
        blocks: parcels have straight outlines.
        patches: (material, share of the ground): natural patches over the parcels.
        undergrowth: what shows between, by material index; same length as materials.
        road, river: material of lines, or None.
        relief: root mean square slope of the terrain.
        shore: material that floods the low part of the scene, or None.
    """

    materials: tuple[Palette, ...]
    parcels: tuple[tuple[int, float], ...]
    parcel_px: float
    undergrowth: tuple[int, ...]
    blocks: bool = False
    patches: tuple[tuple[int, float], ...] = ()
    road: int | None = None
    river: int | None = None
    relief: float = 0.06
    shore: int | None = None


def landscape(kind: str, library: Library, rng: np.random.Generator) -> Landscape:
    """A place of this kind; the same seed gives the same place.

    Raises:
        UsageError: no such kind.
    """
    makers: dict[str, Callable[[Library, np.random.Generator], Landscape]] = {
        "mixed": _mixed, "vegetation": _vegetation, "geology": _geology, "urban": _urban, "coast": _coast,
        "snow": _snow,
    }
    if kind not in makers:
        raise UsageError("unknown kind of landscape", got=kind, wanted=", ".join(KINDS))
    return makers[kind](library, rng)


def _crops(library: Library, rng: np.random.Generator) -> list[Palette]:
    angles = ("erectophile", "planophile", "spherical", "plagiophile")
    return [
        palette.canopy_palette(
            library, rng, f"crop {number + 1}", "vegetation_green", angles=angles[int(rng.integers(4))],
            area=(float(rng.uniform(0.3, 1.5)), float(rng.uniform(2.5, 5.5))),
            green=(float(rng.uniform(15, 30)), float(rng.uniform(40, 65))), structure=float(rng.uniform(1.3, 1.9)),
            water_cm=float(rng.uniform(0.009, 0.018)),
        )
        for number in range(3)
    ]


def _trees(library: Library, rng: np.random.Generator) -> list[Palette]:
    return [
        palette.canopy_palette(
            library, rng, "broadleaf wood", "maple-leaves", soil="burned-ground", area=(3.0, 7.0), angles="plagiophile",
            structure=1.8, water_cm=0.011, texture=0.18,
        ),
        palette.canopy_palette(
            library, rng, "conifer wood", "blue-spruce", soil="burned-ground", area=(1.5, 4.0), green=(40.0, 65.0),
            structure=2.3, water_cm=0.02, brown=0.25, texture=0.22,
        ),
    ]


def _grass(library: Library, rng: np.random.Generator) -> Palette:
    return palette.canopy_palette(
        library, rng, "grass", "grass-fescue", area=(0.8, 4.0), angles="erectophile", green=(15.0, 45.0), texture=0.05
    )


def _vegetation(library: Library, rng: np.random.Generator) -> Landscape:
    materials = [
        *_crops(library, rng), *_trees(library, rng), _grass(library, rng),  # 0-2, 3-4, 5
        palette.soil_palette(library, rng, "playa-mud-dry"),  # 6
        palette.dry_palette(library, rng, "dry_veg_grass"),  # 7
        palette.dry_palette(library, rng, "grass-long-dry"),  # 8
        palette.water_palette(library, rng),  # 9
        palette.built_palette(library, rng, "concrete-road"),  # 10
    ]
    return Landscape(
        tuple(materials), ((0, 3), (1, 3), (2, 3), (5, 2), (6, 2), (7, 2), (8, 1)), 28.0,
        (6, 6, 7, 5, 7, 8, 7, 6, 6, 9, 5),
        patches=((3, 0.1), (4, 0.08)), road=10, river=9, relief=0.06,
    )


def _geology(library: Library, rng: np.random.Generator) -> Landscape:
    choice = [
        "kaolinite_wxl", "alunite_K_250C", "calcite", "dolomite", "illite_imt1", "muscovite_medAl", "goethite",
        "hematite", "jarosite_K", "montmorillonite_Ca", "chlorite_lowFe", "buddingtonite", "gypsum",
        "talc_or_tremolite", "serpentine_chrysotile", "epidote", "kaolinite-and-muscovite_mix_intimate",
        "pyrophyllite", "chalcedony",
    ]
    words = [word for word in choice if library.has(word)]
    companions = ("desert-varnish", "playa-surface", "goethite", "sand-hematite-coated")
    picked = [words[int(index)] for index in rng.permutation(len(words))[:8]]
    minerals = [
        palette.mineral_palette(library, rng, word, companions[int(rng.integers(len(companions)))]) for word in picked
    ]
    first = len(minerals)
    materials = [
        *minerals,
        palette.soil_palette(library, rng, "desert-varnish"),
        palette.soil_palette(library, rng, "playa-surface"),
        palette.canopy_palette(
            library, rng, "sagebrush", "sagebrush", soil="playa-surface", area=(0.2, 1.5), water_cm=0.007, brown=0.3,
            texture=0.1,
        ),
        palette.dry_palette(library, rng, "dry_veg_nongrass"),
    ]
    weights = tuple((index, 1.0) for index in range(first))
    return Landscape(
        tuple(materials), (*weights, (first, 3), (first + 1, 3)), 40.0,
        (*((first,) * first), first + 1, first, first + 3, first),
        patches=((first + 2, 0.06), (first + 3, 0.04)), relief=0.16,
    )


def _urban(library: Library, rng: np.random.Generator) -> Landscape:
    roofs = [
        "shingle-tan", "roofing-felt", "brick-building-red", "sheet-metal-galvanised", "fiberglass-roof-white",
        "concrete-crushed",
        "roof-tar", "tin-rusted", "cinder-block", "brick-paving-tan", "vinyl-white", "shingle-dark-grey",
        "aluminium-painted-green",
    ]
    roofs = [word for word in roofs if library.has(word)]  # a release may lack some, as with minerals
    picked = [roofs[int(index)] for index in rng.permutation(len(roofs))[:6]]
    materials = [
        *(palette.built_palette(library, rng, word) for word in picked),  # 0-5
        palette.built_palette(library, rng, "asphalt-road-old"),  # 6
        palette.built_palette(library, rng, "concrete-road"),  # 7
        palette.canopy_palette(library, rng, "lawn", "lawn-grass", area=(1.0, 4.0), angles="erectophile"),  # 8
        _trees(library, rng)[0],  # 9
        palette.soil_palette(library, rng, "playa-mud-dry"),  # 10
        palette.water_palette(library, rng),  # 11
    ]
    roof = tuple((index, 1.3) for index in range(6))
    return Landscape(
        tuple(materials), (*roof, (6, 3), (7, 1.5), (8, 3), (10, 0.8)), 8.0, (*((6,) * 6), 10, 10, 10, 8, 8, 11),
        blocks=True, patches=((9, 0.14), (8, 0.08)), road=6, river=11 if rng.random() < 0.5 else None, relief=0.01,
    )


def _coast(library: Library, rng: np.random.Generator) -> Landscape:
    materials = [
        palette.water_palette(library, rng),  # 0
        palette.soil_palette(library, rng, "quartz-sand"),  # 1
        palette.soil_palette(library, rng, "sand-hematite-coated"),  # 2
        palette.canopy_palette(
            library, rng, "marsh grass", "grass-fescue", area=(0.5, 3.0), angles="erectophile", brown=0.2
        ),  # 3
        palette.dry_palette(library, rng, "grass-long-dry"),  # 4
        _trees(library, rng)[1],  # 5
        palette.built_palette(library, rng, "asphalt-road-old"),  # 6
        palette.built_palette(library, rng, "shingle-tan"),  # 7
    ]
    return Landscape(
        tuple(materials), ((1, 3), (2, 1), (3, 3), (4, 2), (5, 1), (7, 0.4)), 24.0, (0, 4, 4, 4, 1, 3, 1, 6),
        patches=((3, 0.1), (5, 0.06)), road=6, relief=0.04, shore=0,
    )


def _snow(library: Library, rng: np.random.Generator) -> Landscape:
    materials = [
        palette.snow_palette(library, "snow-melting-fine"),  # 0
        palette.snow_palette(library, "snow_slush"),  # 1
        _trees(library, rng)[1],  # 2
        palette.soil_palette(library, rng, "desert-varnish"),  # 3
        palette.dry_palette(library, rng, "grass-long-dry"),  # 4
        palette.water_palette(library, rng),  # 5
    ]
    return Landscape(
        tuple(materials), ((0, 4), (1, 2), (3, 2), (4, 1)), 36.0, (1, 3, 0, 0, 1, 5), patches=((2, 0.15),), river=5,
        relief=0.2,
    )


def _mixed(library: Library, rng: np.random.Generator) -> Landscape:
    fields, town, hills = _vegetation(library, rng), _urban(library, rng), _geology(library, rng)
    materials = (*fields.materials, *town.materials[:9], *hills.materials[:4])
    first_town, first_hill = len(fields.materials), len(fields.materials) + 9
    soil = 6
    return Landscape(
        materials,
        (
            *fields.parcels, *((first_town + index, 0.6) for index in range(6)), (first_town + 6, 1.0),
            *((first_hill + index, 0.7) for index in range(4)),
        ),
        20.0, (*fields.undergrowth, *((first_town + 6,) * 6), soil, soil, soil, *((soil,) * 4)),
        patches=((3, 0.08), (4, 0.06)), road=first_town + 6, river=9, relief=0.06,
    )
