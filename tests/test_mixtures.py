"""What a pixel is made of: mixtures, the unknown, how sure, and materials that are known by words alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import palimpsest_ontologies
from palimpsest.commands import main
from palimpsest.cubes import BandTable, Cube
from palimpsest.errors import CubeRefused, FormatError, MissingWavelengths
from palimpsest.formats import read, write
from palimpsest.knowledge.identification.identify import identify
from palimpsest.knowledge.identification.mixtures import compose
from palimpsest.knowledge.identification.probability import Calibration, fitted, reliability
from palimpsest.knowledge.releases.release import load
from palimpsest.spectra import resample
from palimpsest_pipelines.calibration.identification import JUDGED_ON, TAUGHT_BY, judge

CENTRE = np.arange(430.0, 2440.0, 9.5)
BANDS = BandTable(CENTRE.size, CENTRE, np.full(CENTRE.size, 9.5))
DESCRIBED = """
@prefix dcterms: <http://purl.org/dc/terms/> .
@prefix group: <https://w3id.org/palimpsest/material-group/> .
@prefix my: <https://example.org/my/> .
@prefix plm: <https://w3id.org/palimpsest/vocabulary#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix src: <https://w3id.org/palimpsest/source/> .

my:unseen a plm:Material , skos:Concept ; skos:prefLabel "unseen ore"@en ; skos:broader group:mineral ;
    plm:diagnosticFeature my:unseen-band ; dcterms:source src:practice .
my:unseen-band a plm:DiagnosticFeature ; plm:ordinal 1 ; plm:weight 1.0 ;
    plm:centreWavelength 1655 ; plm:fullWidth 45 ; plm:typicalDepth 0.15 ;
    plm:leftContinuumFrom 1560 ; plm:leftContinuumTo 1580 ; plm:rightContinuumFrom 1730 ; plm:rightContinuumTo 1750 ;
    dcterms:source src:practice .
