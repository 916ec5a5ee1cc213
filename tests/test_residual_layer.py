"""The residual layer is exact at bound zero and keeps any other bound, whatever the reconstruction below it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palimpsest.codec import residual


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
    predictor = residual.fit(exact, base, usable, previous)
    residuals, rebuilt = residual.encode_residuals(exact, base, usable, predictor, max_error, (0, 65535))
    assert np.array_equal(
        rebuilt, residual.decode_residuals(residuals, base, usable, predictor, max_error, (0, 65535))
    )
    assert np.abs(rebuilt - exact)[usable].max(initial=0) <= max_error
    assert np.array_equal(rebuilt[~usable], base[~usable])
    assert not residuals[~usable].any()


def test_the_extremes_of_thirty_two_bits_survive():
    rng = np.random.default_rng(5)
    exact = rng.integers(-(2**31), 2**31, (4, 6, 5))
    base = np.zeros_like(exact)
    usable = np.ones(exact.shape, bool)
    limits = (-(2**31), 2**31 - 1)
    predictor = residual.fit(exact, base, usable, 3)
    residuals, rebuilt = residual.encode_residuals(exact, base, usable, predictor, 0, limits)
    assert np.array_equal(rebuilt, exact)
    assert np.array_equal(residual.decode_residuals(residuals, base, usable, predictor, 0, limits), exact)


def test_a_correlated_cube_leaves_less_to_code_than_plain_differences():
    exact, base = made(3, (30, 24, 24), 1.0)
    usable = np.ones(exact.shape, bool)
    predictor = residual.fit(exact, base * 0, usable, 6)
    residuals, _ = residual.encode_residuals(exact, base * 0, usable, predictor, 0, (0, 65535))
    plain = np.diff(exact, axis=2)
    assert np.abs(residuals[5:]).mean() < 0.5 * np.abs(plain[5:]).mean()


@pytest.mark.parametrize("previous", [0, 16])
def test_the_number_of_taps_is_what_the_coefficients_hold(previous):
    exact, base = made(1, (3, 5, 5), 2.0)
    predictor = residual.fit(exact, base, np.ones(exact.shape, bool), previous)
    assert predictor.coefficients.shape == (3, residual.taps(previous))
