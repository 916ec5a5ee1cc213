"""Identification by the expert rules, with cramm as outside judge, and the judge of the closed loop."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from expert_rules import agreement, cramm_names, our_names
from shared_data import SCENES, needs_shared

from palimpsest import formats
from palimpsest.commands import main
from palimpsest.cubes import BandTable, Cube
from palimpsest.errors import CubeRefused, MissingWavelengths
from palimpsest.knowledge.identification import reading
from palimpsest.knowledge.identification.identify import identify
from palimpsest.knowledge.identification.judge import ReleaseJudge
from palimpsest.knowledge.releases.release import load
from palimpsest.knowledge.rules import Material
from palimpsest.spectra import resample

RNG = np.random.default_rng(20261121)


@pytest.fixture(scope="module")
def knowledge():
    return load()


def sensor(step=9.0):
    """Two detectors that overlap, in stored order: centres are not monotonic."""
    centre = np.concatenate([np.arange(370.0, 1010, step), np.arange(990.0, 2486, step)])
    return BandTable(centre.size, centre, np.full(centre.size, step + 1))


@pytest.fixture(scope="module")
def scene(knowledge):
    """Reference spectra, pure and mixed in pairs, with shade and noise: 40 x 60 pixels, int16 reflectance x 10000."""
    bands = sensor()
    pure = np.stack([m.spectrum for m in knowledge.materials if m.features and m.spectrum is not None])
    seen = np.nan_to_num(resample(pure, knowledge.grid_nm, bands.centre_nm, bands.fwhm_nm), nan=0.05)
    n = 2400
    first, second = RNG.integers(0, len(seen), (2, n))
    share = np.where(np.arange(n) < 800, 1.0, RNG.uniform(0.3, 1.0, n))[:, None]
    spectra = (share * seen[first] + (1 - share) * seen[second]) * RNG.uniform(0.3, 1.2, (n, 1))
    spectra += RNG.normal(0, 0.001, spectra.shape)
    data = np.rint(spectra.T.reshape(bands.count, 40, 60) * 10000).astype(np.int16)
    return Cube(data, bands, scale=1e-4, units="reflectance", name="made")


@pytest.fixture(scope="module")
def found(scene, knowledge):
    return identify(scene, knowledge, margins=True)


def test_a_made_scene_is_named_as_the_outside_judge_names_it(scene, knowledge, found):
    theirs = cramm_names(scene)
    assert len(set(theirs.ravel())) > 40, "the scene must put many rules to work"
    assert agreement(our_names(found, knowledge), theirs) >= 0.999


@needs_shared
@pytest.mark.parametrize("name", ["gatorsense", "enmap_crop"])
def test_a_real_scene_is_named_as_the_outside_judge_names_it(name, knowledge):
    cube = formats.read(SCENES / f"{name}.hdr")
    assert agreement(our_names(identify(cube, knowledge), knowledge), cramm_names(cube)) >= 0.999


def test_the_order_in_which_bands_are_stored_does_not_matter(scene, knowledge, found):
    order = RNG.permutation(scene.bands.count)
    shuffled = replace(scene, data=scene.data[order], bands=scene.bands.select(order))
    # equal centres keep their stored order, so only they may change places in a sum
    assert (identify(shuffled, knowledge).labels == found.labels).mean() > 0.9999


def test_labels_do_not_depend_on_which_pixels_are_judged_together(scene, knowledge, found, monkeypatch):
    judge = ReleaseJudge(knowledge)
    spectra = scene.data.reshape(scene.bands.count, -1).T
    some = RNG.permutation(len(spectra))[:333]
    np.testing.assert_array_equal(judge.labels_of(spectra[some], scene), found.labels.ravel()[some])
    np.testing.assert_array_equal(judge.labels_of(spectra[7:8], scene), found.labels.ravel()[7:8])
    monkeypatch.setattr(reading, "BLOCK_PIXELS", 130)
    alone = identify(scene, knowledge)
    np.testing.assert_array_equal(alone.labels, found.labels)
    np.testing.assert_array_equal(alone.fit, found.fit)


def test_margins_foretell_which_labels_noise_will_flip(scene, knowledge, found):
    noise = 0.003
    rng = np.random.default_rng(20261123)  # its own: tests that run before must not change what is drawn
    shaken = [scene.data * (1 + noise * rng.normal(size=scene.data.shape)) for _ in range(8)]
    flipped = np.mean([identify(replace(scene, data=data), knowledge).labels != found.labels for data in shaken], 0)
    near, far = found.margin < 0.3 * noise, found.margin > 10 * noise
    assert near.sum() > 50
    assert far.sum() > 50
    assert flipped[near].mean() > 0.25
    assert flipped[far].mean() < 0.02


def test_a_material_added_this_morning_competes_with_no_training(scene, knowledge):
    source = next(m for m in knowledge.materials if m.extra.get("notation") == "calcite")
    features = tuple(replace(f, constraints={}) for f in source.features)
    added = Material("https://example.org/lookalike", "lookalike", (), source.spectrum, features, extra={"rank": -1})
    without = identify(scene, knowledge)
    more = identify(scene, replace(knowledge, materials=(*knowledge.materials, added)))
    assert more.names[-1] == "lookalike"
    gained = more.labels == len(knowledge.materials) + 1
    assert gained.sum() > 20
    np.testing.assert_array_equal(more.labels[~gained], without.labels[~gained])


def test_a_material_whose_feature_the_sensor_cannot_see_is_never_named(scene, knowledge):
    keep = np.flatnonzero(scene.bands.centre_nm < 1300)
    short = identify(replace(scene, data=scene.data[keep], bands=scene.bands.select(keep)), knowledge)
    named = {name for name in short.counts() if name != "unnamed"}
    carbonates = {m.label for m in knowledge.materials if "calcite" in str(m.extra.get("notation", ""))}
    assert named
    assert not named & carbonates
    assert any("do not cover" in note for note in short.notes)


def test_nodata_and_nan_are_unnamed_and_touch_no_neighbour(scene, knowledge, found):
    data = scene.data.astype(np.float32)
    data[:, 3, 4], data[:, 5, 6] = -9999, np.nan
    holed = identify(replace(scene, data=data, nodata=-9999.0), knowledge)
    assert holed.labels[3, 4] == holed.labels[5, 6] == 0
    rest = np.ones(found.labels.shape, bool)
    rest[3, 4] = rest[5, 6] = False
    np.testing.assert_array_equal(holed.labels[rest], found.labels[rest])


def test_a_band_that_is_dead_everywhere_is_left_out_and_said(scene, knowledge):
    data = scene.data.copy()
    data[100] = -9999
    dead = identify(replace(scene, data=data, nodata=-9999.0), knowledge)
    assert "1 bad bands left out" in dead.notes
    assert (dead.labels > 0).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1)])
def test_small_cubes_are_named_like_large_ones(shape, scene, knowledge, found):
    part = replace(scene, data=scene.data[:, : shape[0], : shape[1]])
    np.testing.assert_array_equal(identify(part, knowledge).labels, found.labels[: shape[0], : shape[1]])


def test_one_band_names_nothing_and_no_wavelengths_are_refused(scene, knowledge):
    one = Cube(scene.data[:1], scene.bands.select([0]), scale=1e-4)
    assert not identify(one, knowledge).labels.any()
    with pytest.raises(MissingWavelengths, match="made"):
        identify(replace(scene, bands=BandTable(scene.bands.count)), knowledge)


def test_missing_widths_and_units_are_assumed_and_said(scene, knowledge, found):
    bare = replace(
        scene, bands=BandTable(scene.bands.count, scene.bands.centre_nm), scale=1.0, units="",
    )
    guessed = identify(bare, knowledge)
    assert any("10 nm" in note for note in guessed.notes)
    assert any("reflectance x 10000" in note for note in guessed.notes)
    assert (guessed.labels == found.labels).all(), "these are the scene's true width and scale"


def test_radiance_is_judged_with_a_warning_in_words(scene, knowledge):
    assert any("radiance" in note for note in identify(replace(scene, units="radiance"), knowledge).notes)
    fractions = replace(scene, data=(scene.data * 1e-4).astype(np.float32), scale=1.0, units="")
    assert any("where reflectance does" in note for note in identify(fractions, knowledge).notes)


def test_infinities_and_a_dark_cube_name_nothing_and_warn_of_nothing(scene, knowledge, found):
    wild = scene.data.astype(np.float32)
    wild[::3, :, :30] = np.inf
    wild[1::7, :, :30] = -np.inf
    half = identify(replace(scene, data=wild), knowledge, margins=True)
    assert not half.labels[:, :30].any()
    np.testing.assert_array_equal(half.labels[:, 30:], found.labels[:, 30:])
    dark = identify(replace(scene, data=np.zeros_like(scene.data)), knowledge, margins=True)
    assert not dark.labels.any()
    flat = identify(replace(scene, data=np.full_like(scene.data, 4000)), knowledge, margins=True)
    assert not flat.labels.any()


def test_wavelengths_rounded_to_picometres_give_the_same_labels(scene, knowledge):
    def labels(centre):
        return identify(replace(scene, bands=replace(scene.bands, centre_nm=centre)), knowledge)

    fine = scene.bands.centre_nm + 1 / 3
    before, after = labels(fine), labels(np.rint(fine * 1000) / 1000)
    np.testing.assert_array_equal(before.labels, after.labels)
    np.testing.assert_array_equal(before.fit, after.fit)


def test_missing_widths_are_those_of_the_sensor_that_the_file_names(knowledge):
    known = next(sensor for sensor in knowledge.sensors if sensor.iri.endswith("enmap"))
    data = np.full((known.centre_nm.size, 1, 2), 3000, np.int16)
    bare = Cube(data, BandTable(len(data), known.centre_nm), scale=1e-4, sensor="EnMAP HSI L2A")
    given = replace(bare, bands=replace(bare.bands, fwhm_nm=known.fwhm_nm))
    assert any("EnMAP" in note for note in identify(bare, knowledge).notes)
    ours, theirs = (reading.Reading.of(cube, knowledge).rules for cube in (bare, given))
    for mine, stated in zip(ours.shapes, theirs.shapes, strict=True):
        np.testing.assert_array_equal([one.depth for one in mine], [one.depth for one in stated])
    shifted = replace(bare, bands=BandTable(len(data), known.centre_nm + 25))
    assert any("10 nm" in note for note in identify(shifted, knowledge).notes), "other bands are another sensor's"


def test_the_judge_names_the_bands_that_a_label_hangs_on(scene, knowledge, found):
    judge = ReleaseJudge(knowledge)
    bands = judge.decision_bands(scene, found.labels)
    assert bands.shape == (len(judge.label_names), scene.bands.count)
    assert judge.release == knowledge.release
    for label in np.unique(found.labels[found.labels > 0]):
        material = knowledge.materials[label - 1]
        low, high = material.features[0].left_nm[0], material.features[0].right_nm[1]
        inside = (scene.bands.centre_nm >= low) & (scene.bands.centre_nm <= high)
        assert bands[label][inside].all()
    with pytest.raises(CubeRefused, match="bands"):
        judge.labels_of(np.zeros((2, 3)), scene)


def test_identify_writes_labels_with_their_class_table(scene, knowledge, found, tmp_path, capsys):
    formats.write(scene, tmp_path / "scene.hdr")
    assert main(["identify", str(tmp_path / "scene.hdr"), str(tmp_path / "labels.hdr"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["named"] == int((found.labels > 0).sum())
    assert answer["release"] == knowledge.release
    raster = formats.read(tmp_path / "labels.hdr")
    assert raster.data.dtype == np.uint16
    np.testing.assert_array_equal(raster.data[0], found.labels)
    assert raster.metadata["classes"] == str(len(found.names))
    assert "unnamed" in raster.metadata["class names"]


def test_identify_refuses_a_cube_without_wavelengths_with_exit_code_three(scene, tmp_path, capsys):
    formats.write(replace(scene, bands=BandTable(scene.bands.count)), tmp_path / "bare.hdr")
    assert main(["identify", str(tmp_path / "bare.hdr"), str(tmp_path / "out.hdr")]) == 3
    assert "band centres" in capsys.readouterr().err
    assert not (tmp_path / "out.hdr").exists()
