"""Validation: the packaged release passes, and each mistake is named in words with its term."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from palimpsest.cubes import Reason
from palimpsest.errors import KnowledgeError
from palimpsest.knowledge.hard_rules.rule_forms import SensorRule, compile_rules
from palimpsest.knowledge.releases import vocabulary as words
from palimpsest.knowledge.releases.contents import Release, packaged
from palimpsest.knowledge.releases.facts import Facts
from palimpsest.knowledge.releases.release import load
from palimpsest.knowledge.releases.validate import Finding, require_valid, validate
from palimpsest.knowledge.rules import KnowledgeBase, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = "".join(f"@prefix {prefix}: <{iri}> .\n" for prefix, iri in words.PREFIXES.items())
SOURCED = "dcterms:source src:mica"
ENDS = (
    "plm:leftContinuumFrom 2100 ; plm:leftContinuumTo 2120 ; plm:rightContinuumFrom 2240 ; plm:rightContinuumTo 2260"
)


def with_more(turtle: str) -> Release:
    release = packaged()
    return Release("test", {**release.files, "more.ttl": (HEAD + turtle).encode()}, release.resources)


@pytest.fixture(scope="module")
def facts() -> Facts:
    return Facts(packaged().triples())


def test_the_packaged_release_passes_without_a_word():
    assert validate(packaged()) == ()


# (turtle, the term, what is said of it, whether only the meaning is wrong and not the form)
MISTAKES = [
    (f"mat:a a plm:Material ; skos:prefLabel 'a'@en ; skos:broader group:mica ; {SOURCED} .",
     "mat:a", "a reference spectrum, a diagnostic feature, or both", False),
    (f"feat:b a plm:DiagnosticFeature ; plm:weight 1 ; plm:ordinal 1 ; {ENDS} .",
     "feat:b", "Say where this comes from", False),
    (f"feat:c a plm:DiagnosticFeature ; plm:weight 7 ; plm:ordinal 1 ; {ENDS} ; {SOURCED} .",
     "feat:c", "one weight between 0 and 1", False),
    (f"feat:d a plm:DiagnosticFeature ; plm:weight 1 ; plm:ordinal 1 ; {SOURCED} .",
     "feat:d", "The left continuum interval begins", False),
    (f"feat:e a plm:DiagnosticFeature ; plm:weight 1 ; plm:ordinal 1 ; {ENDS.replace('2100', '2130')} ; {SOURCED} .",
     "feat:e", "must begin before it ends", False),
    (f"rule:f a plm:BoundsRule ; plm:hardness plm:Hard ; plm:low 0 ; plm:high 1 ; plm:fromWavelength 400 ; "
     f"plm:toWavelength 500 ; {SOURCED} .", "rule:f", "says in one sentence", False),
    (f"rule:g a plm:MixingRule ; plm:hardness plm:Hard ; plm:scope mat:nothing ; plm:sentence 'No.'@en ; {SOURCED} .",
     "rule:g", "names a material that is not in the release", False),
    ("src:h a plm:Source ; rdfs:label 'h'@en ; plm:reliability 3 .", "src:h", "one reliability between 0 and 1", False),
    (f"win:i a plm:AtmosphericWindow ; rdfs:label 'i'@en ; plm:transmission 0.5 ; plm:fromWavelength 900 ; "
     f"plm:toWavelength 800 ; {SOURCED} .", "win:i", "before its end", False),
    (f"mat:j a plm:Material ; skos:prefLabel 'j'@en ; skos:broader group:mica ; plm:diagnosticFeature feat:j ; "
     f"{SOURCED} . feat:j a plm:DiagnosticFeature ; plm:weight 0.4 ; plm:ordinal 1 ; {ENDS} ; {SOURCED} .",
     "mat:j", "must sum to one", True),
    (f"rule:k a plm:BoundsRule ; plm:hardness plm:Hard ; plm:low 0 ; plm:high 0.1 ; plm:fromWavelength 400 ; "
     f"plm:toWavelength 2500 ; plm:sentence 'All is dark.'@en ; {SOURCED} .", "rule:k", "does not satisfy this", True),
]


@pytest.fixture(scope="module")
def found() -> dict[bool, tuple[Finding, ...]]:
    """Findings in a release with every mistake of form, and in one with every mistake of meaning."""
    return {
        kind: validate(with_more("\n".join(turtle for turtle, _, _, meaning in MISTAKES if meaning == kind)))
        for kind in (False, True)
    }


@pytest.mark.parametrize(("iri", "said", "meaning"), [mistake[1:] for mistake in MISTAKES])
def test_a_mistake_is_named_in_words_with_its_term(found, iri, said, meaning):
    about = [one for one in found[meaning] if one.iri == words.term(iri) and one.severity == "violation"]
    assert any(said in one.sentence for one in about), found[meaning]


def test_only_the_terms_that_are_wrong_are_named(found):
    wrong = {one.iri for one in found[False]}
    assert wrong == {words.term(iri) for _, iri, _, meaning in MISTAKES if not meaning}


def test_a_release_with_a_mistake_is_refused_with_the_number_of_the_others():
    with pytest.raises(KnowledgeError, match=r"and [0-9]+ more") as caught:
        require_valid(with_more("src:h a plm:Source . src:i a plm:Source ."))
    assert caught.value.where == words.term("src:h")


def test_a_weakened_shapes_file_does_not_weaken_the_shapes():
    release = with_more("src:x a plm:Source ; plm:reliability 3 .")
    weak = Release("test", {**release.files, "shapes.ttl": HEAD.encode()}, release.resources)
    assert any(one.iri == words.term("src:x") for one in validate(weak))


def test_every_term_used_in_code_stands_in_the_vocabulary(facts):
    tables = (words.FEATURE_BOUNDS, words.MATERIAL_BOUNDS, words.EXCLUSION_BOUNDS)
    used = {name for table in tables for pair in table.values() for name in pair}
    used |= {*words.CONTINUUM, *words.RULE_KINDS, *words.RULE_NUMBERS.values()}
    for name in sorted(used):
        assert facts.label(words.term(name)) != name, f"{name} has no label in vocabulary.ttl"


def test_every_file_names_its_version_and_every_number_property_its_label(facts):
    release = packaged()
    files = facts.of_class("owl:Ontology")
    assert len(files) == len(release.files)
    for iri in files:
        version = facts.text(iri, "owl:versionInfo")
        assert facts.link(iri, "owl:versionIRI") == f"{iri}/{version}"


def test_defects_have_the_numbers_of_the_cubes_reasons(facts):
    numbers = sorted(int(facts.needed(iri, "plm:reasonNumber")) for iri in facts.of_class("plm:DefectKind"))
    assert numbers == sorted(int(reason) for reason in Reason if reason != Reason.GOOD)


def test_sensors_have_as_many_widths_as_centres(facts):
    sensors = facts.of_class("plm:ImagingSpectrometer")
    assert len(sensors) >= 7
    for iri in sensors:
        centres, widths = facts.numbers(iri, "plm:bandCentres"), facts.numbers(iri, "plm:bandWidths")
        assert centres is not None
        assert widths is not None
        assert centres.shape == widths.shape
        assert ((centres > 300) & (centres < 2600) & (widths > 1) & (widths < 30)).all()


def rules() -> Iterator[tuple[Rule, np.ndarray, np.ndarray]]:
    """Each kind with a spectrum that satisfies it and one that breaks it by 0.1."""
    x = np.arange(400.0, 2401.0, 10.0)
    flat = np.full(x.shape, 0.5)

    def rule(kind: str, **parameters: float) -> Rule:
        return Rule("rule:x", kind, parameters, (), is_hard=True, weight=1.0, sentence="x.")

    bright = flat.copy()
    bright[20] = 1.1
    yield rule("bounds", low=0.0, high=1.0, from_nm=400, to_nm=2400), flat, bright
    dark = flat.copy()
    dark[np.abs(x - 860).argmin()] = 0.4
    yield rule("band_order", first_nm=860, second_nm=670, ratio=1.0), flat, dark
    dip = flat.copy()
    dip[np.abs(x - 720).argmin()] = 0.4
    yield rule("monotone", from_nm=690, to_nm=740, direction=1), flat, dip
    ends = {"left_from_nm": 1000, "left_to_nm": 1050, "right_from_nm": 1150, "right_to_nm": 1200}
    deep = flat.copy()
    deep[np.abs(x - 1100).argmin()] = 0.3
    yield rule("feature_depth", low=0.0, high=0.3, **ends), flat, deep
    yield rule("feature_presence", high=0.3, **ends), flat, deep


def on_bands(rule: Rule, x: np.ndarray) -> SensorRule | None:
    base = KnowledgeBase("0" * 64, "test", x, (), (rule,))
    compiled = compile_rules(base, x, np.full(x.size, 10.0)).rules
    return compiled[0] if compiled else None


def test_rules_on_bands_say_by_how_much_they_are_broken():
    x = np.arange(400.0, 2401.0, 10.0)
    for rule, good, bad in rules():
        one = on_bands(rule, x)
        assert one is not None
        amounts = one.violation(np.stack([good, bad, np.full(x.shape, np.nan)]))
        # a depth is relative to the continuum: 0.3 of 0.5 is 0.4 deep
        assert amounts == pytest.approx([0.0, 0.1, 0.0], abs=1e-9), rule.kind
        few = on_bands(rule, x[:1])
        assert few is None or few.violation(good[None, :1]).shape == (1,)


def test_the_depth_of_a_made_feature_is_its_depth():
    x = np.arange(2000.0, 2301.0)
    y = 0.6 * (1 - 0.25 * np.exp(-0.5 * ((x - 2150) / 15) ** 2))
    p = {"left_from_nm": 2000, "left_to_nm": 2050, "right_from_nm": 2250, "right_to_nm": 2300}
    one = on_bands(Rule("rule:x", "feature_depth", {"low": 0.1, **p}, (), is_hard=True, weight=1.0, sentence="x."), x)
    assert one is not None
    assert one.depths(np.stack([y, 3 * y])) == pytest.approx([0.25, 0.25], abs=1e-6)


def test_reference_spectra_satisfy_the_hard_rules_of_their_scope():
    knowledge = load("packaged")
    hard = tuple(
        rule for rule in knowledge.rules if rule.is_hard and rule.kind in ("bounds", "band_order", "monotone")
    )
    width, judged = np.ones(knowledge.grid_nm.size), 0
    for one in compile_rules(replace(knowledge, rules=hard), knowledge.grid_nm, width).rules:
        spectra = [
            material.spectrum for number, material in enumerate(knowledge.materials, start=1)
            if material.spectrum is not None and (not one.labels or number in one.labels)
        ]
        assert one.violation(np.stack(spectra)).max() < 2e-3, one.rule.iri
        judged += len(spectra)
    assert judged > 100


def test_shapes_beyond_core_and_shapes_that_make_no_sense_are_findings():
    sparql = "shape:x a sh:NodeShape ; sh:sparql [ sh:select 'SELECT $this WHERE {}' ] ."
    [only] = validate(with_more("@prefix shape: <http://e/> . " + sparql))
    assert "SHACL Core alone" in only.sentence
    senseless = "<http://e/x> a sh:NodeShape ; sh:targetClass plm:Source ; sh:property [ sh:minCount 'many' ] ."
    found = validate(with_more(senseless))
    assert any("cannot be applied" in one.sentence for one in found)
