"""The yardsticks agree with outside ones, respect masks, and say NaN where nothing can be said."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from cube_makers import plain_cube
from shared_data import RIVALS, needs_shared

from palimpsest import measure
from palimpsest.errors import CubeRefused, UsageError


@pytest.fixture
def pair():
    rng = np.random.default_rng(4)
    reference = rng.integers(100, 4000, (6, 12, 15)).astype(np.int16)
    return reference, (reference + rng.integers(-9, 10, reference.shape)).astype(np.int16)


@needs_shared
def test_quality_is_that_of_the_rivals(pair):
    spec = importlib.util.spec_from_file_location("rivals", RIVALS / "rivals.py")
    rivals = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rivals)
    reference, test = pair
    wanted = rivals.quality(reference.transpose(1, 2, 0), test.transpose(1, 2, 0), 100)
    found = measure.quality(plain_cube(reference), plain_cube(test))
    for key in ("psnr_db", "snr_db", "rmse", "sam_deg", "max_error"):
        assert getattr(found, key) == pytest.approx(wanted[key], rel=1e-9), key
    assert measure.bpppc(100, reference.shape) == wanted["bpppc"]
    rng = np.random.default_rng(0)
    curves = [[(r * f, 30 + 6 * np.log2(r) + n) for r, n in zip((0.1, 0.2, 0.4, 0.8, 1.6), rng.random(5), strict=True)]
              for f in (1.0, 0.8)]
    assert measure.bd_rate(*curves) == pytest.approx(rivals.bd_rate(*curves), rel=1e-12)


def test_identical_cubes_are_infinitely_alike(pair):
    found = measure.quality(plain_cube(pair[0]), plain_cube(pair[0].copy()))
    assert found.psnr_db == found.snr_db == float("inf")
    assert found.max_error == 0


def test_a_curve_at_four_fifths_of_the_rate_scores_minus_twenty():
    rival = [(r, 30 + 6 * np.log2(r)) for r in (0.1, 0.2, 0.4, 0.8)]
    assert measure.bd_rate(rival, [(0.8 * r, d) for r, d in rival]) == pytest.approx(-20)
    with pytest.raises(UsageError, match="share no range"):
        measure.bd_rate(rival, [(r, d + 100) for r, d in rival])
    with pytest.raises(UsageError, match="too few"):
        measure.bd_rate(rival, rival[:3])


def test_masked_voxels_count_in_nothing(pair):
    reference, test = pair
    usable = np.ones(reference.shape, bool)
    usable[2, :3] = False
    spoiled_reference, spoiled = reference.astype(float), test.astype(float)
    spoiled_reference[~usable] = np.nan
    spoiled[~usable] = 1e9
    for function in (measure.psnr_db, measure.snr_db, measure.rmse, measure.max_error, measure.sam_deg, measure.mssim):
        clean = test.copy()
        clean[~usable] = reference[~usable]
        assert np.isfinite(function(spoiled_reference, spoiled, usable)), function
    assert measure.max_error(spoiled_reference, spoiled, usable) <= 9
    inside = np.abs(reference[usable].astype(float) - test[usable])
    assert measure.rmse(spoiled_reference, spoiled, usable) == pytest.approx(np.sqrt((inside**2).mean()))


def test_the_peak_is_the_references_maximum_over_all_bands():
    reference = np.array([[[100.0]], [[1000.0]]])
    test = reference + 10
    assert measure.psnr_db(reference, test) == pytest.approx(40)
    np.testing.assert_allclose(measure.psnr_per_band_db(reference, test), [40, 40])
    assert measure.psnr_db(reference, reference) > 300


def test_nothing_usable_is_nan_and_not_a_number_made_up(pair):
    nothing = np.zeros(pair[0].shape, bool)
    for function in (measure.psnr_db, measure.snr_db, measure.rmse, measure.sam_deg, measure.mssim):
        assert np.isnan(function(*pair, nothing)), function
    assert np.isnan(measure.psnr_db(np.zeros((1, 2, 2)), np.zeros((1, 2, 2))))


def test_the_angle_is_blind_to_brightness_and_right_at_right_angles():
    a = np.array([1.0, 0.0]).reshape(2, 1, 1)
    b = np.array([0.0, 3.0]).reshape(2, 1, 1)
    assert measure.sam_deg(a, 5 * a) == pytest.approx(0, abs=1e-6)
    assert measure.sam_deg(a, b) == pytest.approx(90)
    assert np.isnan(measure.sam_deg(a, 0 * a))


def test_similarity_is_that_of_scikit_image(pair):
    metrics = pytest.importorskip("skimage.metrics")
    reference, test = (cube.astype(float) for cube in pair)
    wanted = [metrics.structural_similarity(x, y, data_range=4000.0) for x, y in zip(reference, test, strict=True)]
    np.testing.assert_allclose(measure.ssim_per_band(reference, test, peak=4000.0), wanted, rtol=1e-9)


def test_other_shapes_are_refused_and_lost_voxels_counted(pair):
    reference, test = pair
    with pytest.raises(CubeRefused, match="different shape"):
        measure.psnr_db(reference, test[:, 1:])
    lossy = plain_cube(test.astype(np.float32))
    lossy.data[0, 0, :2] = np.nan
    found = measure.quality(plain_cube(reference), lossy)
    assert (found.lost_voxels, found.voxels) == (2, reference.size - 2)


def test_agreement_counts_pixels_that_either_side_names():
    a, b = np.array([[0, 1, 2, 3]]), np.array([[0, 1, 5, 0]])
    assert measure.label_agreement(a, b) == pytest.approx(1 / 3)
    assert np.isnan(measure.label_agreement(0 * a, 0 * a))
    depth = np.array([[np.nan, 0.2, 0.2, 0.2]])
    assert measure.depth_error(a, depth, b, depth * 1.5) == pytest.approx(0.5)


def test_depth_error_of_a_feature_that_shrank():
    centre = np.array([2100.0, 2150, 2200, 2250, 2300])
    full = np.array([1.0, 1, 0.6, 1, 1]).reshape(5, 1, 1)
    half = np.array([1.0, 1, 0.8, 1, 1]).reshape(5, 1, 1)
    error = measure.band_depth_error(full, half, centre, (2090, 2160), (2240, 2310))
    np.testing.assert_allclose(error, [[-0.2]], atol=1e-12)


def test_coverage_of_intervals():
    truth = np.array([1.0, 2, 3, 4])
    assert measure.coverage(truth, truth - 1, np.array([1.0, 5, 2, 5])) == 0.75
    error = np.random.default_rng(0).normal(size=20_000)
    for nominal, observed in measure.calibration(error, np.ones_like(error)).items():
        assert observed == pytest.approx(nominal, abs=0.01)


def test_cubes_bring_their_own_mask(pair):
    reference, test = pair
    spoiled = test.copy()
    spoiled[0, 0, 0] = -9999
    cube = plain_cube(spoiled, nodata=-9999.0)
    assert measure.max_error(plain_cube(reference), cube) <= 9
    assert measure.max_error(reference, spoiled) > 9000
