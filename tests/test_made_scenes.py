"""Made scenes are what they say: seeded, bounded, and true to their own truth."""

import dataclasses
import json

import numpy as np
import pytest

from palimpsest.commands import main
from palimpsest.cubes import BandTable, Cube, Reason
from palimpsest.errors import MissingWavelengths, UsageError
from palimpsest.knowledge.releases.release import load
from palimpsest.scenes import CASES, KINDS, SENSORS, WIDE_CASES, degrade, make_group, make_pile, make_scene
from palimpsest.scenes.landscapes import landscape
from palimpsest.scenes.palette import Library


@pytest.fixture(scope="module")
def scene():
    return make_scene(40, 50, seed=4, defects="mixed")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_bounded_and_its_shares_sum_to_one(kind):
    made = make_scene(32, 24, kind=kind, seed=2)
    assert made.observed.shape == (224, 32, 24)
    assert made.observed.data.dtype == np.int16
    assert made.clean.data.min() >= 0
    assert made.clean.data.max() <= 16000
    assert made.abundances.min() >= 0
    np.testing.assert_allclose(made.abundances.sum(axis=0), 1, atol=1e-5)
    assert made.abundances.shape == (len(made.materials), 32, 24)
    np.testing.assert_array_equal(made.labels, made.abundances.argmax(axis=0) + 1)
    assert not made.damaged.any()


@pytest.mark.parametrize("kind", KINDS)
def test_every_material_is_in_the_release_and_its_spectra_are_reflectances(kind):
    knowledge = load(None)
    place = landscape(kind, Library(knowledge), np.random.default_rng(0))
    assert len(place.undergrowth) == len(place.materials)
    for entry in place.materials:
        assert knowledge.material(entry.iri).label
        assert entry.spectra.min() >= 0
        assert entry.spectra.max() <= 1


def test_the_same_arguments_give_the_same_scene_and_another_seed_another():
    first, again, other = (make_scene(20, 20, seed=seed, defects="mixed") for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.observed.data, again.observed.data)
    np.testing.assert_array_equal(first.reasons, again.reasons)
    assert first.settings == again.settings
    assert (first.observed.data != other.observed.data).mean() > 0.5


def test_outside_the_damage_observed_is_clean_plus_noise_of_the_stated_strength(scene):
    error = np.asarray(scene.observed.data, np.float64) - scene.clean.data
    for band in range(0, 224, 9):
        whole = ~scene.damaged[band]
        if whole.any() and scene.noise_sigma[band] > 2:
            assert error[band][whole].std() == pytest.approx(scene.noise_sigma[band], rel=0.2)


def test_without_noise_and_defects_observed_is_clean_rounded():
    made = make_scene(16, 16, noise=0.0, seed=1)
    np.testing.assert_array_equal(made.observed.data, np.rint(made.clean.data))


def test_opaque_bands_are_marked_and_may_hold_zeros():
    made = make_scene(8, 8, opaque="zero")
    closed = ~made.observed.bands.good
    assert 10 < closed.sum() < 60
    assert set(made.observed.bands.reasons[closed]) == {Reason.OPAQUE}
    assert not np.asarray(made.observed.data)[closed].any()
    assert made.clean.bands.good.all()


def test_radiance_is_dark_where_the_air_is_opaque_and_keeps_its_truth():
    made = make_scene(16, 16, units="radiance", kind="geology")
    values = np.asarray(made.observed.data, np.float64)
    closed = ~made.observed.bands.good
    assert made.observed.units == "radiance"
    assert np.abs(values[closed]).mean() < 0.03 * values[~closed].mean()
    error = values - made.clean.data
    assert error[100].std() == pytest.approx(np.hypot(made.noise_sigma[100], 12**-0.5), rel=0.25)
    assert 20 < made.observed.physical().max() < 500


@pytest.mark.parametrize("sensor", SENSORS)
def test_every_sensor_sees(sensor):
    made = make_scene(6, 7, sensor=sensor, kind="vegetation")
    centres = made.observed.bands.centre_nm
    clean = np.asarray(made.clean.data)[:, made.labels == np.bincount(made.labels.ravel()).argmax()].mean(axis=1)
    assert clean[np.abs(centres - 850).argmin()] > clean[np.abs(centres - 670).argmin()]


def test_a_sensor_may_be_given_by_its_bands_and_not_beyond_the_references():
    bands = BandTable(count=3, centre_nm=np.array([550.0, 670.0, 850.0]))
    assert make_scene(4, 4, sensor=bands).observed.shape == (3, 4, 4)
    with pytest.raises(UsageError, match="beyond the reference spectra"):
        make_scene(4, 4, sensor=BandTable(count=1, centre_nm=np.array([3300.0])))


def test_wrong_asks_are_refused():
    with pytest.raises(UsageError, match="kind"):
        make_scene(4, 4, kind="moon")
    with pytest.raises(UsageError, match="unknown sensor"):
        make_scene(4, 4, sensor="eye")
    for noise in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="noise"):
            make_scene(4, 4, noise=noise)
    with pytest.raises(UsageError, match="pixel"):
        make_scene(0, 4)
    with pytest.raises(UsageError, match="unknown defect"):
        make_scene(4, 4, defects="moths")


def test_a_scene_of_one_pixel_is_a_scene():
    assert make_scene(1, 1, defects="mixed").observed.shape == (224, 1, 1)


