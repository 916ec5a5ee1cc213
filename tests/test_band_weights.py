"""Where importance stops: at a band's noise, and only where it is noise for certain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.contract import EncodeSettings
from palimpsest.codec.encoder import Encoder
from palimpsest.cubes import BandTable, Cube, ImportanceMap

if TYPE_CHECKING:
    from palimpsest.codec.weighing import BandWeights

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
    return Encoder(cube, EncodeSettings(bpppc=0.5, strength=0.5), asked).weights


def white() -> np.ndarray:
    return np.random.default_rng(4).normal(0, SIGMA, (BANDS, SIDE, SIDE))


def test_the_noise_of_a_band_is_found() -> None:
    assert np.allclose(weights_of(white()).noise, SIGMA, rtol=0.2)


def test_importance_asks_for_no_finer_an_error_than_the_noise_of_its_band() -> None:
    weights = weights_of(white())
    step = np.sqrt(12) * SIGMA * weights.asked.mean()
    held, taken = weights.at(step)
    error = taken / np.sqrt(12) / held
    assert error[5] > 2 * step / np.sqrt(12) / weights.asked[5]
    assert 0.6 * SIGMA < error[5] < 1.1 * SIGMA


def test_coarse_steps_leave_importance_as_it_was() -> None:
    weights = weights_of(white())
    assert np.array_equal(weights.at(1e3 * SIGMA)[0], weights.asked)


def test_what_neighbouring_pixels_share_is_no_noise() -> None:
    noise = white()
    shared = (noise + np.roll(noise, 1, axis=1) + np.roll(noise, 1, axis=2)) / np.sqrt(3)
    assert (weights_of(shared).noise == 0).all()
