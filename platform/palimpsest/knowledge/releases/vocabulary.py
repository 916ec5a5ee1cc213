"""Names of the vocabulary's terms, in one place, as plain strings.

A term used in code must exist in ``vocabulary.ttl`` (a test holds that). Terms of other vocabularies are the published
ones: SKOS for the hierarchy of materials, Dublin Core for sources, PROV-O, SOSA/SSN for sensors, QUDT for units, DCAT
and SPDX for the binary resources.
"""

from __future__ import annotations

ROOT = "https://w3id.org/palimpsest/"
PLM = ROOT + "vocabulary#"
RELEASE = ROOT + "release"

PREFIXES: dict[str, str] = {
    "plm": PLM,
    "mat": ROOT + "material/",
    "group": ROOT + "material-group/",
    "feat": ROOT + "feature/",
    "spec": ROOT + "spectrum/",
    "rule": ROOT + "rule/",
    "sens": ROOT + "sensor/",
    "win": ROOT + "window/",
    "defect": ROOT + "defect/",
    "src": ROOT + "source/",
    "lib": ROOT + "library/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "owl": "http://www.w3.org/2002/07/owl#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "dcterms": "http://purl.org/dc/terms/",
    "dcat": "http://www.w3.org/ns/dcat#",
    "prov": "http://www.w3.org/ns/prov#",
    "sosa": "http://www.w3.org/ns/sosa/",
    "ssn": "http://www.w3.org/ns/ssn/",
    "qudt": "http://qudt.org/schema/qudt/",
    "unit": "http://qudt.org/vocab/unit/",
    "spdx": "http://spdx.org/rdf/terms#",
    "sh": "http://www.w3.org/ns/shacl#",
    "envo": "http://purl.obolibrary.org/obo/ENVO_",
}


def term(name: str) -> str:
    """Full IRI of a prefixed name such as ``skos:broader``."""
    prefix, _, local = name.partition(":")
    return PREFIXES[prefix] + local


def shortened(iri: str) -> str:
    """Prefixed name of an IRI where a known prefix fits, for messages; the IRI itself otherwise."""
    best = max((p for p, base in PREFIXES.items() if iri.startswith(base)), key=lambda p: len(PREFIXES[p]), default="")
    return f"{best}:{iri.removeprefix(PREFIXES[best])}" if best else iri


# Name of a measured quantity (rules.Interval) to its lower and upper bound's property.
FEATURE_BOUNDS: dict[str, tuple[str, str]] = {
    "fit": ("plm:minimumFit", "plm:maximumFit"),
    "depth": ("plm:minimumDepth", "plm:maximumDepth"),
    "continuum_left": ("plm:minimumLeftContinuum", "plm:maximumLeftContinuum"),
    "continuum_mean": ("plm:minimumMeanContinuum", "plm:maximumMeanContinuum"),
    "continuum_right": ("plm:minimumRightContinuum", "plm:maximumRightContinuum"),
    "continuum_ratio": ("plm:minimumContinuumRatio", "plm:maximumContinuumRatio"),
    "centre_nm": ("plm:minimumCentre", "plm:maximumCentre"),
}
MATERIAL_BOUNDS: dict[str, tuple[str, str]] = {
    "fit": ("plm:minimumFit", "plm:maximumFit"),
    "depth": ("plm:minimumDepth", "plm:maximumDepth"),
    "fit_depth": ("plm:minimumFitDepth", "plm:maximumFitDepth"),
    "depth_ratio": ("plm:minimumDepthRatio", "plm:maximumDepthRatio"),
}
EXCLUSION_BOUNDS: dict[str, tuple[str, str]] = {
    "fit": ("plm:minimumFit", "plm:maximumFit"),
    "depth": ("plm:minimumDepth", "plm:maximumDepth"),
    "relative_depth": ("plm:minimumRelativeDepth", "plm:maximumRelativeDepth"),
}
FEATURE_SHAPE: dict[str, str] = {  # name in rules.DiagnosticFeature.extra -> property
    "minimum_nm": "plm:centreWavelength",
    "width_nm": "plm:fullWidth",
    "depth": "plm:typicalDepth",
}
CONTINUUM: tuple[str, str, str, str] = (
    "plm:leftContinuumFrom",
    "plm:leftContinuumTo",
    "plm:rightContinuumFrom",
    "plm:rightContinuumTo",
)

# Class of a rule to its kind (rules.Rule.kind), and the numbers it must have and may have.
RULE_KINDS: dict[str, str] = {
    "plm:BoundsRule": "bounds",
    "plm:BandOrderRule": "band_order",
    "plm:MonotoneRule": "monotone",
    "plm:FeatureDepthRule": "feature_depth",
    "plm:FeaturePresenceRule": "feature_presence",
    "plm:SmoothnessRule": "smoothness",
    "plm:MixingRule": "mixing",
    "plm:CoOccurrenceRule": "co_occurrence",
    "plm:FeatureSafetyRule": "feature_safety",
}
RULE_NUMBERS: dict[str, str] = {  # name in rules.Rule.parameters -> property
    "low": "plm:low",
    "high": "plm:high",
    "from_nm": "plm:fromWavelength",
    "to_nm": "plm:toWavelength",
    "left_from_nm": "plm:leftContinuumFrom",
    "left_to_nm": "plm:leftContinuumTo",
    "right_from_nm": "plm:rightContinuumFrom",
    "right_to_nm": "plm:rightContinuumTo",
    "direction": "plm:direction",
    "width_fwhm": "plm:widthInFwhm",
    "first_nm": "plm:firstWavelength",
    "second_nm": "plm:secondWavelength",
    "ratio": "plm:ratio",
    "significance": "plm:significance",
    "width_nm": "plm:fullWidth",
}
