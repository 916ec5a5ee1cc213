"""A release as typed arrays for one sensor: what the graph network is fed, plain numpy, no torch.

Five kinds of nodes (materials, features, bands of this sensor, rules, sources), each known by its attributes alone, and
index arrays for the edges between them. A material added to the ontology is one more row; nothing depends on which row.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.knowledge.releases.vocabulary import RULE_KINDS
from palimpsest.spectra import resample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import Interval, KnowledgeBase, Material, Rule

    Floats = NDArray[np.float32]

EdgeKind = tuple[str, str, str]

MATERIAL_COLUMNS = ("has_spectrum", "is_constituent", "priority", "mean", "spread", "features", "reliability")
FEATURE_COLUMNS = (
    "left_from_um", "left_to_um", "right_from_um", "right_to_um", "weight", "is_gate", "is_exclusion",
    "minimum_fit", "minimum_depth", "maximum_depth", "is_seen", "reliability",
)
BAND_COLUMNS = ("centre_um", "fwhm_um", "transmission", "priority")
RULE_NUMBERS = (
    "low", "high", "from_nm", "to_nm", "first_nm", "second_nm", "ratio", "direction", "width_fwhm",
    "left_from_nm", "left_to_nm", "right_from_nm", "right_to_nm",
)
RULE_COLUMNS = (
    *(f"is_{kind}" for kind in RULE_KINDS.values()), "is_hard", "weight", "is_for_all", "reliability",
    *(name.replace("_nm", "_um") for name in RULE_NUMBERS), *(f"has_{name}" for name in RULE_NUMBERS),
)
SOURCE_COLUMNS = ("reliability",)


@dataclass(frozen=True, slots=True)
class KnowledgeTensors:
    """The typed view of a release for one sensor.

    Args:
        release: hash of the release.
        iris: IRI of each node by kind: 'material', 'feature' (exclusions too), 'band' (its stored index as text),
            'rule', 'source'.
        attributes: ``(node, column)`` float32 by kind, columns as in this module's ``*_COLUMNS``; finite everywhere.
        spectra: reference reflectance of the materials at the bands, ``(material, band)`` float32, 0 where unknown.
        is_known: where ``spectra`` is known, ``(material, band)``.
        edges: ``(2, edge)`` int64, source row then target row, by (kind, relation, kind).
        edge_weights: ``(edge,)`` float32 by the same keys, for the relations that have one.
    """

    release: str
    iris: Mapping[str, tuple[str, ...]]
    attributes: Mapping[str, Floats]
    spectra: Floats
    is_known: NDArray[np.bool_]
    edges: Mapping[EdgeKind, NDArray[np.int64]]
    edge_weights: Mapping[EdgeKind, Floats]


def tensors(
    knowledge: KnowledgeBase, centre_nm: NDArray[np.float64], fwhm_nm: NDArray[np.float64]
) -> KnowledgeTensors:
    """The typed view of a release for a sensor's bands, in stored order.

    Args:
        knowledge: the compiled release.
        centre_nm: band centres, nm, ``(band,)``.
        fwhm_nm: full widths at half maximum, nm, ``(band,)``.
    """
    centre_nm, fwhm_nm = np.asarray(centre_nm, float), np.asarray(fwhm_nm, float)
    trust = {source.iri: source.reliability for source in knowledge.sources}
    features = _features(knowledge)
    spectra = _spectra(knowledge, centre_nm, fwhm_nm)
    known = np.isfinite(spectra)
    attributes = {
        "material": [_material_row(one, spectra[row], trust) for row, one in enumerate(knowledge.materials)],
        "feature": [_feature_row(one, centre_nm, trust) for one in features],
        "band": _bands(knowledge, centre_nm, fwhm_nm),
        "rule": [_rule_row(rule, trust) for rule in knowledge.rules],
        "source": [(source.reliability,) for source in knowledge.sources],
    }
    columns = {
        "material": MATERIAL_COLUMNS, "feature": FEATURE_COLUMNS, "band": BAND_COLUMNS, "rule": RULE_COLUMNS,
        "source": SOURCE_COLUMNS,
    }
    edges, weights = _edges(knowledge, features, centre_nm)
    return KnowledgeTensors(
        release=knowledge.release,
        iris={
            "material": tuple(one.iri for one in knowledge.materials),
            "feature": tuple(one.iri for one in features),
            "band": tuple(str(band) for band in range(centre_nm.size)),
            "rule": tuple(one.iri for one in knowledge.rules),
            "source": tuple(one.iri for one in knowledge.sources),
        },
        attributes={
            kind: np.asarray(rows, np.float32).reshape(-1, len(columns[kind])) for kind, rows in attributes.items()
        },
        spectra=np.where(known, spectra, 0.0).astype(np.float32),
        is_known=known,
        edges=edges,
        edge_weights=weights,
    )


@dataclass(frozen=True, slots=True)
class _Feature:
    """A diagnostic feature or an exclusion, with the row of its material and of the one it refers to."""

    iri: str
    owner: int
    other: int | None
    left_nm: tuple[float, float]
    right_nm: tuple[float, float]
    weight: float
    constraints: Mapping[str, Interval]
    source: str


def _features(knowledge: KnowledgeBase) -> list[_Feature]:
    """Features and exclusions in IRI order; one that two materials share appears once a material."""
    rows = {material.iri: row for row, material in enumerate(knowledge.materials)}
    found = []
    for row, material in enumerate(knowledge.materials):
        for one in material.features:
            found.append(_Feature(
                one.iri, row, None, one.left_nm, one.right_nm, one.weight, one.constraints,
                str(one.extra.get("source", "")),
            ))
        for other in material.not_features:
            found.append(_Feature(
                other.feature_iri, row, rows.get(other.material_iri), other.left_nm, other.right_nm, 0.0,
                other.constraints, str(other.extra.get("source", "")),
            ))
    return sorted(found, key=lambda one: (one.iri, one.owner))


def _spectra(knowledge: KnowledgeBase, centre_nm: NDArray[np.float64], fwhm_nm: NDArray[np.float64]) -> Floats:
    empty = np.full(knowledge.grid_nm.shape, np.nan, np.float32)
    stack = [empty if one.spectrum is None else one.spectrum for one in knowledge.materials]
    if not stack:
        return np.zeros((0, centre_nm.size), np.float32)
    return resample(np.stack(stack), knowledge.grid_nm, centre_nm, fwhm_nm).astype(np.float32)


def _material_row(material: Material, spectrum: Floats, trust: Mapping[str, float]) -> tuple[float, ...]:
    seen = spectrum[np.isfinite(spectrum)]
    return (
        float(seen.size > 0), float("is_constituent" in material.extra), material.priority,
        float(seen.mean()) if seen.size else 0.0, float(seen.std()) if seen.size else 0.0,
        float(len(material.features)), trust.get(material.source, 0.0),
    )


def _feature_row(feature: _Feature, centre_nm: NDArray[np.float64], trust: Mapping[str, float]) -> tuple[float, ...]:
    def bound(name: str, side: str, otherwise: float) -> float:
        value = getattr(feature.constraints[name], side) if name in feature.constraints else None
        return otherwise if value is None else float(value)

    ends = (*feature.left_nm, *feature.right_nm)
    return (
        *(end / 1000 for end in ends), feature.weight, float(feature.weight == 0), float(feature.other is not None),
        bound("fit", "low", 0.0), bound("depth", "low", 0.0), bound("depth", "high", 1.0),
        float(_inside(centre_nm, ends[0], ends[3]).any()), trust.get(feature.source, 0.0),
    )


def _bands(knowledge: KnowledgeBase, centre_nm: NDArray[np.float64], fwhm_nm: NDArray[np.float64]) -> Floats:
    transmission, priority = np.ones(centre_nm.size), np.ones(centre_nm.size)
    for window in knowledge.windows:
        inside = _inside(centre_nm, window.from_nm, window.to_nm)
        transmission[inside] = np.minimum(transmission[inside], window.transmission)
    for low, high, factor in knowledge.priorities:
        priority[_inside(centre_nm, low, high)] *= factor
    return np.stack([centre_nm / 1000, fwhm_nm / 1000, transmission, priority], 1).astype(np.float32)


def _rule_row(rule: Rule, trust: Mapping[str, float]) -> tuple[float, ...]:
    numbers = [
        rule.parameters.get(name, 0.0) / (1000 if name.endswith("_nm") else 1) for name in RULE_NUMBERS
    ]
    return (
        *(float(rule.kind == kind) for kind in RULE_KINDS.values()), float(rule.is_hard), rule.weight,
        float(not rule.scope), trust.get(rule.source, 0.0), *numbers,
        *(float(name in rule.parameters) for name in RULE_NUMBERS),
    )


def _edges(
    knowledge: KnowledgeBase, features: list[_Feature], centre_nm: NDArray[np.float64]
) -> tuple[dict[EdgeKind, NDArray[np.int64]], dict[EdgeKind, Floats]]:
    material = {one.iri: row for row, one in enumerate(knowledge.materials)}
    source = {one.iri: row for row, one in enumerate(knowledge.sources)}
    feature = defaultdict(list)
    for row, one in enumerate(features):
        feature[one.iri].append(row)
    pairs: dict[EdgeKind, list[tuple[int, int]]] = {
        ("feature", "of", "material"): [(row, one.owner) for row, one in enumerate(features) if one.other is None],
        ("feature", "excludes", "material"): [
            (row, one.owner) for row, one in enumerate(features) if one.other is not None
        ],
        ("material", "shows", "feature"): [
            (one.other, row) for row, one in enumerate(features) if one.other is not None
        ],
        ("band", "carries", "feature"): [
            (int(band), row) for row, one in enumerate(features)
            for band in np.flatnonzero(_inside(centre_nm, one.left_nm[0], one.right_nm[1]))
        ],
        ("material", "kin", "material"): _kin(knowledge),
        ("material", "found_with", "material"): [
            pair for rule in knowledge.rules for pair in _partners(rule, material)
        ],
        ("rule", "governs", "material"): [
            (row, target) for row, rule in enumerate(knowledge.rules)
            for target in sorted({material[iri] for iri in (*rule.scope, *rule.partners)})
        ],
        ("rule", "about", "feature"): [
            (row, target) for row, rule in enumerate(knowledge.rules) for target in feature.get(rule.feature, ())
        ],
        ("rule", "touches", "band"): [
            (row, int(band)) for row, rule in enumerate(knowledge.rules) for band in _touched(rule, centre_nm)
        ],
        ("source", "backs", "material"): _backed(source, [one.source for one in knowledge.materials]),
        ("source", "backs", "feature"): _backed(source, [one.source for one in features]),
        ("source", "backs", "rule"): _backed(source, [one.source for one in knowledge.rules]),
    }
    ratios = [rule.parameters.get("ratio", 1.0) for rule in knowledge.rules for _ in _partners(rule, material)]
    weights = {
        ("feature", "of", "material"): [one.weight for one in features if one.other is None],
        ("material", "found_with", "material"): list(np.log(ratios)),
    }
    return (
        {kind: np.asarray(ends, np.int64).reshape(-1, 2).T.copy() for kind, ends in pairs.items()},
        {kind: np.asarray(values, np.float32) for kind, values in weights.items()},
    )


def _kin(knowledge: KnowledgeBase) -> list[tuple[int, int]]:
    """Materials that share their nearest group, both ways."""
    groups = defaultdict(list)
    for row, material in enumerate(knowledge.materials):
        if material.broader:
            groups[material.broader[0]].append(row)
    return sorted((one, other) for rows in groups.values() for one in rows for other in rows if one != other)


def _partners(rule: Rule, rows: Mapping[str, int]) -> list[tuple[int, int]]:
    return sorted(
        pair for one in rule.scope for other in rule.partners
        for pair in ((rows[one], rows[other]), (rows[other], rows[one]))
    )


def _touched(rule: Rule, centre_nm: NDArray[np.float64]) -> NDArray[np.intp]:
    p = rule.parameters
    touched = np.zeros(centre_nm.size, bool)
    if "from_nm" in p and "to_nm" in p:
        touched |= _inside(centre_nm, p["from_nm"], p["to_nm"])
    if "left_from_nm" in p and "right_to_nm" in p:
        touched |= _inside(centre_nm, p["left_from_nm"], p["right_to_nm"])
    for name in ("first_nm", "second_nm"):
        if name in p and centre_nm.size:
            touched[np.abs(centre_nm - p[name]).argmin()] = True
    if rule.kind == "smoothness":
        touched[:] = True
    return np.flatnonzero(touched)


def _backed(rows: Mapping[str, int], sources: Iterable[str]) -> list[tuple[int, int]]:
    return [(rows[iri], row) for row, iri in enumerate(sources) if iri in rows]


def _inside(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    return (values >= low) & (values <= high)
