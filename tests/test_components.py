"""Which components are sent: a smooth one below the distortion, no white one that costs more than it saves."""

from __future__ import annotations

import numpy as np
import pytest

from palimpsest.codec.contract import EncodeSettings
from palimpsest.codec.encoder import encode
from palimpsest.codec.encoding.cube_encoder import CubeEncoder
from palimpsest.codec.spectrum import components
from palimpsest.cubes import BandTable, Cube

BANDS, SIDE, STEP = 12, 64, 40.0


def of_fields(fields: np.ndarray) -> Cube:
    """A cube of orthogonal spectra, one a field ``(field, row, col)``."""
    rng = np.random.default_rng(0)
    spectra = np.linalg.qr(rng.normal(size=(BANDS, len(fields))))[0]
    data = np.tensordot(spectra, fields, 1)
    return Cube(np.rint(data + 2000).astype(np.int16), BandTable(BANDS))


def scaled(field: np.ndarray, deviation: float) -> np.ndarray:
    return (field - field.mean()) / field.std() * deviation


def fields_with(second: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(1)
    strong = scaled(np.cumsum(np.cumsum(rng.normal(size=(SIDE, SIDE)), 0), 1), 400.0)
    return np.stack([strong, second])


def sent(cube: Cube) -> int:
    settings = EncodeSettings(bpppc=0.5, strength=0, workers=1)
    return CubeEncoder(cube, settings, None).level_at(STEP).components


def test_a_smooth_component_below_the_distortion_is_sent_and_a_white_one_above_it_is_not():
    rng = np.random.default_rng(2)
    rows, cols = np.mgrid[:SIDE, :SIDE] / SIDE
    distortion = STEP / np.sqrt(12)
    smooth = scaled(np.sin(5 * rows) + np.cos(4 * cols), 0.7 * distortion)
    white = scaled(rng.normal(size=(SIDE, SIDE)), 1.1 * distortion)
    assert sent(of_fields(fields_with(smooth))) == 2
    assert sent(of_fields(fields_with(white))) == 1


def test_one_component_is_always_sent():
    assert sent(of_fields(np.zeros((1, SIDE, SIDE)))) == 1


def test_static_bits_are_those_of_an_ideal_code():
    rng = np.random.default_rng(3)
    ones = (rng.random((1, 100_000)) < 0.1).astype(np.int32)
    share = ones.mean()
    ideal = ones.size * (-share * np.log2(share) - (1 - share) * np.log2(1 - share)) + ones.sum()  # and their signs
    assert components.static_bits(ones)[0] == pytest.approx(ideal, rel=1e-6)
    assert components.static_bits(np.zeros((2, 50), np.int32)) == pytest.approx([0, 0], abs=1e-3)


def test_windows_looked_at_are_few_spread_and_inside():
    windows = components.looked_at(1000, 700, 256)
    assert sum(w.rows * w.cols for w in windows) <= components.PIXELS
    assert len({w.row0 for w in windows}) > 1
    assert len({w.col0 for w in windows}) > 1
    assert all(w.row1 <= 1000 and w.col1 <= 700 for w in windows)
    assert sum(w.rows * w.cols for w in components.looked_at(30, 20, 256)) == 600


@pytest.mark.parametrize("effort", [1, 5])
@pytest.mark.parametrize("rate", [0.2, 0.8, 2.5])
def test_a_rate_at_which_all_of_the_noise_comes_in_at_once_is_met(rate, effort):
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(BANDS, SIDE, SIDE)) * 20
    cube = of_fields(fields_with(np.zeros((SIDE, SIDE))))
    cube = cube.with_data(np.rint(cube.data + noise).astype(np.int16), "noise added")
    report = encode(cube, EncodeSettings(bpppc=rate, strength=0, effort=effort, workers=1))
    assert report.bpppc == pytest.approx(rate, rel=0.02)
