"""From the triples of a release to :class:`~palimpsest.knowledge.rules.KnowledgeBase`.

Materials, rules, windows and sources come out in IRI order, so that equal graphs compile to equal values. What is
``owl:deprecated`` is left out, and so are exclusions by a deprecated material. What the
graph says wrongly (a material that is not there, endpoints out of order, a missing number) is refused here with the
term's IRI; what it says wrongly in form is the business of the shapes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from palimpsest.errors import KnowledgeError, UnknownTerm
from palimpsest.knowledge.hard_rules.rule_gates import with_hard_rules
from palimpsest.knowledge.releases import vocabulary as words
from palimpsest.knowledge.releases.described import drawn_spectrum, is_described, with_bounds
from palimpsest.knowledge.releases.spectra_store import GRID_NM, SpectraStore
from palimpsest.knowledge.rules import (
    DiagnosticFeature,
    Interval,
    KnowledgeBase,
    Material,
    NotFeature,
    Rule,
    Sensor,
    Source,
    SpectralWindow,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from palimpsest.knowledge.releases.facts import Facts

GATE, SCORED = "gate", "scored"


def compile_facts(facts: Facts, resources: Mapping[str, bytes], *, release: str, version: str) -> KnowledgeBase:
    """The compiled form of a release.

    Args:
        facts: its graph.
        resources: bytes of the binary resources by file name.
        release: hash of the canonical graph.
        version: its version string.

    Raises:
        KnowledgeError: something that the graph says cannot be compiled; ``where`` is the term's IRI.
        UnknownTerm: a rule, exclusion or material names a term that is not in the release.
    """
    parts = {name: tuple(build(iri) for iri in iris) for name, (build, iris) in _parts(facts, resources).items()}
    parts["materials"] = with_hard_rules(parts["materials"], parts["rules"])
    return KnowledgeBase(release=release, version=version, grid_nm=GRID_NM, **parts)


def findings(facts: Facts, resources: Mapping[str, bytes]) -> list[KnowledgeError]:
    """Every error that compiling would meet, one a term, instead of the first alone."""
    errors: list[KnowledgeError] = []
    for build, iris in _parts(facts, resources).values():
        for iri in iris:
            try:
                build(iri)
            except KnowledgeError as error:
                errors.append(error)
    return errors


def _parts(
    facts: Facts, resources: Mapping[str, bytes]
) -> dict[str, tuple[Callable[[str], Any], list[str]]]:  # Any: each part has its own type
    store, kinds = SpectraStore(facts, resources), _rules(facts)
    builders: dict[str, tuple[Callable[[str], Any], list[str]]] = {
        "materials": (partial(_material, facts, store), facts.of_class("plm:Material")),
        "rules": (lambda iri: _rule(facts, iri, kinds[iri]), sorted(kinds)),
        "windows": (partial(_window, facts), facts.of_class("plm:AtmosphericWindow")),
        "sources": (partial(_source, facts), facts.of_class("plm:Source")),
        "priorities": (partial(_priority, facts), facts.of_class("plm:ExpertPriority")),
        "sensors": (
            partial(_sensor, facts),
            [iri for iri in facts.of_class("plm:ImagingSpectrometer") if facts.values(iri, "plm:bandWidths")],
        ),
    }
    return {
        name: (build, [iri for iri in iris if not facts.is_deprecated(iri)]) for name, (build, iris) in builders.items()
    }


def ancestors(facts: Facts, iri: str) -> tuple[str, ...]:
    """IRIs above a concept in the hierarchy, nearest first, IRI order among equals.

    Raises:
        UnknownTerm: a broader concept is not in the release.
        KnowledgeError: the concept is above itself.
    """
    found: list[str] = []
    frontier = [iri]
    while frontier:
        above = sorted({up for one in frontier for up in facts.links(one, "skos:broader")} - set(found))
        if iri in above:
            raise KnowledgeError("is broader than itself", where=iri, wanted="a hierarchy without circles")
        for up in above:
            if up not in facts:
                raise UnknownTerm("skos:broader names a concept that is not in the release", where=iri, got=up)
        found += above
        frontier = above
    return tuple(found)


def _material(facts: Facts, store: SpectraStore, iri: str) -> Material:
    features = [_feature(facts, feature) for feature in _known(facts, iri, "plm:diagnosticFeature")]
    exclusions = [
        exclusion for exclusion in (_exclusion(facts, feature) for feature in _known(facts, iri, "plm:excludedBy"))
        if not facts.is_deprecated(exclusion.material_iri)
    ]
    features.sort(key=lambda feature: (feature.extra["ordinal"], feature.iri))
    exclusions.sort(key=lambda exclusion: (exclusion.extra["ordinal"], exclusion.feature_iri))
    if features and sum(feature.weight for feature in features) <= 0:
        raise KnowledgeError("no diagnostic feature has a weight", where=iri, got=0, wanted="at least one above zero")
    spectra = _known(facts, iri, "plm:referenceSpectrum")
    if len(spectra) > 1:
        raise KnowledgeError("more than one reference spectrum", where=iri, got=spectra, wanted="one or none")
    priority = facts.number(iri, "plm:priority")
    spectrum = store.spectrum(spectra[0]) if spectra else None
    constraints, extra = _bounds(facts, iri, words.MATERIAL_BOUNDS), _extra(facts, iri, spectra)
    if not spectra and "is_constituent" not in extra and is_described(features):
        spectrum, constraints = drawn_spectrum(features, GRID_NM), with_bounds(constraints, features)
        extra["is_described"] = True
    return Material(
        iri=iri,
        label=facts.label(iri),
        broader=ancestors(facts, iri),
        spectrum=spectrum,
        features=tuple(features),
        not_features=tuple(exclusions),
        constraints=constraints,
        priority=1.0 if priority is None else priority,
        source=_source_of(facts, iri),
        extra=extra,
    )


def _extra(facts: Facts, iri: str, spectra: list[str]) -> dict[str, object]:
    extra: dict[str, object] = {}
    rank = facts.number(iri, "plm:rank")
    if rank is not None:
        extra["rank"] = int(rank)
    families = _known(facts, iri, "plm:arbitratedIn")
    if families:
        extra["arbitration"] = families[0]
    for name, predicate in (
        ("notation", "skos:notation"),
        ("formula", "plm:structuralFormula"),
        ("formula_tier", "plm:structuralFormulaTier"),
    ):
        if facts.values(iri, predicate):
            extra[name] = facts.text(iri, predicate)
    if facts.is_a(iri, "plm:Constituent"):
        extra["is_constituent"] = True
    if spectra:
        extra["spectrum"] = spectra[0]
        extra["record"] = facts.text(spectra[0], "plm:record", "")
    return extra


def _feature(facts: Facts, iri: str) -> DiagnosticFeature:
    left, right = _continuum(facts, iri)
    weight = facts.needed(iri, "plm:weight")
    if weight < 0:
        raise KnowledgeError("negative weight", where=iri, got=weight, wanted="zero or more")
    return DiagnosticFeature(
        iri=iri,
        left_nm=left,
        right_nm=right,
        weight=weight,
        constraints=_bounds(facts, iri, words.FEATURE_BOUNDS),
        feature_type=SCORED if weight > 0 else GATE,
        extra={
            "ordinal": int(facts.number(iri, "plm:ordinal") or 0),
            **{name: value for name, predicate in words.FEATURE_SHAPE.items()
               if (value := facts.number(iri, predicate)) is not None},
            **({"label": facts.text(iri, "rdfs:label")} if facts.values(iri, "rdfs:label") else {}),
            "source": _source_of(facts, iri),
        },
    )


def _exclusion(facts: Facts, iri: str) -> NotFeature:
    left, right = _continuum(facts, iri)
    material = facts.link(iri, "plm:ofMaterial")
    if not facts.is_a(material, "plm:Material"):
        raise UnknownTerm("the exclusion names a material that is not in the release", where=iri, got=material)
    return NotFeature(
        material_iri=material,
        feature_iri=iri,
        constraints=_bounds(facts, iri, words.EXCLUSION_BOUNDS),
        extra={"ordinal": int(facts.number(iri, "plm:ordinal") or 0), "source": _source_of(facts, iri)},
        left_nm=left,
        right_nm=right,
        is_relative=facts.is_a(iri, "plm:RelativeExclusion"),
    )


def _continuum(facts: Facts, iri: str) -> tuple[tuple[float, float], tuple[float, float]]:
    a, b, c, d = (facts.needed(iri, name) for name in words.CONTINUUM)
    # The two intervals may touch or overlap by a little in the rule base; each must be in order, and so must the pair.
    if not (0 < a <= b and c <= d and a < c and b < d):
        raise KnowledgeError(
            "continuum endpoints are out of order", where=iri, got=f"{a:g}-{b:g} and {c:g}-{d:g} nm",
            wanted="two intervals, low before high, left before right",
        )
    return (a, b), (c, d)


def _bounds(facts: Facts, iri: str, names: Mapping[str, tuple[str, str]]) -> dict[str, Interval]:
    found: dict[str, Interval] = {}
    for name, (low_name, high_name) in names.items():
        low, high = facts.number(iri, low_name), facts.number(iri, high_name)
        if low is not None and high is not None and low > high:
            raise KnowledgeError(
                f"bounds of {name} are out of order", where=iri, got=f"{low:g} to {high:g}", wanted="low before high"
            )
        if low is not None or high is not None:
            found[name] = Interval(low, high)
    return found


def _rules(facts: Facts) -> dict[str, str]:
    return {iri: kind for name, kind in words.RULE_KINDS.items() for iri in facts.of_class(name)}


def _rule(facts: Facts, iri: str, kind: str) -> Rule:
    parameters = {}
    for name, predicate in words.RULE_NUMBERS.items():
        value = facts.number(iri, predicate)
        if value is not None:
            parameters[name] = value
    features = facts.links(iri, "plm:onFeature")
    for feature in features:
        if feature not in facts:
            raise UnknownTerm("the rule names a feature that is not in the release", where=iri, got=feature)
        (a, b), (c, d) = _continuum(facts, feature)
        parameters |= {"left_from_nm": a, "left_to_nm": b, "right_from_nm": c, "right_to_nm": d}
    low, high = parameters.get("low"), parameters.get("high")
    if low is not None and high is not None and low > high:
        raise KnowledgeError("bounds are out of order", where=iri, got=f"{low:g} to {high:g}", wanted="low before high")
    weight = facts.number(iri, "plm:weight")
    return Rule(
        iri=iri,
        kind=kind,
        parameters=parameters,
        scope=tuple(sorted(_scope(facts, iri, "plm:scope"))),
        is_hard=facts.link(iri, "plm:hardness") == words.term("plm:Hard"),
        weight=1.0 if weight is None else weight,
        sentence=facts.text(iri, "plm:sentence"),
        source=_source_of(facts, iri),
        partners=tuple(sorted(_scope(facts, iri, "plm:withMaterial"))),
        feature=features[0] if features else "",
    )


def _scope(facts: Facts, iri: str, predicate: str) -> set[str]:
    """Materials that a rule holds for: those named, and those below a named group."""
    scope: set[str] = set()
    for target in facts.links(iri, predicate):
        if facts.is_a(target, "plm:Material"):
            if facts.is_deprecated(target):
                raise UnknownTerm("the rule names a material that is deprecated", where=iri, got=target)
            scope.add(target)
        elif not facts.is_a(target, "plm:MaterialGroup"):
            raise UnknownTerm(
                "the rule names a material that is not in the release", where=iri, got=target,
                wanted="the IRI of a plm:Material or plm:MaterialGroup",
            )
        below = [
            one for one in facts.of_class("plm:Material")
            if target in ancestors(facts, one) and not facts.is_deprecated(one)
        ]
        scope |= set(below)
        if not below and target not in scope:
            raise KnowledgeError("the rule's group has no materials", where=iri, got=target, wanted="at least one")
    return scope


def _window(facts: Facts, iri: str) -> SpectralWindow:
    low, high = facts.needed(iri, "plm:fromWavelength"), facts.needed(iri, "plm:toWavelength")
    if not 0 < low < high:
        raise KnowledgeError("wavelengths are out of order", where=iri, got=f"{low:g}-{high:g} nm", wanted="low < high")
    transmission = facts.needed(iri, "plm:transmission")
    if not 0 <= transmission <= 1:
        raise KnowledgeError("transmission is not a fraction", where=iri, got=transmission, wanted="0 to 1")
    return SpectralWindow(iri, facts.label(iri), low, high, transmission)


def _sensor(facts: Facts, iri: str) -> Sensor:
    centre, width = facts.numbers(iri, "plm:bandCentres"), facts.numbers(iri, "plm:bandWidths")
    if centre is None or width is None or centre.shape != width.shape:
        got = [None if column is None else column.size for column in (centre, width)]
        raise KnowledgeError("centres and widths of the bands do not go together", where=iri, got=got, wanted="as many")
    return Sensor(iri, facts.label(iri), centre, width)


def _source(facts: Facts, iri: str) -> Source:
    reliability = facts.needed(iri, "plm:reliability")
    if not 0 <= reliability <= 1:
        raise KnowledgeError("reliability is not a fraction", where=iri, got=reliability, wanted="0 to 1")
    return Source(iri, facts.label(iri), reliability)


def _priority(facts: Facts, iri: str) -> tuple[float, float, float]:
    low, high = facts.needed(iri, "plm:fromWavelength"), facts.needed(iri, "plm:toWavelength")
    factor = facts.needed(iri, "plm:factor")
    if not (0 < low < high and factor > 0):
        raise KnowledgeError(
            "priority is not usable", where=iri, got=f"{low:g}-{high:g} nm x {factor:g}",
            wanted="low < high, factor > 0",
        )
    return low, high, factor


def _known(facts: Facts, iri: str, predicate: str) -> list[str]:
    targets = facts.links(iri, predicate)
    for target in targets:
        if target not in facts:
            raise UnknownTerm(f"{predicate} names a term that is not in the release", where=iri, got=target)
    return targets


def _source_of(facts: Facts, iri: str) -> str:
    sources = facts.links(iri, "dcterms:source")
    if not sources:
        raise KnowledgeError("no source is named", where=iri, wanted="dcterms:source with the IRI of a plm:Source")
    for source in sources:
        if not facts.is_a(source, "plm:Source"):
            raise UnknownTerm("the source is not in the release", where=iri, got=source, wanted="a plm:Source")
    return sources[0]