"""


@pytest.fixture(scope="module")
def knowledge():
    return load("packaged")


def spectrum(knowledge, name):
    seen = resample(named(knowledge, name).spectrum, knowledge.grid_nm, CENTRE, BANDS.fwhm_nm)
    return np.interp(CENTRE, CENTRE[np.isfinite(seen)], seen[np.isfinite(seen)])


def named(knowledge, name):
    return next(one for one in knowledge.materials if one.iri.endswith(f"/{name}"))


def cube_of(reflectance, noise=0.0005):
    """Columns of one spectrum each, with noise."""
    rng = np.random.default_rng(5)
    data = np.repeat(np.repeat(np.stack(reflectance, 1)[:, None], 12, 1), 10, 2)
    data = data * (1 + 0.03 * rng.standard_normal(data.shape[1:])) + noise * rng.standard_normal(data.shape)
    return Cube(np.rint(1e4 * data).astype(np.int16), BANDS, scale=1e-4, units="reflectance", name="mixed")


@pytest.fixture(scope="module")
def mixed(knowledge):
    first, second = spectrum(knowledge, "goethite"), spectrum(knowledge, "calcite")
    flat = np.full(CENTRE.size, 0.3)
    strange = flat * (1 - 0.5 * np.exp(-0.5 * ((CENTRE - 1250) / 25) ** 2)
                      - 0.4 * np.exp(-0.5 * ((CENTRE - 820) / 15) ** 2))
    return cube_of([first, 0.6 * first + 0.4 * second, strange])


def test_two_materials_are_named_with_their_shares(knowledge, mixed):
    found = compose(mixed, knowledge)
    names = np.array(found.names[0])[found.materials]
    pair = names[:2, :, 10:20]
    assert (np.isin(pair[0], ["goethite"]) & np.isin(pair[1], ["calcite", "calcite_abundant"])).mean() > 0.9
    assert np.abs(found.shares[0, :, 10:20] - 0.6).mean() < 0.05
    total = found.shares.sum(axis=0)
    assert np.allclose(total[found.materials[0] > 0], 1, atol=1e-5)


def test_evidence_does_not_name_a_second_material_where_there_is_one(knowledge, mixed):
    found = compose(mixed, knowledge)
    assert (found.materials[1, :, :10] == 0).mean() > 0.9
    assert (np.array(found.names[0])[found.materials[0, :, :10]] == "goethite").all()


def test_what_no_mixture_explains_is_unknown_with_the_reason(knowledge, mixed):
    found = compose(mixed, knowledge)
    assert found.is_unknown[:, 20:].all()
    assert not found.is_unknown[:, :20].any()
    said = found.sentence(3, 25)
    assert said.startswith("Unknown: no mixture")
    assert min(abs(found.farthest_nm[3, 25] - at) for at in (820, 1250)) < 80
    assert f"{found.farthest_nm[3, 25]:.0f} nm" in said
    assert "unknown" in found.counts()


def test_a_sentence_names_the_finest_level_that_is_likely(knowledge, mixed):
    found = compose(mixed, knowledge)
    sure = found.probability[:, 0, 2, 2]
    assert (np.diff(sure) >= 0).all()
    name = found.names[int(np.argmax(sure >= 0.5))][found.materials[0, 2, 2]]
    assert found.sentence(2, 2).startswith(name)
    with pytest.raises(CubeRefused, match="no such pixel"):
        found.sentence(99, 0)


def test_lost_bands_are_bridged_and_pixels_without_bands_are_left_out(knowledge, mixed):
    reasons = np.zeros(mixed.data.shape, np.uint8)
    reasons[20, :, :5], reasons[:, 0, 0] = 4, 1
    found = compose(replace(mixed, reasons=reasons), knowledge)
    assert np.isnan(found.misfit[0, 0])
    assert "Too few" in found.sentence(0, 0)
    assert (np.array(found.names[0])[found.materials[0, 1:, :5]] == "goethite").all()


def test_too_few_bands_and_no_wavelengths_are_refused(knowledge, mixed):
    with pytest.raises(CubeRefused, match="too few bands"):
        compose(replace(mixed, data=mixed.data[:9], bands=BANDS.select(np.arange(9))), knowledge)
    with pytest.raises(MissingWavelengths):
        compose(Cube(mixed.data, BandTable(CENTRE.size)), knowledge)
    with pytest.raises(CubeRefused, match="no material"):
        compose(mixed, replace(knowledge, materials=()))


def test_probabilities_bear_out_on_made_scenes_that_taught_nothing(knowledge):
    assert not {seed for *_, seed in TAUGHT_BY} & {seed for *_, seed in JUDGED_ON}
    places = (("mixed", "hymap", 777_001), ("urban", "enmap", 777_002), ("geology", "aviris", 777_003))
    found = judge(Calibration.packaged(), knowledge, places, 24)
    assert found.presence[2].error < 0.2
    assert found.called_unknown < 0.2
    told = found.to_dict()
    assert told["calibration error, kind"] == pytest.approx(found.presence[2].error, abs=1e-3)


def test_a_regression_finds_the_odds_it_was_drawn_with():
    rng = np.random.default_rng(2)
    rows = np.stack([np.ones(20000), rng.standard_normal(20000)], 1)
    right = rng.random(20000) < 1 / (1 + np.exp(-(0.5 + 1.5 * rows[:, 1])))
    assert fitted(rows, right) == pytest.approx((0.5, 1.5), abs=0.08)


def test_the_calibration_error_is_the_distance_of_word_and_deed():
    told = reliability(np.repeat([0.9, 0.3], 100), np.repeat([True, False, True, False], [50, 50, 30, 70]))
    assert told.error == pytest.approx(0.2)
    with pytest.raises(FormatError, match="calibration"):
        Calibration.read('{"of_name": 3}')


def test_a_material_known_by_words_alone_is_found(tmp_path):
    for entry in palimpsest_ontologies.folder().iterdir():
        if entry.is_file():
            (tmp_path / entry.name).write_bytes(entry.read_bytes())
    (tmp_path / "described.ttl").write_text(DESCRIBED)
    release = load(tmp_path)
    flat = np.full(CENTRE.size, 0.35) * (1 + 1e-4 * (CENTRE - 1400))

    def with_band(at, width, depth):
        return flat * (1 - depth * np.exp(-0.5 * ((CENTRE - at) / (width / 2.355)) ** 2))

    cube = cube_of([flat, with_band(1655, 45, 0.08), with_band(1620, 20, 0.08)])
    label = identify(cube, release).labels
    number = next(n for n, one in enumerate(release.materials, 1) if one.label == "unseen ore")
    assert (label[:, 10:20] == number).mean() > 0.95
    assert not (label[:, :10] == number).any()
    assert not (label[:, 20:] == number).any()
    assert release.material("https://example.org/my/unseen").constraints["fit"].low == 0.7


def test_the_command_line_says_mixtures_probabilities_and_one_pixel(tmp_path, mixed, capsys):
    write(mixed, tmp_path / "c.hdr")
    arguments = ["identify", str(tmp_path / "c.hdr"), str(tmp_path / "m.hdr"), "--knowledge", "packaged"]
    assert main([*arguments, "--mixtures", "--pixel", "3,25"]) == 0
    assert "Unknown: no mixture" in capsys.readouterr().out
    raster = read(tmp_path / "m.hdr")
    assert raster.shape.bands == 10
    assert raster.data[9, 0, 25] == 1
    assert main([*arguments[:2], str(tmp_path / "p.hdr"), *arguments[3:], "--probability", "--json"]) == 0
    assert '"probability"' in capsys.readouterr().out
    assert read(tmp_path / "p.hdr").data[1].max() <= 100
    assert main([*arguments, "--pixel", "1,1"]) == 2
