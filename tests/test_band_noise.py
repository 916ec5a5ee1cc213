"""Noise of each band by regression on the others: furrows and edges are no noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from restoration_cubes import GRID, cube_of, mixtures, with_gap

from palimpsest.cubes import Reason
from palimpsest.restoration.factors.band_noise import regressed
from palimpsest.restoration.repair import repair
from palimpsest.restoration.view import Axis, noise_per_band, unit_of, view_of

NOISE = 20.0  # stored units


def textured() -> np.ndarray:
    """Mixtures whose light changes from pixel to pixel, as in a town."""
    return mixtures() * np.random.default_rng(8).uniform(0.4, 1.0, (20, 24))


def told(cube, pixels=None):
    reasons = cube.voxel_reasons()
    axis, unit = Axis.of(cube.bands), unit_of(cube, reasons)
    every = np.arange(cube.data[0].size) if pixels is None else pixels
    by_pixels = noise_per_band(cube, reasons, axis, unit)
    return regressed(view_of(cube, reasons, axis, every, unit), by_pixels) * unit, by_pixels * unit


def test_texture_is_no_noise():
    found, by_pixels = told(cube_of(textured(), noise=NOISE))
    assert np.median(by_pixels) > 5 * NOISE
    assert np.median(found) == pytest.approx(NOISE, rel=0.15)
    assert (found > 0.6 * NOISE).all()
    assert (found < 1.6 * NOISE).all()


def test_noise_that_differs_from_band_to_band_is_told_apart():
    clean = textured()
    cube = cube_of(clean, noise=0.0)
    strength = np.where(np.arange(len(GRID)) % 2, 10.0, 60.0)
    noisy = cube.data + strength[:, None, None] * np.random.default_rng(2).standard_normal(clean.shape)
    found, _ = told(cube_of(noisy / 10000, noise=0.0))
    assert found == pytest.approx(strength, rel=0.5)


def test_a_lost_band_is_as_noisy_as_those_beside_and_too_few_pixels_have_what_was_said_otherwise():
    cube = with_gap(cube_of(textured(), noise=NOISE), 30, 36)
    found, by_pixels = told(cube)
    assert found[30:36] == pytest.approx(np.full(6, NOISE), rel=0.4)
    assert (by_pixels[30:36] > 5 * NOISE).all()
    assert np.median(found[:30]) == pytest.approx(NOISE, rel=0.15)
    few, by_pixels = told(cube, np.arange(len(GRID)))
    assert (few == by_pixels).all()
    none, by_pixels = told(cube, np.arange(0))
    assert (none == by_pixels).all()


def test_dead_voxels_make_a_band_no_noisier():
    gain = np.exp(0.3 * np.random.default_rng(4).standard_normal((len(GRID), 1, 1)))  # no line foretells it
    whole = cube_of(textured() * gain, noise=NOISE)
    reasons = np.zeros(whole.data.shape, np.uint8)
    hit = np.arange(5, len(GRID), 10)
    for column, band in enumerate(hit):
        reasons[band, :, 3 * column : 3 * column + 4] = Reason.DEAD
    struck = replace(whole, data=np.where(reasons, 0, whole.data), reasons=reasons)
    found, _ = told(struck)
    sound, _ = told(whole)
    assert np.median(found[hit] / sound[hit]) == pytest.approx(1, abs=0.2)
    assert (found[hit] < 2.5 * sound[hit]).all()
    assert np.delete(found, hit) == pytest.approx(np.delete(sound, hit), rel=0.2)


def test_it_is_never_more_than_what_was_said_otherwise():
    found, by_pixels = told(cube_of(mixtures(), noise=NOISE))
    assert (found <= by_pixels).all()


def test_where_half_of_all_voxels_are_lost_intervals_are_no_wider_than_errors_call_for():
    whole = cube_of(textured(), noise=NOISE)
    lost = np.random.default_rng(6).random(whole.data.shape) < 0.5
    reasons = np.where(lost, np.uint8(Reason.DEAD), np.uint8(0))
    cube = replace(whole, data=np.where(lost, 0, whole.data), reasons=reasons)
    found = repair(cube, knowledge=None, mask=~lost)
    told, true = (one.data.reshape(-1)[found.changed].astype(float) for one in (found.restored, whole))
    missed = np.abs(told - true)
    assert 0.75 < (missed <= found.half_width).mean() < 0.99
    assert found.half_width.mean() < 3 * np.quantile(missed, 0.9)
