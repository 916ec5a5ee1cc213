"""A material and its feature written as Turtle into a copy of the ontology: no training, and everything follows."""

from __future__ import annotations

import numpy as np
import pytest

import palimpsest_ontologies
from palimpsest.cubes import BandTable, Cube
from palimpsest.knowledge.identification.identify import identify
from palimpsest.knowledge.identification.importance import importance_map
from palimpsest.knowledge.releases.release import load
from palimpsest.spectra import resample

ADDED = """
@prefix dcterms: <http://purl.org/dc/terms/> .
@prefix feat: <https://w3id.org/palimpsest/feature/> .
@prefix group: <https://w3id.org/palimpsest/material-group/> .
@prefix mat: <https://w3id.org/palimpsest/material/> .
@prefix plm: <https://w3id.org/palimpsest/vocabulary#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix spec: <https://w3id.org/palimpsest/spectrum/> .
@prefix src: <https://w3id.org/palimpsest/source/> .

mat:weak-carbonate
    a plm:Material , skos:Concept ;
    skos:prefLabel "weak carbonate"@en ;
    skos:inScheme plm:materials ;
    skos:broader group:carbonate ;
    plm:referenceSpectrum spec:calcite ;
    plm:diagnosticFeature feat:weak-carbonate.1 ;
    plm:minimumFit 0.5 ;
    dcterms:source src:mica .

feat:weak-carbonate.1
    a plm:DiagnosticFeature ;
    plm:ordinal 1 ;
    plm:weight 1.0 ;
    plm:leftContinuumFrom 2178.0 ;
    plm:leftContinuumTo 2208.0 ;
    plm:rightContinuumFrom 2377.0 ;
    plm:rightContinuumTo 2406.0 ;
    dcterms:source src:mica .
"""


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ontologies")
    for entry in palimpsest_ontologies.folder().iterdir():
        if entry.is_file():
            (folder / entry.name).write_bytes(entry.read_bytes())
    (folder / "added.ttl").write_text(ADDED)
    return load("packaged"), load(folder)


@pytest.fixture(scope="module")
def scene(releases):
    """Calcite so diluted with a grey ground that the rule base's own gates do not name it, and plain grey ground."""
    packaged, _ = releases
    centre = np.arange(400.3, 2480, 10)
    bands = BandTable(centre.size, centre, np.full(centre.size, 10.0))
    calcite = next(m for m in packaged.materials if m.extra.get("notation") == "calcite")
    seen = resample(calcite.spectrum, packaged.grid_nm, centre, bands.fwhm_nm)
    share = np.zeros((12, 16))
    share[:, :8] = 0.03
    rng = np.random.default_rng(12)
    data = 0.35 + share * (seen[:, None, None] - 0.35) + rng.normal(0, 0.0004, (centre.size, 12, 16))
    return Cube(np.rint(data * 10000).astype(np.int16), bands, scale=1e-4, units="reflectance", name="diluted")


def test_it_is_named_where_it_lies_and_the_release_says_so(releases, scene):
    before, after = (identify(scene, knowledge) for knowledge in releases)
    assert "weak carbonate" not in before.names
    named = after.labels == after.names.index("weak carbonate")
    assert named[:, :8].mean() > 0.5
    assert named[:, 8:].mean() < 0.1
    assert before.release != after.release


def test_bits_go_where_it_hangs(releases, scene):
    before, after = (importance_map(scene, knowledge, 1.0) for knowledge in releases)
    centre = scene.bands.centre_nm
    band = (centre >= 2178) & (centre <= 2406)

    def share(found):
        squares = found.weights()[:, :, :8].astype(float) ** 2
        return squares[band].sum() / squares.sum()

    assert share(after) > share(before)
    assert after.release != before.release
