"""Loadings smoothed over bands: as far as the scene says that they are smooth, and no further."""

import numpy as np

from palimpsest.restoration.factors.smooth_loadings import smoothed

BANDS = 120
EVERY = np.ones(BANDS, bool)


def column(values):
    return np.asarray(values, np.float64)[:, None]


def test_smooth_loadings_lose_most_of_their_error_and_know_what_is_left():
    rng = np.random.default_rng(3)
    truth = np.sin(np.arange(BANDS) / 9.0) * 0.05
    noise = rng.uniform(0.001, 0.03, BANDS)
    found, doubt = smoothed(column(truth + noise * rng.standard_normal(BANDS)), column(noise**2), EVERY)
    error = found[:, 0] - truth
    assert np.mean(error**2) < 0.15 * np.mean(noise**2)
    assert 0.4 < np.mean(error**2 / doubt[:, 0]) < 2.0


def test_a_sure_band_beside_noisy_ones_keeps_its_own_value():
    rng = np.random.default_rng(4)
    truth = np.sin(np.arange(BANDS) / 9.0) * 0.05
    truth[60] += 0.08
    noise = np.where(np.arange(BANDS) == 60, 1e-5, 0.01)
    found, _ = smoothed(column(truth + noise * rng.standard_normal(BANDS)), column(noise**2), EVERY)
    assert abs(found[60, 0] - truth[60]) < 1e-3


def test_loadings_that_jump_from_band_to_band_are_no_worse_than_before():
    rng = np.random.default_rng(5)
    truth = rng.standard_normal(BANDS) * 0.05
    told = truth + 0.01 * rng.standard_normal(BANDS)
    found, _ = smoothed(column(told), column(np.full(BANDS, 1e-4)), EVERY)
    assert np.mean((found[:, 0] - truth) ** 2) <= 1.05 * np.mean((told - truth) ** 2)


def test_the_unit_of_the_values_makes_no_difference():
    rng = np.random.default_rng(6)
    told = np.cos(np.arange(BANDS) / 7.0) + 0.2 * rng.standard_normal(BANDS)
    one = smoothed(column(told), column(np.full(BANDS, 0.04)), EVERY)[0]
    other = smoothed(column(told * 1e6), column(np.full(BANDS, 0.04e12)), EVERY)[0]
    np.testing.assert_allclose(other, one * 1e6, rtol=1e-5, atol=1.0)


def test_bands_without_an_estimate_few_bands_and_nothing_but_zeros_come_back():
    usable = EVERY.copy()
    usable[10] = False
    told = np.linspace(0, 1, BANDS)
    told[10] = 77.0
    found, doubt = smoothed(column(told), column(np.full(BANDS, 1e-3)), usable)
    assert found[10, 0] == 77.0
    assert abs(found[11, 0] - told[11]) < 0.1
    few = column(told[:5])
    np.testing.assert_array_equal(smoothed(few, few, np.ones(5, bool))[0], few)
    found, doubt = smoothed(np.zeros((BANDS, 2)), np.full((BANDS, 2), 1e-4), EVERY)
    assert np.isfinite(found).all()
    assert np.isfinite(doubt).all()
    assert np.abs(found).max() < 1e-6
