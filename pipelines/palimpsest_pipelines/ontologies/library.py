"""Materials that the expert rules lack, known by spectrum alone: towns, plants, soils, snow and water.

Source: Clark et al. 2007, USGS Data Series 231 (splib06a), in its packaged form convolved to 224 AVIRIS channels. The
spectra stay at those channels here and are interpolated to 1 nm when a release is compiled; deleted channels stay gaps.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from palimpsest_pipelines.ontologies.turtle import Document, Plain, Term

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FOLDER = "usgs_splib06_aviris"
DELETED = -1.0e30  # the library marks deleted channels with -1.23e34

# local name, name for people, groups, the record's name or the beginning that only it has
CHOSEN: tuple[tuple[str, str, str, str], ...] = (
    ("asphalt-road-old", "old black asphalt road", "road-surface", "Asphalt GDS376"),
    ("concrete-road", "light grey concrete road", "road-surface", "Concrete GDS375"),
    ("concrete-crushed", "crushed concrete", "masonry", "Concrete WTC01-37A"),
    ("cinder-block", "light grey cinder block", "masonry", "Cinder_Block GDS356"),
    ("brick-paving-tan", "tan paving brick", "masonry", "Brick GDS347"),
    ("brick-paving-red", "red paving brick", "masonry", "Brick GDS349"),
    ("brick-building-dark-red", "dark red building brick", "masonry", "Brick GDS350"),
    ("brick-building-red", "medium red building brick", "masonry", "Brick GDS353"),
    ("brick-building-grey", "light grey building brick", "masonry", "Brick GDS354"),
    ("shingle-tan", "tan asphalt shingle", "roofing", "Asphalt_Shingle GDS366"),
    ("shingle-dark-grey", "dark grey asphalt shingle", "roofing", "Asphalt_Shingle GDS367"),
    ("roof-tar", "black roofing tar", "roofing", "Asphalt_Tar GDS346"),
    ("roofing-felt", "black roofing felt", "roofing", "Roofing_Felt GDS377"),
    ("tar-paper-weathered", "weathered tar paper", "roofing", "Tar_Paper GDS285B"),
    ("cedar-shake-fresh", "fresh cedar shake", "roofing", "Cedar_Shake GDS357"),
    ("cedar-shake-weathered", "weathered cedar shake", "roofing", "Cedar_Shake GDS361"),
    ("fiberglass-roof-white", "white fibreglass roofing", "roofing", "Fiberglass GDS335"),
    ("sheet-metal-galvanised", "galvanised sheet metal", "metal-surface", "GalvanizedSheetMetal GDS334"),
    ("sheet-metal-corrugated", "corrugated galvanised sheet metal", "metal-surface", "Sheet_Metal GDS352"),
    ("tin-rusted", "rusted tin", "metal-surface", "Rusted_Tin_Can GDS378"),
    ("aluminium-painted-green", "aluminium painted light green", "painted-surface", "Painted_Aluminum GDS333"),
    ("steel-coated", "coated steel girder", "painted-surface", "Coated_Steel_Girder WTC01-8"),
    ("pvc-white", "white PVC", "plastic", "Plastic_PVC GDS338"),
    ("vinyl-white", "white vinyl", "plastic", "Plastic_Vinyl GDS372"),
    ("tarp-green", "green plastic tarp", "plastic", "Plastic_Tarp GDS339"),
    ("tarp-blue", "blue woven plastic tarp", "plastic", "Plastic_Tarp GDS340"),
    ("polyethylene-film", "clear polyethylene film", "plastic", "Plastic_LDPE GDS402"),
    ("polyethylene-white", "white opaque polyethylene", "plastic", "Plastic_HDPE GDS384"),
    ("pet-clear", "clear PET", "plastic", "Plastic_PETE GDS380"),
    ("polystyrene-blue", "blue polystyrene insulation", "plastic", "Polystyrene GDS345"),
    ("pine-plank", "new pine plank", "wood", "Wood_Beam GDS363"),
    ("plywood-pine", "fresh pine plywood", "wood", "Plywood GDS365"),
    ("cardboard", "brown cardboard", "textile", "Cardboard GDS371"),
    ("cotton-white", "white cotton", "textile", "Cotton_Fabric GDS437"),
    ("nylon-red", "red nylon fabric", "textile", "Nylon_Fabric GDS431"),
    ("lawn-grass", "green lawn grass", "green-grass", "Lawn_Grass GDS91 (Green)"),
    ("cheatgrass", "cheatgrass, ripening", "vegetation", "Cheatgrass ANP92-11A"),
    ("grass-fescue", "fescue and wheatgrass", "green-grass", "Grass-Fescue-Wheatg YNP-FW-1"),
    ("grass-long-dry", "long dry grass", "dry-vegetation", "Dry_Long_Grass AV87-2"),
    ("blue-spruce", "blue spruce needles", "conifer", "Blue_Spruce DW92-5"),
    ("douglas-fir", "Douglas fir", "conifer", "Douglas-Fir YNP-DF-1"),
    ("lodgepole-pine", "lodgepole pine stand", "conifer", "Lodgepole-Pine YNP-LP s06"),
    ("pinon-pine", "pinon pine needles", "conifer", "Pinon_Pine ANP92-14A"),
    ("aspen-leaf", "aspen leaf", "broadleaf", "Aspen_Leaf-A DW92-2"),
    ("maple-leaves", "maple leaves", "broadleaf", "Maple_Leaves DW92-1"),
    ("oak-leaf-fresh", "fresh oak leaf", "broadleaf", "Oak Oak-Leaf-1"),
    ("oak-leaf-dry", "dried oak leaf", "dry-vegetation", "Oak Oak-Leaf-2"),
    ("walnut-leaf", "walnut leaf", "broadleaf", "Walnut_Leaf SUN"),
    ("russian-olive", "Russian olive", "broadleaf", "Russian_Olive DW92-4"),
    ("sagebrush", "sagebrush", "shrub", "Sage_Brush IH91-1B"),
    ("juniper-bush", "juniper bush", "shrub", "Juniper_Bush IH91-4B"),
    ("tumbleweed-dry", "dry tumbleweed", "dry-vegetation", "Tumbleweed ANP92-2C"),
    ("lichen-licedea", "lichen", "lichen", "Lichen Licedea-1"),
    ("snow-melting-fine", "melting snow, fresh", "snow", "Melting_snow mSnw3 s06"),
    ("snow-slush-wet", "wet slush", "snow", "Melting_snow mSnw16 (slush)"),
    ("ice-77k", "water ice at 77 K", "ice", "H2O-Ice GDS136"),
    ("ocean-water", "open ocean water, low chlorophyll", "liquid-water", "Seawater_Open_Ocean SW2"),
    ("algal-water", "water with red algae", "liquid-water", "Red_Coated_Algea_Water RCAW1"),
    ("playa-mud-dry", "dry playa mud", "mineral-soil", "Stonewall_Playa_Dry_Mud 2001"),
    ("playa-surface", "playa surface", "mineral-soil", "Stonewall_Playa CU93-52A"),
    ("desert-varnish", "desert varnish on rock", "mineral-soil", "Desert_Varnish GDS141"),
    ("quartz-sand", "quartz sand", "mineral-soil silica", "Quartz GDS74 Sand Ottawa s06av18a_c"),
    ("sand-hematite-coated", "quartz coated with hematite", "mineral-soil oxide", "Hematite_Coatd_Qtz BR93-25B"),
    ("burned-ground", "burned ground", "organic-soil", "BurnArea_TopSurface WRF00-02"),
    ("hematite", "hematite", "oxide", "Hematite GDS27"),
    ("goethite", "goethite", "oxide", "Goethite WS222 Medium Gr. s06av18a_a"),
)


def read(libraries: Path) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
    """Names of the records, channel centres and widths in nm as stored, and the spectra ``(record, channel)``."""
    header = (libraries / FOLDER / "s06av18a_envi.hdr").read_text(encoding="latin-1")
    match = re.search(r"spectra names = \{(.*?)\}", header, re.DOTALL)
    if match is None:
        raise ValueError("the library's header names no spectra")
    names = [" ".join(line.strip().rstrip(",").split()) for line in match.group(1).splitlines() if line.strip()]
    rows = np.fromfile(libraries / FOLDER / "s06av18a_envi", "<f4").reshape(len(names), -1)
    spectra = np.where(rows < DELETED, np.nan, rows).astype(np.float32)
    centres, widths = rows[:2].astype(np.float64) * 1000
    return names, centres, widths, spectra


def chosen_rows(names: list[str]) -> list[int]:
    """Row of each chosen record.

    Raises:
        ValueError: a record is not there, or its beginning fits several.
    """
    rows = []
    for local, _, _, beginning in CHOSEN:
        found = [row for row, name in enumerate(names) if name == beginning]
        found = found or [row for row, name in enumerate(names) if name.startswith(beginning)]
        if len(found) != 1:
            raise ValueError(f"{local}: {beginning!r} fits {len(found)} records: {[names[row] for row in found]}")
        rows += found
    return rows


def document(names: list[str], version: str) -> Document:
    """Every chosen record as a material with a spectrum."""
    out = Document(
        "materials-usgs", "Materials known by their spectrum alone", version,
        "Generated from the USGS library by the project's own script; edit the script or a copy, not this file.",
        "src:splib06",
    )
    for row, ((local, label, groups, _), record) in enumerate(zip(CHOSEN, chosen_rows(names), strict=True)):
        out.add(f"mat:{local}", [
            ("a", [Term("plm:Material"), Term("skos:Concept")]),
            ("skos:prefLabel", label),
            ("skos:inScheme", Term("plm:materials")),
            ("skos:broader", [Term(f"group:{group}") for group in groups.split()]),
            ("plm:referenceSpectrum", Term(f"spec:{local}")),
            ("dcterms:source", Term("src:splib06")),
        ])
        out.add(f"spec:{local}", [
            ("a", Term("plm:ReferenceSpectrum")),
            ("rdfs:label", f"{label}: {names[record]}"),
            ("plm:record", Plain(names[record])),
            ("plm:resampledFrom", "224 AVIRIS channels of about 10 nm, by linear interpolation"),
            ("plm:inDistribution", Term("lib:aviris-spectra")),
            ("plm:row", row),
            ("dcterms:source", Term("src:splib06")),
        ])
    return out
