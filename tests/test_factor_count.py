"""How many factors a small scene is given: as many as hidden voxels ask for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from palimpsest.cubes import BandTable
from palimpsest.restoration.factors import factor_count
from palimpsest.restoration.factors.factor_count import PIXELS_A_FACTOR, fit_scene_factors
from palimpsest.restoration.view import Axis, View

BANDS, PIXELS = 80, 400
FEW = PIXELS // PIXELS_A_FACTOR[0]


def half_shown(whole: np.ndarray) -> View:
    usable = np.random.default_rng(3).random(whole.shape) < 0.5
    axis = Axis.of(BandTable(count=whole.shape[1]))
    return View(axis, np.arange(len(whole)), np.where(usable, whole, 0).astype(np.float32), usable, 1.0)


def scene(materials: int, pixels: int = PIXELS, seed: int = 0) -> np.ndarray:
    """Unlike pixels of some materials, ``(pixel, band)``, without noise."""
    rng = np.random.default_rng(seed)
    spectra = gaussian_filter1d(rng.standard_normal((materials, BANDS)), 2, axis=1)
    return 0.5 + 0.1 * rng.standard_normal((pixels, materials)) @ spectra


def error_of(view: View, whole: np.ndarray) -> tuple[int, float]:
    model = fit_scene_factors(view, np.full(BANDS, 0.01))
    assert model is not None
    missed = (model.predict(view)[0] - whole)[~view.usable]
    return model.loadings.shape[1], float(np.square(missed).mean())


def test_a_small_scene_of_many_materials_gets_the_factors_that_it_bears(monkeypatch):
    whole = scene(12) + 1e-4 * np.random.default_rng(1).standard_normal((PIXELS, BANDS))
    number, error = error_of(half_shown(whole), whole)
    monkeypatch.setattr(factor_count, "PIXELS_A_FACTOR", PIXELS_A_FACTOR[:1])
    before, without = error_of(half_shown(whole), whole)
    assert before == FEW < 12 <= number
    assert error < 0.1 * without


def test_noise_that_neighbouring_bands_share_asks_for_no_factors():
    noise = gaussian_filter1d(np.random.default_rng(2).standard_normal((PIXELS, BANDS)), 1.5, axis=1)
    whole = scene(8) + 0.03 * noise / noise.std()
    assert error_of(half_shown(whole), whole)[0] == FEW


def test_where_too_few_voxels_could_be_hidden_nobody_is_asked():
    whole = scene(12, 100)
    few = half_shown(whole)  # hidden are some 200
    assert error_of(few, whole)[0] == 100 // PIXELS_A_FACTOR[0]


def test_a_scene_of_many_pixels_is_not_asked(monkeypatch):
    def refuse(*_: object) -> int:
        raise AssertionError

    monkeypatch.setattr(factor_count, "_asked_for", refuse)
    pixels = PIXELS_A_FACTOR[0] * factor_count.SCENE_FACTORS
    assert fit_scene_factors(half_shown(scene(12, pixels)), np.full(BANDS, 0.01)) is not None
    with pytest.raises(AssertionError):
        fit_scene_factors(half_shown(scene(12, PIXELS)), np.full(BANDS, 0.01))