def test_a_scene_compresses_like_a_real_one():
    # Measured of a real airborne scene: two eigenvalues carry 97 %, the tenth 3e-4, the fortieth about 1e-5.
    made = make_scene(64, 64, seed=3)
    usable = np.asarray(made.observed.data, np.float64)[made.observed.bands.good].reshape(-1, 64 * 64)
    values = np.linalg.eigvalsh(np.cov(usable))[::-1]
    share = values / values.sum()
    assert 0.85 < share[:2].sum() < 0.995
    assert 3e-5 < share[9] < 3e-3
    assert 1e-6 < share[39] < 1e-4


@pytest.mark.parametrize("case", [*CASES, *WIDE_CASES])
def test_defects_strike_only_where_they_say(case):
    cube = make_scene(24, 24, seed=9, kind="urban").observed
    struck = degrade(cube, case, seed=3)
    same = ~struck.damaged & (struck.noise_sigma == 0)[:, None, None]
    np.testing.assert_array_equal(np.asarray(struck.cube.data)[same], np.asarray(cube.data)[same])
    assert struck.damaged.any() == (case not in ("a05", "a10", "b"))
    assert (struck.noise_sigma > 0).any() == (case in ("a05", "a10", "b", "c", "d", "e"))
    again = degrade(cube, case, seed=3)
    np.testing.assert_array_equal(again.cube.data, struck.cube.data)
    flagged = struck.cube.reasons
    if case in ("e", "f", "g", "saturated", "mixed") or case.startswith("wide"):
        hidden = np.isin(struck.reasons, (Reason.IMPULSE, Reason.STRIPE))
        np.testing.assert_array_equal(flagged != 0, struck.damaged & ~hidden)
    else:
        assert flagged is None


def test_cases_b_to_e_share_one_noise():
    cube = make_scene(12, 12, seed=9).observed
    noises = [degrade(cube, case).noise_sigma for case in "bcde"]
    for sigma in noises[1:]:
        np.testing.assert_array_equal(sigma, noises[0])


def test_half_the_voxels_go_missing_in_case_g():
    assert degrade(make_scene(20, 20).observed, "g").damaged.mean() == pytest.approx(0.5, abs=0.01)


def test_wide_runs_need_wavelengths_and_lie_inside_the_cube():
    cube = make_scene(6, 6).observed
    with pytest.raises(MissingWavelengths):
        degrade(Cube(cube.data, BandTable(count=224)), "wide:swir2")
    with pytest.raises(UsageError, match="outside"):
        degrade(make_scene(6, 6, sensor="vnir").observed, "wide:swir2")
    runs = degrade(Cube(cube.data, BandTable(count=224)), "wide:three_runs_of_15")
    assert runs.damaged.all(axis=(1, 2)).sum() == 45


def test_a_group_shares_its_ground_but_not_its_light_noise_and_defects():
    group = make_group(3, 24, 24, seed=8)
    for other in group[1:]:
        np.testing.assert_array_equal(other.abundances, group[0].abundances)
        assert (other.clean.data != group[0].clean.data).mean() > 0.9
        assert (other.reasons != group[0].reasons).any()
        spectra = [np.asarray(made.clean.data, np.float64)[made.observed.bands.good] for made in (group[0], other)]
        cosine = (spectra[0] * spectra[1]).sum(axis=0) / np.prod([np.linalg.norm(s, axis=0) for s in spectra], axis=0)
        assert cosine.min() > 0.98


@pytest.mark.parametrize("sensor", ["aviris", "enmap"])
def test_bands_lost_at_one_date_are_there_at_the_next(sensor):
    for seed in range(4):
        first, second = (
            (scene.reasons == Reason.BAD_BAND).all(axis=(1, 2))
            for scene in make_group(2, 6, 6, seed=seed, sensor=sensor)
        )
        assert min(first.sum(), second.sum()) >= 20
        assert (first & second).sum() <= 3


def test_a_pile_holds_every_place_and_sensor_and_names_none():
    pile = make_pile(7, 8, 8)
    assert {truth for _, truth in pile} == {(p, s) for p in range(3) for s in ("aviris", "enmap")}
    assert all(made.observed.name.startswith("cube-") for made, _ in pile)


def test_the_command_writes_a_scene_with_its_truth(tmp_path, capsys):
    out, truth = tmp_path / "scene.hdr", tmp_path / "truth"
    words = ["scene", str(out), "--rows", "10", "--cols", "12", "--defects", "mixed", "--truth", str(truth), "--json"]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["bands"] == 224
    from palimpsest.formats import read

    made = make_scene(10, 12, defects="mixed")
    cube = read(out)
    np.testing.assert_array_equal(cube.data, made.observed.data)
    np.testing.assert_array_equal(cube.reasons, made.observed.reasons)
    np.testing.assert_allclose(read(truth / "clean.hdr").data, made.clean.data)
    np.testing.assert_array_equal(np.load(truth / "mask.npy"), ~made.damaged)
    assert json.loads((truth / "truth.json").read_text())["settings"] == dataclasses.asdict(made.settings)
    assert main(["scene", str(out), "--rows", "0"]) == 2


def test_the_command_knows_every_kind_and_sensor():
    from palimpsest.commands import scene as verb

    assert verb.KINDS == KINDS
    assert verb.SENSORS == SENSORS
