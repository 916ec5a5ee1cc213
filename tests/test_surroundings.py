"""A scene's own factors: quiet bands stay quiet, noise makes no factors, and neighbours tell what bands cannot."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from palimpsest.cubes import BandTable, Cube
from palimpsest.restoration.factors.low_rank import fit_pruned, fit_table
from palimpsest.restoration.factors.surroundings import fit_scene
from palimpsest.restoration.view import Axis, view_of

BANDS, SIDE = 40, 40


def scene(noise, local=0.0, seed=0):
    """Four smooth abundances over smooth spectra; one band with a pattern that no other band has."""
    rng = np.random.default_rng(seed)
    shares = np.stack([gaussian_filter(rng.standard_normal((SIDE, SIDE)), 3) for _ in range(4)])
    spectra = np.stack([gaussian_filter(rng.standard_normal(BANDS), 4) for _ in range(4)], 1)
    clean = 0.5 + np.tensordot(spectra, shares / shares.std(), 1) * 0.1
    clean[17] += local * gaussian_filter(rng.standard_normal((SIDE, SIDE)), 2)
    return clean, (clean + noise * rng.standard_normal(clean.shape)).astype(np.float32)


def fitted(values, missing):
    reasons = np.where(missing, np.uint8(3), np.uint8(0))
    cube, axis = Cube(values, BandTable(count=len(values))), Axis.of(BandTable(count=len(values)))
    pixels = np.arange(values[0].size)
    model = fit_scene(cube, reasons, axis, 1.0, pixels, np.full(len(values), 0.02))
    return model, view_of(cube, reasons, axis, pixels, 1.0)


def test_a_quiet_band_keeps_its_own_noise_and_not_that_of_the_prior():
    _, values = scene(noise=1e-4)
    table = values.reshape(BANDS, -1).T
    model = fit_table(table, np.ones(table.shape, bool), np.full(BANDS, 0.02), 4, 30)
    assert np.sqrt(model.noise).max() < 2e-4


def test_lengthened_steps_lead_where_plain_ones_do():
    _, values = scene(noise=0.01)
    table = values.reshape(BANDS, -1).T
    everywhere = np.ones(table.shape, bool)
    plain = fit_table(table, everywhere, np.full(BANDS, 0.02), 4, 60)
    longer = fit_table(table, everywhere, np.full(BANDS, 0.02), 4, 30, lengthened=1.6)
    np.testing.assert_allclose(longer.noise, plain.noise, rtol=0.02)


def test_noise_makes_no_factors():
    _, values = scene(noise=0.05)
    table = values.reshape(BANDS, -1).T
    assert fit_pruned(table, np.ones(table.shape, bool), np.full(BANDS, 0.05), 13).loadings.shape[1] <= 5


def test_neighbours_tell_what_one_band_alone_shows():
    clean, values = scene(noise=0.002, local=0.3)
    missing = np.random.default_rng(1).random(values.shape) < 0.3
    model, view = fitted(values, missing)
    truth, struck = clean.reshape(BANDS, -1).T, missing.reshape(BANDS, -1).T
    told, _ = model.predict(view)
    alone = told - model.around.left_over(model, view.pixels)
    error = [np.sqrt(np.mean((answer - truth)[:, 17][struck[:, 17]] ** 2)) for answer in (told, alone)]
    assert error[0] < 0.7 * error[1]


def test_neighbours_are_not_heard_where_there_is_only_noise():
    _, values = scene(noise=0.02)
    model, _ = fitted(values, np.random.default_rng(1).random(values.shape) < 0.3)
    assert np.median(np.abs(model.around.slopes)) < 0.1


@pytest.mark.parametrize("missing", ["a corner", "all but one pixel of a band"])
def test_odd_masks_give_finite_predictions(missing):
    _, values = scene(noise=0.01)
    struck = np.zeros(values.shape, bool)
    if missing == "a corner":
        struck[:, :3, :3] = True
        struck[0] = False
    else:
        struck[5] = True
        struck[5, 7, 7] = False
    model, view = fitted(values, struck)
    mean, spread = model.predict(view)
    assert np.isfinite(mean).all()
    assert np.isfinite(spread).all()


def test_a_glint_in_five_pixels_is_told_from_half_of_its_voxels():
    rng = np.random.default_rng(3)
    clean, _ = scene(noise=0.0)
    shine = 1.0 + 0.3 * gaussian_filter(rng.standard_normal(BANDS), 1)
    for pixel, strength in zip((720, 721, 760, 761, 800), (1.5, 0.4, 0.35, 0.3, 0.15), strict=True):
        clean.reshape(BANDS, -1)[:, pixel] += strength * shine
    values = (clean + 1e-3 * rng.standard_normal(clean.shape)).astype(np.float32)
    missing = rng.random(values.shape) < 0.5
    model, view = fitted(values, missing)
    told, _ = model.predict(view)
    witnessed = ~missing.reshape(BANDS, -1)[:, [721, 760, 761, 800]].all(1)
    apart = (told - clean.reshape(BANDS, -1).T)[720, witnessed]
    assert np.abs(apart).max() < 0.05  # with a prior as tight as the noise it is 2
