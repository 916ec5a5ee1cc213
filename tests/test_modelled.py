"""What radiative transfer makes of a scene's materials: where it speaks, whom it names, and that it serves."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from shared_data import SCENES, SHARED, needs_shared

from palimpsest.commands import main
from palimpsest.cubes import BandTable, Cube
from palimpsest.knowledge.releases.release import load
from palimpsest.radiative_transfer.leaf import LeafTraits, leaf_optics
from palimpsest.radiative_transfer.leaf_absorption import CONSTITUENTS, calibrated, parametric
from palimpsest.restoration.ledger.explain import explain_pixel
from palimpsest.restoration.library.modelled import CANOPY, GRAIN, PATHS, SHALLOW, WET, how_made, with_models
from palimpsest.restoration.library.semantic_mapper import library_for, narrowed, read_scene
from palimpsest.restoration.restorer import restore
from palimpsest.restoration.view import Axis
from palimpsest.scenes import degrade, make_scene

CENTRES = np.arange(420.0, 2400.0, 10.0)
AXIS = Axis.of(BandTable(count=CENTRES.size, centre_nm=CENTRES, fwhm_nm=np.full(CENTRES.size, 10.0)))
WHOLE = load(None)


def iris(*words):
    return [m.iri for m in WHOLE.materials if m.iri.rsplit("/", 1)[-1] in words]


def of_kind(library, how):
    return [row for row, material in enumerate(library.materials) if how_made(material) == how]


def test_the_calibrated_table_is_whole_and_near_the_parametric_one():
    table = calibrated()
    assert table.absorption.shape == (len(CONSTITUENTS), table.nm.size)
    assert (np.diff(table.nm) > 0).all()
    assert (table.absorption > 0).all()
    for name, own, begun in zip(CONSTITUENTS, table.at(CENTRES), parametric(CENTRES), strict=True):
        strong = begun > 0.1 * begun.max()
        assert np.abs(np.log(own[strong] / begun[strong])).max() < 1.5, name
    assert np.abs(np.log(table.at(CENTRES)[4] / parametric(CENTRES)[4])).max() < 0.5  # water is tabulated


def test_a_leaf_by_the_calibrated_table_is_a_leaf():
    reflected, passed = leaf_optics(CENTRES, LeafTraits(chlorophyll_ug_cm2=np.array([20.0, 60.0])), calibrated())
    assert (reflected + passed).max() <= 1
    assert reflected.min() > 0
    red, edge = reflected[:, CENTRES == 670], reflected[:, CENTRES == 720]
    assert (red < 0.15).all()
    assert edge[0] > edge[1] + 0.03  # more chlorophyll moves the edge to the red


def test_models_begin_with_what_was_found_and_nothing_else():
    library = library_for(AXIS, WHOLE)
    assert with_models(library, WHOLE, AXIS, []) is library
    green = with_models(library, WHOLE, AXIS, iris("maple-leaves"))
    assert len(of_kind(green, CANOPY)) == 300
    assert {how_made(material) for material in green.materials} == {"", CANOPY}
    wet = with_models(library, WHOLE, AXIS, iris("playa-surface"))
    assert (len(of_kind(wet, WET)), len(of_kind(wet, GRAIN)), len(of_kind(wet, CANOPY))) == (3, 2, 0)
    shallow = with_models(library, WHOLE, AXIS, iris("ocean-water"))
    assert of_kind(shallow, SHALLOW)
    for grown in (green, wet, shallow):
        assert np.isfinite(grown.spectra).all()
        assert grown.spectra.min() >= 0
        assert grown.spectra.max() <= 1
        assert grown.references.materials == library.materials
        assert {m.iri for m in grown.materials} == {m.iri for m in library.materials}


def test_a_wet_soil_is_darker_and_a_canopy_is_named_by_a_green_plant():
    library = library_for(AXIS, WHOLE)
    grown = with_models(library, WHOLE, AXIS, iris("playa-surface", "maple-leaves"))
    dry = library.spectra[[m.iri for m in library.materials].index(iris("playa-surface")[0])]
    for row in of_kind(grown, WET):
        assert (grown.spectra[row] < dry).mean() > 0.95
    for row in of_kind(grown, CANOPY):
        assert any(above.endswith("/green-vegetation") for above in grown.materials[row].broader)


def test_without_soils_or_wavelengths_there_is_no_canopy():
    library = library_for(AXIS, WHOLE)
    bare = replace(WHOLE, materials=tuple(
        m for m in WHOLE.materials if not any(above.endswith("/soil") for above in m.broader)
    ))
    assert not of_kind(with_models(library, bare, AXIS, iris("maple-leaves")), CANOPY)
    nameless = Axis.of(BandTable(count=CENTRES.size))
    assert with_models(library, WHOLE, nameless, iris("maple-leaves")) is library


def test_narrowing_keeps_a_model_apart_from_its_origin():
    library = library_for(AXIS, WHOLE)
    grown = with_models(library, WHOLE, AXIS, iris("playa-surface"))
    wet = of_kind(grown, WET)[1]
    means = np.repeat(grown.spectra[[wet]], 8, axis=0)
    reading = read_scene(grown, means, np.ones(CENTRES.size, bool), lit=False)
    kept = narrowed(grown, (reading,))
    assert any(how_made(m) == WET for m in kept.materials)
    assert len(kept.materials) < len(library.materials)


def test_a_canopy_that_no_library_holds_is_restored_better_with_models_and_its_sum_is_exact(monkeypatch):
    made = make_scene(20, 20, seed=11, kind="vegetation", sensor="enmap")
    whole = np.flatnonzero(made.observed.bands.good)
    cube = Cube(np.asarray(made.observed.data)[whole], made.observed.bands.select(whole))
    struck = degrade(cube, "wide:swir_1450_1800")
    truth = np.asarray(made.clean.data)[whole]

    def missed(done):
        return float(np.square((np.asarray(done.restored.data, float) - truth)[struck.damaged]).mean())

    done = restore(struck.cube, knowledge=WHOLE, mask=~struck.damaged)
    assert done.is_exact()
    named = {d.material for d in done.decisions if d.source == "library.modelled"}
    assert named
    labels = {m.iri: m.label for m in WHOLE.materials}
    assert all(any(one.startswith(labels[iri]) for one in done.report["modelled"]) for iri in named)
    assert named <= {m.iri for m in WHOLE.materials}
    given = [one for band in explain_pixel(done, 10, 10) for one in band["contributions"]]
    told = [one for one in given if one["source"] == "library.modelled"]
    assert told
    assert all("radiative transfer" in c["sentence"] and c["material"] in named for c in told)
    assert all(0 <= c["confidence"] <= 1 for c in told)
    monkeypatch.setattr("palimpsest.restoration.study.study.with_models", lambda library, *_: library)
    assert missed(done) < 0.7 * missed(restore(struck.cube, knowledge=WHOLE, mask=~struck.damaged))


def test_leaves_are_not_calibrated_on_nothing(tmp_path, capsys):
    assert main(["train", "leaves", "--out", str(tmp_path)]) == 2
    assert "--libraries" in capsys.readouterr().err
    assert main(["train", "leaves", "--libraries", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_what_has_no_grain_is_not_said_to_have_one():
    library = library_for(AXIS, WHOLE)
    grown = with_models(library, WHOLE, AXIS, iris("water", "vegetation_green", "calcite"))
    said = {(m.label, how_made(m)) for m in grown.materials if how_made(m)}
    assert {("water", PATHS), ("vegetation_green", PATHS), ("calcite", GRAIN)} <= said
    assert ("water", GRAIN) not in said


@needs_shared
def test_the_packaged_table_is_what_the_pipeline_learns(tmp_path, capsys):
    assert SCENES.is_dir()
    libraries = SHARED / "data" / "spectral_libraries"
    assert main(["train", "leaves", "--libraries", str(libraries), "--out", str(tmp_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["records"] == 46
    assert answer["left_over"] == pytest.approx(0.0138, abs=5e-4)
    learnt = np.loadtxt(tmp_path / "leaf_coefficients.csv", delimiter=",", skiprows=1)
    table = calibrated()
    assert np.abs(np.log(learnt[:, 1:].T / table.absorption)).mean() < 0.02
