"""One walk at the command line: a material and a rule written as Turtle this morning, and what follows from each.

Three releases: the packaged one, a copy with a material, a copy with the material and a rule about it. The same cube
and the same trained weights throughout.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import palimpsest_ontologies
from palimpsest.commands import main
from palimpsest.cubes import BandTable, Cube, Reason
from palimpsest.formats import read, write
from palimpsest.knowledge.identification.importance import importance_map
from palimpsest.knowledge.releases.release import load

X = np.arange(400.0, 2491.0, 10.0)
FAINT, FULL, OTHER = slice(0, 8), slice(8, 16), slice(16, 24)  # columns
GAP = (X >= 1600) & (X <= 1700)


def reflectance(x: np.ndarray) -> np.ndarray:
    """A pigment found nowhere else: two edges, and a band at 1650 nm that is 30 percent deep."""
    body = 0.15 + 0.5 / (1 + np.exp(-(x - 760) / 30)) - 0.25 / (1 + np.exp(-(x - 2150) / 40))
    return body * (1 - 0.3 * np.exp(-0.5 * ((x - 1650) / 25) ** 2))


MATERIAL = f"""
@prefix dcterms: <http://purl.org/dc/terms/> .
@prefix group: <https://w3id.org/palimpsest/material-group/> .
@prefix my: <https://example.org/my/> .
@prefix plm: <https://w3id.org/palimpsest/vocabulary#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .

my:pigment a plm:Material , skos:Concept ; skos:prefLabel "harbour pigment"@en ; skos:inScheme plm:materials ;
    skos:broader group:mineral ; plm:referenceSpectrum my:spectrum ; plm:diagnosticFeature my:band ;
    plm:minimumFit 0.7 ; plm:minimumDepth 0.03 ; dcterms:source my:field-day .
my:band a plm:DiagnosticFeature ; plm:ordinal 1 ; plm:weight 1.0 ; dcterms:source my:field-day ;
    plm:leftContinuumFrom 1520 ; plm:leftContinuumTo 1560 ; plm:rightContinuumFrom 1740 ; plm:rightContinuumTo 1780 .
my:spectrum a plm:ReferenceSpectrum ; dcterms:source my:field-day ;
    plm:atWavelengths "{" ".join(f"{x:g}" for x in X)}"^^plm:numberList ;
    plm:reflectances "{" ".join(f"{y:.5f}" for y in reflectance(X))}"^^plm:numberList .
