"""Is a draft fit to be published? First its form (SHACL), then what it means; every finding in a plain sentence.

The shapes are the packaged ones and those that the release brings. Validation works on graphs of its own, so that
nothing it adds leaks into the release. rdflib and pySHACL are imported here alone.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from palimpsest.errors import KnowledgeError
from palimpsest.knowledge.hard_rules.rule_forms import SPECTRAL_KINDS, compile_rules
from palimpsest.knowledge.releases.compile import compile_facts, findings
from palimpsest.knowledge.releases.facts import Facts, parse
from palimpsest.knowledge.releases.vocabulary import shortened, term

if TYPE_CHECKING:
    from collections.abc import Iterator

    import rdflib

    from palimpsest.knowledge.releases.contents import Release
    from palimpsest.knowledge.rules import KnowledgeBase, Material

SHAPES = b"NodeShape"
BEYOND_CORE = {term(f"sh:{name}") for name in ("sparql", "select", "ask", "construct", "js", "rule", "target")}
TOLERANCE = 2e-3  # reflectance: below this a reference spectrum breaks a rule by its own noise


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong, or looks wrong.

    Args:
        severity: 'violation' refuses the release, 'warning' does not.
        iri: the term concerned, or the file's name.
        label: its name for people.
        sentence: what is wrong and what would be right.
        got: the value found, or ''.
    """

    severity: Literal["violation", "warning"]
    iri: str
    label: str
    sentence: str
    got: str = ""

    def __str__(self) -> str:
        seen = f" (got {self.got})" if self.got else ""
        return f"{self.severity}: {self.label} <{self.iri}>: {self.sentence}{seen}"


def validate(release: Release) -> tuple[Finding, ...]:
    """Everything that is wrong with a release, violations first; empty when there is nothing to say."""
    try:
        facts = Facts(parse(release.files.items()))
    except KnowledgeError as error:
        return (Finding("violation", str(error.where), str(error.where), error.what, ""),)
    found = [*_shapes(release, facts)]
    errors = findings(facts, release.resources)
    found += [
        Finding("violation", str(error.where), facts.label(str(error.where)), _sentence(error), str(error.got or ""))
        for error in errors
    ]
    if not errors:
        found += _meaning(compile_facts(facts, release.resources, release="", version=""))
    return tuple(sorted(set(found), key=lambda one: (one.severity == "warning", one)))


def require_valid(release: Release) -> tuple[Finding, ...]:
    """The warnings of a release that may be used.

    Raises:
        KnowledgeError: the release has a violation; ``where`` is the first one's IRI, the message counts the others.
    """
    found = validate(release)
    wrong = [one for one in found if one.severity == "violation"]
    if wrong:
        first = wrong[0]
        more = f"; and {len(wrong) - 1} more: palimpsest knowledge validate lists them" if len(wrong) > 1 else ""
        raise KnowledgeError(f"{first.label}: {first.sentence}{more}", where=first.iri, got=first.got or None)
    return found


def _sentence(error: KnowledgeError) -> str:
    return error.what if error.wanted is None else f"{error.what}; wanted {error.wanted}"


def _shapes(release: Release, facts: Facts) -> Iterator[Finding]:
    import pyshacl
    import rdflib

    logging.getLogger("rdflib.term").setLevel(logging.ERROR)  # its remarks on odd literals become findings below
    beyond = sorted(BEYOND_CORE & facts.predicates())
    if beyond:
        # A SPARQL constraint could ask the network, and nobody could say in a sentence what it wants.
        yield Finding("violation", beyond[0], shortened(beyond[0]), "shapes are written in SHACL Core alone")
        return
    data, shapes = rdflib.Graph(), rdflib.Graph()
    try:
        for content in release.files.values():
            data.parse(data=content, format="turtle")
        # A release may add shapes; it cannot do without the packaged ones.
        for content in sorted({_packaged_shapes(), *(one for one in release.files.values() if SHAPES in one)}):
            shapes.parse(data=content, format="turtle")
        _, report, _ = pyshacl.validate(data, shacl_graph=shapes, inplace=True, advanced=False, meta_shacl=False)
    except (SyntaxError, ValueError, RuntimeError, rdflib.exceptions.ParserError) as error:
        yield Finding("violation", release.origin, release.origin, f"the shapes cannot be applied: {error}")
        return
    assert isinstance(report, rdflib.Graph)
    for result in report.subjects(rdflib.RDF.type, rdflib.URIRef(term("sh:ValidationResult"))):
        focus = str(report.value(result, rdflib.URIRef(term("sh:focusNode"))))
        value = report.value(result, rdflib.URIRef(term("sh:value")))
        seen = "" if value is None or str(value) == focus else shortened(str(value))
        yield Finding("violation", focus, facts.label(focus), _message(report, result), seen)


def _message(report: rdflib.Graph, result: rdflib.term.Node) -> str:
    import rdflib

    messages = sorted(str(one) for one in report.objects(result, rdflib.URIRef(term("sh:resultMessage"))))
    return messages[0] if messages else "does not pass the shapes"


def _packaged_shapes() -> bytes:
    import palimpsest_ontologies

    return palimpsest_ontologies.ontology("shapes.ttl").read_bytes()


def _meaning(knowledge: KnowledgeBase) -> Iterator[Finding]:
    for material in knowledge.materials:
        yield from _material(knowledge, material)
    width = np.ones(knowledge.grid_nm.size)
    for rule in knowledge.rules:
        if rule.kind not in SPECTRAL_KINDS or rule.kind == "smoothness":
            continue
        # The reference spectra are held to the rule on their own grid, as if it were a sensor's.
        compiled = compile_rules(replace(knowledge, rules=(rule,)), knowledge.grid_nm, width).rules
        if not compiled:
            continue
        one = compiled[0]
        for number, material in enumerate(knowledge.materials, start=1):
            if material.spectrum is None or (one.labels and number not in one.labels):
                continue
            amount = float(one.violation(np.asarray(material.spectrum, np.float64)[None])[0])
            if amount > TOLERANCE:
                yield Finding(
                    "violation" if rule.is_hard else "warning", rule.iri, shortened(rule.iri),
                    f"the reference spectrum of {material.label} does not satisfy this rule", f"off by {amount:.3g}",
                )


def _material(knowledge: KnowledgeBase, material: Material) -> Iterator[Finding]:
    total = sum(feature.weight for feature in material.features)
    if material.features and abs(total - 1) > 0.02:
        yield Finding(
            "violation", material.iri, material.label, "the weights of its diagnostic features must sum to one",
            f"{total:g}",
        )
    if material.features and material.spectrum is None and "is_constituent" not in material.extra:
        yield Finding(
            "warning", material.iri, material.label,
            "it has diagnostic features and no reference spectrum, so no pixel can be named after it",
        )
    if material.spectrum is None:
        return
    known = knowledge.grid_nm[np.isfinite(material.spectrum)]
    for feature in material.features:
        low, high = feature.left_nm[0], feature.right_nm[1]
        if known.size == 0 or low < known[0] - 1 or high > known[-1] + 1:
            reach = f"{known[0]:g} to {known[-1]:g} nm" if known.size else "nothing"
            yield Finding(
                "violation", feature.iri, material.label,
                f"the feature reaches from {low:g} to {high:g} nm and the reference spectrum does not", reach,
            )
