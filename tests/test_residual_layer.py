"""The residual layer is exact at bound zero and keeps any other bound, whatever the reconstruction below it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palimpsest.codec.entropy import residual
from palimpsest.codec.entropy.planes import ChunkEncoder, MixerState, encode_table
from palimpsest.codec.integers import layers
from palimpsest.errors import StreamCorrupt


def made(seed: int, shape: tuple[int, int, int], noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    bands, rows, cols = shape
    smooth = np.cumsum(rng.normal(size=(bands, 1, 1)), axis=0) * 30 + rng.normal(size=(1, rows, cols)) * 50 + 1000
    exact = np.clip(np.rint(smooth + rng.normal(size=shape) * noise), 0, 65535).astype(np.int64)
    base = np.clip(np.rint(smooth), 0, 65535).astype(np.int64)
    return exact, base


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1), bands=st.integers(1, 7), rows=st.integers(1, 9), cols=st.integers(1, 9),
    max_error=st.integers(0, 6), previous=st.integers(0, 5), masked=st.booleans(),
)
def test_decoding_gives_what_encoding_saw_and_no_voxel_is_over_the_bound(
    seed, bands, rows, cols, max_error, previous, masked
):
    exact, base = made(seed, (bands, rows, cols), 20.0)
    usable = np.random.default_rng(seed).random(exact.shape) > (0.3 if masked else -1)
    bounds = np.random.default_rng(seed).integers(0, max_error + 1, bands)
    widths = 2 * bounds + 1
    if seed % 2:  # even values, an even width
        exact, bounds, widths = exact & ~1, bounds, 2 * bounds + 2
    predictor = residual.fit(exact, base, usable, previous, widths)
    residuals, rebuilt = residual.encode_residuals(exact, base, usable, predictor, widths, (0, 65535))
    assert np.array_equal(
        rebuilt, residual.decode_residuals(residuals, base, usable, predictor, widths, (0, 65535))
    )
    assert (np.abs(rebuilt - exact) * usable <= bounds[:, None, None]).all()
    assert np.array_equal(rebuilt[~usable], base[~usable])
    assert not residuals[~usable].any()


def test_the_extremes_of_thirty_two_bits_survive():
    rng = np.random.default_rng(5)
    exact = rng.integers(-(2**31), 2**31, (4, 6, 5))
    base = np.zeros_like(exact)
    usable = np.ones(exact.shape, bool)
    limits = (-(2**31), 2**31 - 1)
    none = np.ones(4, np.int64)
    predictor = residual.fit(exact, base, usable, 3, none)
    residuals, rebuilt = residual.encode_residuals(exact, base, usable, predictor, none, limits)
    assert np.array_equal(rebuilt, exact)
    assert np.array_equal(residual.decode_residuals(residuals, base, usable, predictor, none, limits), exact)


def test_a_correlated_cube_leaves_less_to_code_than_plain_differences():
    exact, base = made(3, (30, 24, 24), 1.0)
    usable = np.ones(exact.shape, bool)
    none = np.ones(30, np.int64)
    predictor = residual.fit(exact, base * 0, usable, 6, none)
    residuals, _ = residual.encode_residuals(exact, base * 0, usable, predictor, none, (0, 65535))
    plain = np.diff(exact, axis=2)
    assert np.abs(residuals[5:]).mean() < 0.5 * np.abs(plain[5:]).mean()


@pytest.mark.parametrize("previous", [0, 16])
def test_the_number_of_taps_is_what_the_coefficients_hold(previous):
    exact, base = made(1, (3, 5, 5), 2.0)
    predictor = residual.fit(exact, base, np.ones(exact.shape, bool), previous, np.ones(3, np.int64))
    assert predictor.coefficients.shape == (3, residual.taps(previous))


@pytest.mark.parametrize("is_plain", [False, True])
def test_a_section_gives_back_what_the_encoder_saw_within_each_band_s_bound(is_plain):
    exact, base = made(7, (5, 12, 9), 9.0)
    usable = np.random.default_rng(7).random(exact.shape) > 0.2
    bounds = np.array([0, 3, 7, 1, 20])
    widths = 2 * bounds + 1
    how = layers.Exactness(widths, is_plain)
    section, rebuilt = layers.encode_exact(exact, base, usable, how, (0, 65535))
    assert np.array_equal(layers.decode_exact(section, base, usable, widths, (0, 65535)), rebuilt)
    assert (np.abs(rebuilt - exact) * usable <= bounds[:, None, None]).all()


def test_the_first_writers_coefficients_are_still_read():
    exact, base = made(2, (4, 10, 8), 5.0)
    usable, none = np.ones(exact.shape, bool), np.ones(4, np.int64)
    predictor = residual.fit(exact, base, usable, 3, none)
    residuals, _ = residual.encode_residuals(exact, base, usable, predictor, none, (0, 65535))
    tables = (
        encode_table(predictor.coefficients.T.astype(np.int64), order=0),
        encode_table(predictor.offsets[None] >> 16, order=1), encode_table(predictor.offsets[None] & 0xFFFF, order=0),
    )
    encoder = ChunkEncoder(MixerState.neutral(), 2 * residuals.size)
    encoder.code(np.zeros(residuals.shape, np.int32), level=4)
    encoder.code(residuals.astype(np.int32), level=0)
    section = struct.pack("<BIII", 3, *map(len, tables)) + b"".join(tables) + encoder.finish()
    assert np.array_equal(layers.decode_exact(section, base, usable, none, (0, 65535)), exact)


def test_absurd_predictors_are_refused():
    exact, base = made(2, (4, 10, 8), 5.0)
    usable, none = np.ones(exact.shape, bool), np.ones(4, np.int64)
    section, _ = layers.encode_exact(exact, base, usable, layers.Exactness(none), (0, 65535))
    for spoiled in (b"", section[:9], bytes([128 + 4]) + section[1:], bytes([9]) + section[1:]):
        with pytest.raises(StreamCorrupt):
            layers.decode_exact(spoiled, base, usable, none, (0, 65535))
    numbers = (np.full((residual.taps(3), 4), 1 << 20), np.zeros((1, 4), np.int64), np.zeros((1, 4), np.int64))
    huge = [encode_table(table, order=0) for table in numbers]
    shifts = encode_table(np.full((1, 4), 3), order=1)
    spoiled = struct.pack("<BIIII", 128 + 3, *map(len, huge), len(shifts)) + b"".join(huge) + shifts
    with pytest.raises(StreamCorrupt, match="coefficients"):
        layers.decode_exact(spoiled, base, usable, none, (0, 65535))
