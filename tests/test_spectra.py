"""Resampling, continuum, feature fit, depth, area and position."""

from __future__ import annotations

import numpy as np
import pytest

from palimpsest.errors import CubeRefused, UnknownTerm
from palimpsest.spectra import (
    ContinuumWindow,
    SpectralLibrary,
    band_depth,
    convex_hull,
    feature_area,
    feature_centre,
    fit_feature,
    remove_continuum,
    resample,
    resample_for_rules,
)

GRID = np.arange(350.0, 2501.0)
CENTRES = np.arange(400.0, 2480.0, 8.0)
WIDTHS = np.full(CENTRES.size, 9.0)
LEFT, RIGHT = (2100.0, 2130.0), (2270.0, 2300.0)


def absorbing(depth=0.3, centre=2200.0, width=25.0, level=0.4, slope=1e-4):
    line = level + slope * (CENTRES - 2200)
    return line * (1 - depth * np.exp(-0.5 * ((CENTRES - centre) / width) ** 2))


def test_a_flat_spectrum_stays_flat_under_both_conventions():
    flat = np.full((2, GRID.size), 0.37)
    for function in (resample, resample_for_rules):
        np.testing.assert_allclose(function(flat, GRID, CENTRES, WIDTHS), 0.37, rtol=1e-12)


def test_resampling_widens_a_line_as_gaussians_add():
    sigma = 20.0
    line = np.exp(-0.5 * ((GRID - 1500) / sigma) ** 2)
    peak = resample(line, GRID, np.array([1500.0]), np.array([40.0]))[0]
    band = 40.0 / (2 * np.sqrt(2 * np.log(2)))
    assert peak == pytest.approx(sigma / np.hypot(sigma, band), rel=1e-6)


def test_unknown_samples_are_left_out_and_too_few_known_ones_give_nan():
    spectrum = np.where(GRID < 1000, np.nan, 0.5)
    seen = resample(spectrum, GRID, np.array([900.0, 995.0, 1005.0, 1500.0]), np.full(4, 10.0))
    assert np.isnan(seen[:2]).all()
    np.testing.assert_allclose(seen[2:], 0.5)
    assert np.isnan(resample(np.full(GRID.size, 0.5), GRID, np.array([2600.0]), np.array([10.0])))[0]


def test_the_rules_convention_is_cut_at_half_maximum_and_skips_what_is_not_positive():
    rng = np.random.default_rng(3)
    spectrum = rng.uniform(0.1, 0.6, GRID.size)
    spectrum[GRID == 1502] = -1
    inside = (np.abs(GRID - 1500.5) < 5.0) & (spectrum > 0)
    weight = np.exp(-((GRID[inside] - 1500.5) ** 2) * np.log(2) / 25.0)
    expected = (spectrum[inside] * weight).sum() / weight.sum()
    assert resample_for_rules(spectrum, GRID, np.array([1500.5]), np.array([10.0]))[0] == pytest.approx(expected)


def test_a_straight_spectrum_divided_by_its_continuum_is_one():
    at, removed = remove_continuum(0.1 + 1e-4 * CENTRES, CENTRES, LEFT, RIGHT)
    assert at[0] >= 2100
    assert at[-1] <= 2300
    np.testing.assert_allclose(removed, 1.0, atol=1e-12)


def test_fit_is_one_and_depth_scales_for_a_scaled_copy_of_the_feature():
    fit = fit_feature(np.stack([absorbing(0.1), absorbing(-0.1)]), absorbing(0.3), CENTRES, LEFT, RIGHT)
    assert fit is not None
    assert fit.fit[0] == pytest.approx(1.0, abs=1e-4)
    assert fit.depth[0] == pytest.approx(0.1, abs=2e-3)
    assert np.isnan(fit.fit[1])
    assert np.isnan(fit.depth[1]), "a bump is no absorption feature"


