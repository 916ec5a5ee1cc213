"""Where importance stops: at a band's noise, and only where it is noise for certain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.contract import EncodeSettings
from palimpsest.codec.encoding.cube_encoder import CubeEncoder
from palimpsest.codec.spectrum import spectral
from palimpsest.cubes import BandTable, Cube, ImportanceMap

if TYPE_CHECKING:
    from palimpsest.codec.spectrum.weighing import BandWeights

BANDS, SIDE, SIGMA = 24, 96, 6.0


def weights_of(noise: np.ndarray) -> BandWeights:
    """What an encoder makes of a smooth scene with this added, band 5 being important."""
    rng = np.random.default_rng(3)
    row, col = np.mgrid[:SIDE, :SIDE] / SIDE
    places = np.stack([np.ones_like(row), row, np.sin(6 * col), row * col])
    ground = np.tensordot(rng.uniform(100, 400, (BANDS, 4)), places, axes=1)
    cube = Cube(np.rint(ground + noise).astype(np.int16) + 1000, BandTable(BANDS))
    profile = np.ones(BANDS)
    profile[5] = 6.0
    asked = ImportanceMap(
        (profile / np.sqrt((profile**2).mean()))[None], np.zeros((SIDE, SIDE), np.uint8),
        np.ones((SIDE, SIDE), np.float32), "release",
    )
    return CubeEncoder(cube, EncodeSettings(bpppc=0.5, strength=0.5), asked).weights


def white() -> np.ndarray:
    return np.random.default_rng(4).normal(0, SIGMA, (BANDS, SIDE, SIDE))


def test_the_noise_of_a_band_is_found() -> None:
    assert np.allclose(weights_of(white()).noise, SIGMA, rtol=0.2)


def test_importance_asks_for_no_finer_an_error_than_the_noise_of_its_band() -> None:
    weights = weights_of(white())
    asked = np.sqrt(np.diag(weights.asked))
    step = np.sqrt(12) * SIGMA * asked.mean()
    held, taken = weights.at(step)
    error = taken / np.sqrt(12) / np.sqrt(np.diag(held))
    assert error[5] > 2 * step / np.sqrt(12) / asked[5]
    assert 0.6 * SIGMA < error[5] < 1.1 * SIGMA


def test_noise_that_nothing_hangs_on_may_be_kept() -> None:
    weights = weights_of(white())
    step = np.sqrt(12) * SIGMA * np.sqrt(np.diag(weights.asked)).mean() / 4
    held, taken = weights.at(step)
    error = taken / np.sqrt(12) / np.sqrt(np.diag(held))
    assert np.allclose(np.delete(error, 5), step / np.sqrt(12) / np.sqrt(weights.floor[0]), rtol=1e-6)
    assert error[5] > 1.5 * np.delete(error, 5).min()


def test_coarse_steps_leave_importance_as_it_was() -> None:
    weights = weights_of(white())
    assert np.array_equal(weights.at(1e3 * SIGMA)[0], weights.asked)


def test_what_neighbouring_pixels_share_is_no_noise() -> None:
    noise = white()
    shared = (noise + np.roll(noise, 1, axis=1) + np.roll(noise, 1, axis=2)) / np.sqrt(3)
    assert (weights_of(shared).noise == 0).all()


def ground(pixels: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(8)
    return rng.normal(0, 1, (BANDS, 4)) @ rng.normal(0, 60, (4, pixels)) + rng.normal(0, 3, (BANDS, pixels)) + 900


def test_errors_under_a_metric_avoid_what_costs() -> None:
    values = ground()
    shape = np.random.default_rng(9).normal(0, 1, BANDS)
    shape /= np.linalg.norm(shape)
    metric = 20 * np.outer(shape, shape) + 0.2 * np.eye(BANDS)
    metric /= np.trace(metric) / BANDS
    statistics = spectral.gather([values.T], BANDS)

    def errors(weights: np.ndarray, step: float) -> tuple[float, float]:
        level = spectral.fit(statistics, weights, step, least=0.0)
        unit = 1 << level.fraction_bits
        coarse = np.rint(level.analyse(values) / unit).astype(np.int32) * unit
        off = level.synthesise(coarse) - values
        return float(((shape @ off) ** 2).mean()), float((off**2).mean())

    by_metric = errors(metric, 12.0)
    by_band = errors(np.sqrt(np.diag(metric)), 12.0)
    assert by_metric[0] < by_band[0] / 5, "the direction that costs is kept far better"
    assert by_metric[1] < 12 * by_band[1]


def test_a_metric_that_is_diagonal_is_weights_by_band() -> None:
    values = ground()
    statistics = spectral.gather([values.T], BANDS)
    weights = np.sqrt(np.linspace(0.5, 1.5, BANDS))
    levels = [spectral.fit(statistics, w, 2.0, least=0.0) for w in (weights, np.diag(weights**2))]
    planes = [np.abs(level.analyse(values)).astype(float) for level in levels]
    assert np.allclose(planes[0], planes[1], rtol=0.02, atol=64)