my:field-day a plm:Source ; rdfs:label "field day in May"@en ; plm:reliability 0.8 .
"""
SENTENCE = "Harbour pigment shows its band at 1650 nm, at least 29.6 percent deep."
RULE = f"""
my:deep a plm:FeatureDepthRule , plm:Rule ; plm:hardness plm:Hard ; plm:scope my:pigment ;
    plm:onFeature my:band ; plm:low 0.296 ; plm:high 0.9 ; plm:sentence "{SENTENCE}"@en ; dcterms:source my:field-day .
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The releases, a cube with the pigment in it, and the same cube with a gap where its band lies."""
    root = tmp_path_factory.mktemp("walk")
    for name, turtle in (("material", MATERIAL), ("rule", MATERIAL + RULE)):
        (root / name).mkdir()
        for entry in palimpsest_ontologies.folder().iterdir():
            if entry.is_file():
                (root / name / entry.name).write_bytes(entry.read_bytes())
        (root / name / "mine.ttl").write_text(turtle)
    rng = np.random.default_rng(8)
    ground = 0.25 + 0.1 * (X - 400) / 2000
    share = np.zeros((12, 24))
    share[:, FAINT], share[:, FULL] = 0.4, 1.0
    light = rng.uniform(0.9, 1.1, share.shape)
    data = (ground[:, None, None] * (1 - share) + reflectance(X)[:, None, None] * share) * light
    data += rng.normal(0, 0.0008, data.shape)
    bands = BandTable(X.size, X, np.full(X.size, 10.0))
    cube = Cube(np.rint(data * 10000).astype(np.int16), bands, scale=1e-4, units="reflectance", name="harbour")
    write(cube, root / "harbour.hdr")
    stored, reasons = cube.data.copy(), np.zeros(cube.data.shape, np.uint8)
    stored[GAP], reasons[GAP] = 0, Reason.DEAD
    write(replace(cube, data=stored, reasons=reasons), root / "damaged.hdr")
    return root


RELEASES = ("packaged", "material", "rule")


def named(folder, release, capsys):
    where = release if release == "packaged" else str(folder / release)
    arguments = ["identify", str(folder / "harbour.hdr"), str(folder / f"{release}-labels.hdr"), "--knowledge", where]
    assert main([*arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    return answer, read(folder / f"{release}-labels.hdr").data[0]


def test_the_drafts_are_valid(folder, capsys):
    for release in RELEASES[1:]:
        assert main(["knowledge", "validate", str(folder / release)]) == 0
    capsys.readouterr()


def test_the_material_is_named_and_the_rule_withdraws_the_name_where_its_band_is_too_faint(folder, capsys):
    found = [named(folder, release, capsys) for release in RELEASES]
    assert "harbour pigment" not in json.dumps(found[0][0])
    assert "harbour pigment" in json.dumps(found[1][0])
    without, material, rule = (labels for _, labels in found)
    number = material[6, 12]
    assert (without != number)[:, FULL].all() or without.max() == 0
    assert (material[:, FAINT] == number).all()
    assert (material[:, FULL] == number).all()
    assert (rule[:, FAINT] != number).all()
    assert (rule[:, FULL] == number).mean() > 0.8
    assert (material[:, OTHER] != number).all()


def test_both_change_what_a_band_is_worth(folder):
    cube = read(folder / "harbour.hdr")
    weights = [
        importance_map(cube, load(None if release == "packaged" else folder / release), 1.0).weights()
        for release in RELEASES
    ]
    share = [float((w[GAP] ** 2).sum() / (w**2).sum()) for w in weights]
    assert share[1] > 1.5 * share[0]
    assert np.abs(weights[2] - weights[1]).max() > 0.05


def test_an_explanation_names_the_material_and_then_the_rule_in_its_own_words(folder, capsys):
    said = []
    for release in RELEASES:
        where = release if release == "packaged" else str(folder / release)
        why = str(folder / f"{release}.sqlite")
        assert main([
            "restore", str(folder / "damaged.hdr"), str(folder / f"{release}-restored.hdr"), "--knowledge", where,
            "--provenance", why,
        ]) == 0
        capsys.readouterr()
        assert main(["explain", why, "--pixel", "5,12", "--json"]) == 0
        said.append(json.loads(capsys.readouterr().out))
    text = [json.dumps(answer) for answer in said]
    assert ["example.org/my/pigment" in one for one in text] == [False, True, True]
    assert [SENTENCE in one for one in text] == [False, False, True]
    truth = read(folder / "harbour.hdr").data[GAP][:, :, FULL].astype(float)
    error = [
        np.sqrt(((read(folder / f"{release}-restored.hdr").data[GAP][:, :, FULL] - truth) ** 2).mean())
        for release in RELEASES
    ]
    assert error[1] < 0.5 * error[0]
    assert error[2] <= error[1] * 1.001


def test_a_draft_that_moved_is_named_by_hand_and_one_that_changed_is_refused(folder, tmp_path, capsys):
    draft, why = tmp_path / "draft", tmp_path / "why.sqlite"
    shutil.copytree(folder / "material", draft)
    assert main([
        "restore", str(folder / "damaged.hdr"), str(tmp_path / "out.hdr"), "--knowledge", str(draft),
        "--provenance", str(why),
    ]) == 0
    ask = ["explain", str(why), "--pixel", "5,12", "--input", str(folder / "damaged.hdr")]
    draft.rename(tmp_path / "elsewhere")
    capsys.readouterr()
    assert main(ask) == 3
    assert "--knowledge" in capsys.readouterr().err
    assert main([*ask, "--knowledge", str(tmp_path / "elsewhere")]) == 0
    assert main(["audit", "verify", str(why), "--recompute", "--knowledge", str(tmp_path / "elsewhere")]) == 0
    (tmp_path / "elsewhere" / "mine.ttl").write_text(MATERIAL.replace("harbour", "quay"))
    capsys.readouterr()
    assert main([*ask, "--knowledge", str(tmp_path / "elsewhere")]) == 3
    assert "changed since" in capsys.readouterr().err
