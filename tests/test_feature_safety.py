"""Taking noise off does not take a feature that the measurement supports; which ones, the ontology says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from restoration_cubes import knowledge

from palimpsest.cubes import BandTable
from palimpsest.restoration.denoising import feature_guard
from palimpsest.restoration.denoising.feature_guard import REPORTED, given_back, shapes_of
from palimpsest.restoration.repair import repair
from palimpsest.restoration.view import Axis
from palimpsest.scenes import degrade, make_scene

DIAGNOSTIC, NARROW = (f"https://w3id.org/palimpsest/rule/{name}" for name in (
    "diagnostic-features-survive", "narrow-bands-survive"
))
SIDE = 40


@pytest.fixture(scope="module")
def scene():
    return make_scene(SIDE, SIDE, kind="geology", sensor="aviris", seed=41)


@pytest.fixture(scope="module")
def base():
    return knowledge()


def unguarded(base):
    return replace(base, rules=tuple(rule for rule in base.rules if rule.kind != "feature_safety"))


def with_feature(scene, at, width, snr, pixels):
    """The scene with an absorption in some pixels that is so many standard errors deep in each."""
    cube = scene.observed
    good = cube.bands.good
    shape = np.exp(-0.5 * ((cube.bands.centre_nm - at) / (width / 2.355)) ** 2) * good
    data = np.asarray(cube.data, float)
    row, col = pixels
    light = shape[:, None] * data[:, row, col]
    sure = np.sqrt(((light[good] / scene.noise_sigma[good, None]) ** 2).sum(0))
    data[:, row, col] -= snr / sure * light
    return replace(cube, data=np.rint(data).astype(cube.data.dtype))


def denoised(cube, release):
    return np.asarray(repair(cube, knowledge=release, is_searched=False, is_denoised=True).restored.data, float)


@pytest.fixture(scope="module")
def plain(scene, base):
    """The scene without any made absorption, denoised: with the rules and without them."""
    return denoised(scene.observed, base), denoised(scene.observed, unguarded(base))


def kept(scene, cube, release, before, pixels):
    """Share of the made absorption that is left in each pixel, by its own shape."""
    row, col = pixels
    made = (np.asarray(cube.data, float) - scene.observed.data)[:, row, col]
    struck, plain = denoised(cube, release)[:, row, col], before[:, row, col]
    good = scene.observed.bands.good
    worth = 1 / scene.noise_sigma[good, None] ** 2
    return ((struck - plain)[good] * made[good] * worth).sum(0) / (made[good] ** 2 * worth).sum(0)


@pytest.mark.parametrize(("at", "width", "snr"), [(2205, 45, 9), (1650, 12, 9)])
def test_a_supported_feature_of_few_pixels_survives_and_would_not_without_the_rule(scene, base, plain, at, width, snr):
    pixels = (np.array([12, 13, 30]), np.array([20, 20, 9]))
    cube = with_feature(scene, at, width, snr, pixels)
    guarded = kept(scene, cube, base, plain[0], pixels)
    assert guarded.min() > 0.5
    assert guarded.mean() > 0.7
    bare = kept(scene, cube, unguarded(base), plain[1], pixels)
    assert guarded.min() >= bare.min() - 0.05
    assert bare.min() < 0.6, "the worst case that the rule is for"


def test_what_is_given_back_is_named_and_the_sum_stays_exact(scene, base):
    cube = with_feature(scene, 2205, 45, 12, (np.array([12, 13]), np.array([20, 20])))
    result = repair(cube, knowledge=base, is_searched=False, is_denoised=True)
    assert result.is_exact()
    assert result.report[REPORTED][DIAGNOSTIC] >= 2
    number = next(n for n, one in enumerate(result.decisions) if one.rule == DIAGNOSTIC)
    acted = np.concatenate([part.voxels for part in result.contributions if part.decision == number])
    assert {(12, 20), (13, 20)} & {divmod(int(voxel) % SIDE**2, SIDE) for voxel in acted}


def test_noise_alone_gets_next_to_nothing_back(base):
    flat = np.random.default_rng(3).normal(0, 5.0, (60, 50, 50))
    centre = np.linspace(1500, 2480, 60)
    axis = Axis.of(BandTable(60, centre, np.full(60, 16.0)))
    for rule in base.rules:
        if rule.kind == "feature_safety":
            shapes = shapes_of(rule, base, axis)
            assert len(shapes) > 10
            back, pixels = given_back(flat, np.full(flat.shape, 2500.0), shapes, rule.parameters["significance"])
            assert pixels < 60
            assert np.abs(back).mean() < 0.05
            assert (back <= 0).all()


def test_a_feature_that_nine_pixels_share_is_given_back_across_the_borders_of_blocks(base, monkeypatch):
    rng = np.random.default_rng(4)
    axis = Axis.of(BandTable(60, np.linspace(1500, 2480, 60), np.full(60, 16.0)))
    rule = next(rule for rule in base.rules if rule.iri == NARROW)
    shapes = shapes_of(rule, base, axis)
    level, taken = np.full((60, 12, 20), 2500.0), rng.normal(0, 5.0, (60, 12, 20))
    shape = shapes[len(shapes) // 2]
    taken[:, 4:7, 8:11] -= 3 * 5 / np.sqrt((shape**2).sum()) * shape[:, None, None]  # three sigmas in each, nine in all
    whole, pixels = given_back(taken, level, shapes, 5.0)
    assert whole[:, 5, 9].min() < 0  # by itself it would not have been
    alone = np.where(np.indices((12, 20)).sum(0) == 14, taken, 0.0)
    assert (given_back(alone, level, shapes, 5.0)[0][:, 5, 9] == 0).all()
    for rows in (1, 5, 6):  # the square lies on the border, or in one block alone
        monkeypatch.setattr(feature_guard, "BLOCK_PIXELS", rows * 20)
        back, again = given_back(taken, level, shapes, 5.0)
        assert again == pixels
        assert np.allclose(back, whole, rtol=1e-6, atol=1e-6)


def test_without_noise_taken_off_nothing_is_guarded(scene, base):
    result = repair(scene.observed, knowledge=base, is_searched=False)
    assert REPORTED not in result.report
    named = {rule.iri for rule in base.rules if rule.kind == "feature_safety"}
    assert named == {DIAGNOSTIC, NARROW}


def test_what_the_denoiser_says_of_dead_lines_passes_for_no_feature(base):
    place = make_scene(SIDE, SIDE, kind="coast", sensor="aviris", seed=42)
    good = np.flatnonzero(place.observed.bands.good)
    quiet = replace(
        place.clean, data=np.ascontiguousarray(np.asarray(place.clean.data)[good]), bands=place.clean.bands.select(good)
    )
    struck = degrade(quiet, "e")
    result = repair(struck.cube, knowledge=base, mask=~struck.damaged, is_searched=False, is_denoised=True)
    assert sum(result.report[REPORTED].values()) < 0.01 * SIDE**2
    wrong = [n for n, one in enumerate(result.decisions) if one.rule in (DIAGNOSTIC, NARROW)]
    acted = [part.voxels for part in result.contributions if part.decision in wrong]
    assert not struck.damaged.reshape(-1)[np.concatenate([np.empty(0, np.int64), *acted])].any()
