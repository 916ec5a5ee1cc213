"""Loadings that neighbouring bands hold: less of single bands' noise, and nothing taken from bands unlike them."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from palimpsest.restoration.factors.band_prior import held_by_neighbours
from palimpsest.restoration.factors.low_rank import LowRank, fit_pruned

BANDS, PIXELS, MATERIALS, NOISE = 80, 300, 5, 0.03
ODD = 41


def scene(*, is_odd: bool = False, bands: int = BANDS) -> tuple[np.ndarray, np.ndarray]:
    """A scene without noise, and with; one band may be noisier and of other spectra. Each ``(pixel, band)``."""
    rng = np.random.default_rng(4)
    spectra = gaussian_filter1d(rng.standard_normal((MATERIALS, bands)), 4, axis=1)
    if is_odd:
        spectra[:, ODD] = 2 * rng.standard_normal(MATERIALS)
    shares = rng.standard_normal((PIXELS, MATERIALS))
    clean = 0.5 + 0.2 * shares @ spectra
    noise = np.full(bands, NOISE)
    if is_odd:
        noise[ODD] *= 10
    return clean, (clean + noise * rng.standard_normal(clean.shape)).astype(np.float32)


def fitted(values: np.ndarray) -> tuple[LowRank, LowRank]:
    usable = np.ones(values.shape, bool)
    model = fit_pruned(values, usable, np.full(values.shape[1], NOISE), 6)
    assert model is not None
    return model, held_by_neighbours(model, values, usable)


def error_of(model: LowRank, clean: np.ndarray, values: np.ndarray, bands: list[int]) -> float:
    """Of bands that are lost in pixels that the model has not seen."""
    lost = np.zeros(values.shape, bool)
    lost[:, bands] = True
    told = model.predict_bands(np.where(lost, 0, values).astype(np.float32), ~lost, slice(None))
    return float(np.square(told - clean)[lost].mean())


def test_lost_bands_of_a_noisy_scene_are_told_better():
    clean, values = scene()
    alone, held = fitted(values[:80])
    rest = slice(80, None)
    bands = list(range(5, BANDS, 10))
    assert error_of(held, clean[rest], values[rest], bands) < 0.8 * error_of(alone, clean[rest], values[rest], bands)


def test_a_band_unlike_its_neighbours_keeps_its_loadings_and_lends_none():
    clean, values = scene(is_odd=True)
    alone, held = fitted(values)
    np.testing.assert_array_equal(held.loadings[ODD], alone.loadings[ODD])
    beside = [ODD - 2, ODD - 1, ODD + 1, ODD + 2]
    assert error_of(held, clean, values, beside) <= error_of(alone, clean, values, beside)


def test_without_noise_hardly_a_loading_moves():
    clean, _ = scene(is_odd=True)
    alone, held = fitted(clean.astype(np.float32))
    np.testing.assert_allclose(held.loadings, alone.loadings, atol=1e-3 * np.abs(alone.loadings).max())


def test_a_sensor_of_few_bands_keeps_its_model():
    _, values = scene(bands=7)
    alone, held = fitted(values)
    np.testing.assert_array_equal(held.loadings, alone.loadings)
