"""The importance map: where a decision hangs, nowhere else; uniform where nothing is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from palimpsest.cubes import BandTable, Cube
from palimpsest.errors import UsageError
from palimpsest.knowledge.identification.identify import identify
from palimpsest.knowledge.identification.importance import LARGEST_PALETTE, importance_map
from palimpsest.knowledge.releases.release import load
from palimpsest.spectra import resample


@pytest.fixture(scope="module")
def knowledge():
    return load()


@pytest.fixture(scope="module")
def scene(knowledge):
    """Left half calcite, right half green vegetation, with noise; 16 x 24 pixels."""
    centre = np.arange(400.3, 2480, 10)
    bands = BandTable(centre.size, centre, np.full(centre.size, 10.0))
    chosen = [next(m for m in knowledge.materials if m.extra.get("notation") == name)
              for name in ("calcite", "vegetation_green")]
    seen = resample(np.stack([m.spectrum for m in chosen]), knowledge.grid_nm, centre, bands.fwhm_nm)
    which = np.repeat(np.arange(2), 12)[None].repeat(16, axis=0)
    rng = np.random.default_rng(4)
    data = seen[which].transpose(2, 0, 1) * rng.uniform(0.6, 1.0, (16, 24)) * rng.normal(1, 0.01, (centre.size, 16, 24))
    return Cube(np.rint(data * 10000).astype(np.int16), bands, scale=1e-4, units="reflectance", name="halves")


def test_bands_of_a_pixels_features_weigh_more_than_the_rest(scene, knowledge):
    found = importance_map(scene, knowledge, 1.0)
    weights, labels, centre = found.weights(), identify(scene, knowledge).labels, scene.bands.centre_nm
    for label in np.unique(labels[:, :12]):
        if not label:
            continue
        feature = max(knowledge.materials[label - 1].features, key=lambda one: one.weight)
        inside = (centre >= feature.left_nm[0]) & (centre <= feature.right_nm[1])
        mine = weights[:, labels == label].mean(axis=1)
        assert mine[inside].mean() > 2 * mine[~inside].mean()
    assert len(np.unique(found.index)) > 1, "stone and leaf do not hang on the same bands"


def test_the_map_is_cheap_to_send_and_cites_its_release(scene, knowledge):
    found = importance_map(scene, knowledge, 0.5)
    assert len(found.profiles) <= LARGEST_PALETTE
    np.testing.assert_allclose((found.profiles**2).mean(axis=1), 1.0)
    assert found.release == knowledge.release
    assert found.note


def test_strength_goes_from_nothing_to_all(scene, knowledge):
    assert importance_map(scene, knowledge, 0.0).is_uniform
    spread = [np.log(importance_map(scene, knowledge, s).profiles).std() for s in (0.25, 0.5, 1.0)]
    assert spread[0] < spread[1] < spread[2]
    with pytest.raises(UsageError, match="strength"):
        importance_map(scene, knowledge, 1.5)


def test_without_wavelengths_or_units_the_map_is_uniform_and_says_so(scene, knowledge):
    blind = importance_map(replace(scene, bands=BandTable(scene.bands.count)), knowledge, 0.5)
    assert blind.is_uniform
    assert "wavelengths" in blind.note
    unknown = importance_map(replace(scene, scale=1.0, units=""), knowledge, 0.5)
    assert unknown.is_uniform
    assert "reflectance" in unknown.note
    assert importance_map(replace(scene, units="uW/cm^2/sr/nm"), knowledge, 0.5).is_uniform, "radiance is none"


def test_opaque_windows_and_experts_priorities_count(scene, knowledge):
    centre = scene.bands.centre_nm
    opaque = (centre > 1810) & (centre < 1930)
    found = importance_map(scene, knowledge, 1.0)
    clear = np.median(found.profiles[:, ~opaque], axis=1, keepdims=True)
    assert (found.profiles[:, opaque] < 0.5 * clear).all()
    wanted = (centre > 1500) & (centre < 1700)
    asked = importance_map(scene, replace(knowledge, priorities=((1500.0, 1700.0, 4.0),)), 1.0)
    ratio = asked.profiles / found.profiles
    assert ratio[:, wanted].mean() > 2 * ratio[:, ~wanted].mean()


def test_the_metric_is_positive_and_knows_directions_that_cost_nothing(scene, knowledge):
    found = importance_map(scene, knowledge, 0.5)
    values = np.linalg.eigvalsh(found.metric)
    assert values.min() > 0
    assert np.isclose(np.trace(found.metric), scene.bands.count)
    assert values[-1] > 2 * np.diag(found.metric).max(), "features are shapes, not bands"
    assert (np.diag(found.metric) > 0.99 * found.floor).all()
    assert importance_map(scene, knowledge, 0.0).metric is None


def test_nodata_and_single_pixels_have_positive_finite_weights(scene, knowledge):
    data = scene.data.copy()
    data[:, 0, 0] = -9999
    for cube in (replace(scene, data=data, nodata=-9999.0), replace(scene, data=scene.data[:, :1, :1])):
        weights = importance_map(cube, knowledge, 0.5).weights()
        assert np.isfinite(weights).all()
        assert (weights > 0).all()


def test_a_material_added_to_the_release_changes_the_map(scene, knowledge):
    source = next(m for m in knowledge.materials if m.extra.get("notation") == "vegetation_green")
    added = replace(
        source, iri="https://example.org/new", label="new", constraints={}, not_features=(), extra={"rank": -1},
        features=tuple(replace(feature, weight=1.01 * feature.weight, constraints={}) for feature in source.features),
    )
    more = replace(knowledge, materials=(*knowledge.materials, added))
    taken = identify(scene, more).labels == len(more.materials)
    assert taken.any()
    before, after = (importance_map(scene, base, 1.0).weights() for base in (knowledge, more))
    assert not np.allclose(before[:, taken], after[:, taken])


def test_a_large_cube_is_looked_at_on_a_grid_and_covered_whole(scene, knowledge, monkeypatch):
    from palimpsest.knowledge.identification import importance

    monkeypatch.setattr(importance, "PIXELS_LOOKED_AT", 100)
    odd = replace(scene, data=scene.data[:, :15, :23])
    found = importance.importance_map(odd, knowledge, 1.0)
    assert found.index.shape == found.gain.shape == (15, 23)
    np.testing.assert_array_equal(found.gain[0, 0], found.gain[1, 1])
    assert not found.is_uniform


def test_gradients_foretell_what_a_small_change_does_to_a_decision(scene, knowledge):
    from palimpsest.knowledge.identification.gates import decide
    from palimpsest.knowledge.identification.gradients import decision_gradients, depth_gradients
    from palimpsest.knowledge.identification.margins import OVERTAKING, flip_noise
    from palimpsest.knowledge.identification.reading import Reading

    how = Reading.of(scene, knowledge)
    _, spectra = next(how.blocks(scene))
    measured = how.rules.measure(spectra)
    decision = decide(how.rules, spectra, measured)
    flip = flip_noise(how.rules, measured, decision)
    step = np.random.default_rng(6).normal(0, 1e-6, spectra.shape)
    after = decide(how.rules, spectra + step, how.rules.measure(spectra + step))
    rows = np.flatnonzero((flip.gate == OVERTAKING) & (decision.winner >= 0) & (flip.rival != decision.winner))
    assert rows.size > 20

    def lead(candidates):
        fits = np.stack([one.fit for one in candidates])
        return fits[flip.rival[rows], rows] - fits[decision.winner[rows], rows]

    moved = lead(after.candidates) - lead(decision.candidates)
    told = (decision_gradients(how.rules, spectra, measured, decision, flip)[rows] * step[rows]).sum(axis=1)
    assert np.corrcoef(moved, told)[0, 1] > 0.999
    named = np.flatnonzero(decision.winner >= 0)
    depths = [np.log(np.stack([one.fit_depth for one in d.candidates])[decision.winner[named], named])
              for d in (decision, after)]
    told = (depth_gradients(how.rules, spectra, measured, decision.winner)[named] * step[named]).sum(axis=1)
    assert np.corrcoef(depths[1] - depths[0], told)[0, 1] > 0.999


@pytest.mark.parametrize("bands", [1, 3, 8, 30])
def test_a_coarse_sensor_that_shows_some_windows_and_no_reference_in_them_is_weighed_all_the_same(bands):
    centre = np.linspace(420, 2400, 30)[:bands]
    data = np.random.default_rng(4).integers(2000, 3000, (bands, 6, 7)).astype(np.int16)
    cube = Cube(data, BandTable(bands, centre, np.full(bands, 10.0)), scale=1e-4, units="reflectance")
    weights = importance_map(cube, load("packaged"), 1.0).weights()
    assert np.isfinite(weights).all()
    assert identify(cube, load("packaged")).labels.shape == (6, 7)
