"""Foreign vocabularies and libraries mapped onto a release: by name, spectrum and features; a person accepts."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyoxigraph
import pytest
from served import client_of
from shared_data import SHARED, needs_shared

from palimpsest.commands import main
from palimpsest.errors import FormatError, KnowledgeError
from palimpsest.formats.spectral_library import read_spectra
from palimpsest.knowledge.alignment.alignment import accepted, align, measured_concept, named_concepts, table
from palimpsest.knowledge.identification.probability import Calibration, reliability, sure
from palimpsest.knowledge.releases.contents import packaged
from palimpsest.knowledge.releases.facts import Facts
from palimpsest.knowledge.releases.release import load
from palimpsest_api.main import create_app
from palimpsest_api.settings import Settings
from palimpsest_pipelines.calibration.alignment import judged, pairs

VOCABULARY = """
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix their: <https://their.example/> .
their:c1 a skos:Concept ; skos:prefLabel "Calcite"@en , "Calcit"@de .
their:c2 a skos:Concept ; skos:prefLabel "Green Vegetations"@en ; skos:altLabel "living plants"@en .
their:c3 a skos:Concept ; skos:prefLabel "helicopter"@en .
"""


@pytest.fixture(scope="module")
def release():
    return load("packaged"), Facts(packaged().triples())


def measured(release, name, gain=0.6, noise=0.004):
    """A material as another laboratory would have measured it: darker, redder, with noise, every 5 nm."""
    knowledge, _ = release
    material = next(one for one in knowledge.materials if one.iri.endswith(f"/{name}"))
    at = np.arange(450.0, 2450.0, 5)
    known = np.isfinite(material.spectrum)
    values = np.interp(at, knowledge.grid_nm[known], material.spectrum[known])
    rng = np.random.default_rng(8)
    return at, gain * values * (1 + 1e-4 * (at - 1400)) + noise * rng.standard_normal(at.size)


def test_concepts_are_mapped_by_name(release):
    found = align(named_concepts(VOCABULARY.encode(), "their.ttl"), *release, candidates=1)
    by = {one.foreign.iri.rsplit("/", 1)[-1]: one for one in found}
    assert by["c1"].iri.endswith("material/calcite")
    assert by["c1"].predicate == "skos:closeMatch", "a name alone is right in four of five cases"
    assert 0.6 < by["c1"].confidence < 0.9
    assert by["c2"].iri.endswith(("green-vegetation", "vegetation_green"))
    assert "c3" not in by or by["c3"].predicate == ""


def test_spectra_without_a_name_are_mapped_by_shape_and_features(release):
    right = 0
    for name in ("calcite", "goethite", "blue-spruce", "hematite", "concrete-road", "dolomite"):
        concept = measured_concept("sample 17", *measured(release, name), "https://lab.example/x")
        best = align([concept], *release, candidates=3)
        right += any(one.iri.endswith(f"/{name}") for one in best)
        assert best[0].confidence < 0.9, "a spectrum alone is never certain"
    assert right >= 5


def test_a_spectrum_that_contradicts_its_name_costs_confidence(release):
    at, values = measured(release, "blue-spruce")
    honest = measured_concept("calcite", *measured(release, "calcite"), "https://lab.example/x")
    lying = measured_concept("calcite", at, values, "https://lab.example/x")
    sure, doubted = ({one.iri.rsplit("/", 1)[-1]: one.confidence for one in align([each], *release, candidates=50)}
                     for each in (honest, lying))
    assert sure["calcite"] > 0.9
    assert doubted["calcite"] < 0.6


def test_only_accepted_lines_become_mappings(release):
    text = table(align(named_concepts(VOCABULARY.encode(), "their.ttl"), *release))
    lines = text.splitlines()
    answers = [line + {1: "exact", 2: "yes"}.get(number, "no") if number else line for number, line in enumerate(lines)]
    turtle, count = accepted("\n".join(answers), "Ada\nevil:x evil:y evil:z .")
    assert count == 2
    found = list(pyoxigraph.parse(turtle.encode(), format=pyoxigraph.RdfFormat.TURTLE))
    assert len(found) == 2
    assert {quad.predicate.value.rsplit("#", 1)[-1] for quad in found} == {"exactMatch", "closeMatch"}
    assert all("their.example" in quad.object.value for quad in found)
    for wrong in ("a\tb\n", text.replace("\t\n", "\tperhaps\n"), text.replace("https://their.example/c1", "a> <b")):
        with pytest.raises(KnowledgeError):
            accepted(wrong.replace("\t\n", "\tyes\n"), "Ada")


def test_libraries_are_read_in_three_layouts(tmp_path, release):
    at, values = measured(release, "calcite")
    rows = np.stack([values, values[::-1]])
    (tmp_path / "lib.sli").write_bytes(rows.astype("<f4").tobytes())
    (tmp_path / "lib.hdr").write_text(
        f"ENVI\nsamples = {at.size}\nlines = 2\nbands = 1\nheader offset = 0\nfile type = ENVI Spectral Library\n"
        "data type = 4\ninterleave = bsq\nbyte order = 0\nwavelength units = Nanometers\n"
        "spectra names = {white rock, other}\nwavelength = {" + ", ".join(f"{one:g}" for one in at) + "}\n"
    )
    rows = "\n".join(f"{a},{b}" for a, b in zip(at, values, strict=True))
    (tmp_path / "lib.csv").write_text("nm,white rock\n" + rows)
    down = zip(at[::-1] / 1000, 100 * values[::-1], strict=True)
    (tmp_path / "lib.txt").write_text(
        "Name: white rock\nType: mineral\nX Units: Wavelength (micrometers)\nY Units: Reflectance (percent)\n\n"
        + "\n".join(f"{a:.4f}\t{b:.5f}" for a, b in down)
    )
    for name in ("lib.sli", "lib.hdr", "lib.csv", "lib.txt"):
        first = read_spectra(tmp_path / name)[0]
        assert first.name == "white rock"
        np.testing.assert_allclose(first.wavelengths_nm, at, atol=0.2)
        np.testing.assert_allclose(first.values, values, atol=1e-4)
    for name, text in (("a.csv", "x\n1\n"), ("b.txt", "hello"), ("c.csv", "nm,a\n1,b\n2,c\n"), ("d.hdr", "ENVI\n")):
        (tmp_path / name).write_text(text)
        with pytest.raises(FormatError):
            read_spectra(tmp_path / name)


def test_the_command_line_aligns_and_accepts(tmp_path, capsys):
    (tmp_path / "their.ttl").write_text(VOCABULARY)
    assert main(["knowledge", "align", str(tmp_path / "their.ttl"), str(tmp_path / "t.tsv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["close"] >= 1
    text = (tmp_path / "t.tsv").read_text()
    (tmp_path / "t.tsv").write_text(text.replace("\t\n", "\texact\n", 1))
    assert main(["knowledge", "accept", str(tmp_path / "t.tsv"), str(tmp_path / "m.ttl"), "--reviewer", "Ada"]) == 0
    assert "skos:exactMatch <https://their.example/c1>" in (tmp_path / "m.ttl").read_text()
    (tmp_path / "bad.ttl").write_text("no turtle")
    assert main(["knowledge", "align", str(tmp_path / "bad.ttl"), str(tmp_path / "x.tsv")]) == 3


def test_the_interface_aligns(tmp_path, release):
    at, values = measured(release, "goethite")
    concept = {"iri": "https://their.example/g", "labels": ["Goethite"], "wavelengths_nm": at.tolist(),
               "reflectance": values.tolist()}
    with client_of(create_app(Settings(home=tmp_path / "home"))) as client:
        told = client.post("/v1/releases/packaged/alignment", json={"concepts": [concept]})
        assert told.json()["mappings"][0]["object"].endswith("/goethite")
        concept["reflectance"] = [1.0]
        assert client.post("/v1/releases/packaged/alignment", json={"concepts": [concept]}).status_code >= 400


def test_confidences_are_as_often_right_as_they_say(release):
    knowledge, facts = release
    few = replace(knowledge, materials=knowledge.materials[::4])
    found = pairs(few, facts, seeds=(90, 91, 92))
    stated = sure(Calibration.packaged().of_pair, found.rows)
    assert reliability(stated, found.is_right).error < 0.08
    surest = stated >= 0.9
    assert surest.sum() > 10
    assert found.is_right[surest].mean() > 0.85
    told = judged(found).to_dict()
    assert 0 <= told["calibration error, mappings"] < 0.12


@needs_shared
def test_a_field_library_is_mapped_onto_its_kinds(release):
    spectra = read_spectra(SHARED / "data" / "gamsberg" / "gamsberg_field_library.hdr")
    found = align(
        [measured_concept(one.name, one.wavelengths_nm, one.values, "https://gamsberg.example") for one in spectra],
        *release, candidates=1,
    )
    plants = [one for one in found if "veg" in one.foreign.labels[0]]
    assert len(plants) >= 4
    assert all(one.label.startswith(("dry", "vegetation", "sage", "grass")) for one in plants)
