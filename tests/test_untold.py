"""What a pixel's other bands leave open about a band that was not measured."""

from __future__ import annotations

import numpy as np

from palimpsest.restoration.denoising.untold import LEFT_OPEN, untold_variance


def test_a_band_with_a_factor_of_its_own_is_left_open_and_one_that_others_tell_is_not():
    loadings = np.zeros((6, 2))
    loadings[:5, 0] = 10.0  # five bands tell the first factor
    loadings[5, 1] = 10.0  # the sixth alone the second
    trusted = np.ones((4, 6), bool)
    trusted[1, 2] = trusted[2, 5] = trusted[3, [2, 5]] = False
    out = untold_variance(loadings, np.eye(2), trusted)
    assert (out[trusted] == 0).all()
    assert np.allclose(out[1, 2], LEFT_OPEN * 100 / (400 + 1))
    assert np.allclose(out[2, 5], LEFT_OPEN * 100)
    assert np.allclose(out[3, [2, 5]], [out[1, 2], out[2, 5]])


def test_pixels_without_a_hole_cost_nothing_and_one_without_any_band_is_as_uncertain_as_the_scene():
    loadings = np.random.default_rng(0).normal(size=(5, 3))
    assert not untold_variance(loadings, np.eye(3), np.ones((7, 5), bool)).any()
    blank = untold_variance(loadings, np.eye(3), np.zeros((1, 5), bool))[0]
    assert np.allclose(blank, LEFT_OPEN * np.square(loadings).sum(1))