def test_brightness_changes_neither_fit_nor_depth():
    rng = np.random.default_rng(5)
    spectrum = absorbing(0.2) + rng.normal(0, 0.005, CENTRES.size)
    fit = fit_feature(np.stack([spectrum, 2.5 * spectrum]), absorbing(0.3), CENTRES, LEFT, RIGHT)
    np.testing.assert_allclose(fit.fit[0], fit.fit[1], rtol=1e-10)
    np.testing.assert_allclose(fit.depth[0], fit.depth[1], rtol=1e-10)


def test_what_a_sensor_cannot_see_is_said_and_not_guessed():
    short = CENTRES[CENTRES < 2250]
    assert ContinuumWindow.at(short, LEFT, RIGHT) is None
    assert fit_feature(np.ones((1, short.size)), np.ones(short.size), short, LEFT, RIGHT) is None
    assert np.isnan(band_depth(np.ones((3, short.size)), short, LEFT, RIGHT)).all()
    with pytest.raises(CubeRefused, match="shoulder"):
        remove_continuum(np.ones(short.size), short, LEFT, RIGHT)


def test_depth_area_and_position_of_a_known_feature():
    spectrum = absorbing(0.2, centre=2203.0, slope=0.0)
    assert band_depth(spectrum, CENTRES, LEFT, RIGHT) == pytest.approx(0.2, abs=5e-3)
    assert feature_area(spectrum, CENTRES, LEFT, RIGHT) == pytest.approx(0.2 * 25 * np.sqrt(2 * np.pi), rel=0.03)
    at, removed = remove_continuum(spectrum[None], CENTRES, LEFT, RIGHT)
    assert feature_centre(removed, at)[0] == pytest.approx(2203.0, abs=0.5)
    assert np.isnan(feature_centre(np.linspace(1, 0.5, at.size)[None], at))[0], "a minimum at the edge has no position"


def test_the_hull_lies_on_or_above_the_spectrum_and_touches_it():
    rng = np.random.default_rng(7)
    spectrum = rng.uniform(0.1, 0.6, CENTRES.size)
    hull = convex_hull(spectrum, CENTRES)
    assert (hull >= spectrum - 1e-12).all()
    assert (np.diff(np.diff(hull) / np.diff(CENTRES)) <= 1e-12).all(), "concave"
    assert np.isclose(hull, spectrum).sum() >= 2


def test_a_library_answers_by_name_and_refuses_what_does_not_fit():
    library = SpectralLibrary(("a", "b"), GRID, np.full((2, GRID.size), 0.2))
    assert library.spectrum("b").shape == GRID.shape
    assert library.at(CENTRES, WIDTHS).shape == (2, CENTRES.size)
    with pytest.raises(UnknownTerm):
        library.spectrum("c")
    with pytest.raises(CubeRefused, match="twice"):
        SpectralLibrary(("a", "a"), GRID, np.full((2, GRID.size), 0.2))
    with pytest.raises(CubeRefused, match="shape"):
        SpectralLibrary(("a",), GRID, np.full((2, GRID.size), 0.2))
    with pytest.raises(CubeRefused, match="ascend"):
        SpectralLibrary(("a",), GRID[::-1], np.full((1, GRID.size), 0.2))


def test_a_spectrum_without_structure_has_no_feature_and_no_fit():
    flat = np.stack([np.full(CENTRES.size, 0.4), 0.1 + 1e-4 * CENTRES, np.zeros(CENTRES.size)])
    fit = fit_feature(flat, absorbing(0.3), CENTRES, LEFT, RIGHT)
    assert np.isnan(fit.fit).all()
    assert np.isnan(fit.depth).all()


def test_a_continuum_that_crosses_zero_gives_nan_and_no_warning():
    window = ContinuumWindow.at(CENTRES, LEFT, RIGHT)
    crossing = np.interp(CENTRES, CENTRES[window.bands[[0, -1]]], [-0.1, 0.1])
    assert np.isfinite(window.removed(absorbing())).all()
    np.testing.assert_array_equal(np.isnan(window.removed(crossing)), window.line(crossing) == 0)
    assert np.isnan(window.removed(np.zeros(CENTRES.size))).all()
