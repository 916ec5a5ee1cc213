"""Which factors denoising keeps, what neighbouring bands lend each other, and how sure it says it is."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from palimpsest.restoration.denoising.denoiser import denoise
from palimpsest.restoration.factors.robust_factors import fit_robust

SIDE, BANDS, SIGMA = 48, 60, 0.05


def field(seed, blur):
    image = gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE, SIDE)), blur)
    return ((image - image.mean()) / image.std()).reshape(-1, 1)


def spectrum(number):
    shape = np.sin(np.linspace(0, np.pi, BANDS) * number)
    return shape / np.linalg.norm(shape)


def denoised(clean, sigma=SIGMA, seed=7):
    noise = sigma * np.random.default_rng(seed).standard_normal(clean.shape)
    values = (clean + noise).astype(np.float32)
    trusted = np.ones(values.shape, bool)
    fitted = fit_robust(values, trusted, SIDE, SIDE)
    return denoise(values, trusted, fitted.model, SIDE, SIDE)


def rms(difference):
    return float(np.sqrt(np.square(difference).mean()))


@pytest.fixture(scope="module")
def weak():
    """A strong factor and one of a third of the noise's power, whose image neighbouring pixels share or do not."""
    strong, image = field(0, 3) @ spectrum(1)[None] * 10 * SIGMA, field(1, 5)
    strange = np.random.default_rng(2).permutation(image)
    return tuple(0.5 + strong + part @ spectrum(3)[None] * 0.6 * SIGMA for part in (image, strange))


def test_a_weak_factor_stays_if_neighbouring_pixels_share_it_and_only_then(weak):
    shared, strange = (denoised(clean) for clean in weak)
    assert shared.factors == 2
    assert strange.factors == 1
    left = (shared.values - weak[0]) @ spectrum(3)
    assert rms(left) < 0.6 * 0.6 * SIGMA  # dropped, it would be wrong by all that it is


def test_a_noisy_band_is_told_better_by_quiet_ones_on_both_sides_than_by_itself():
    images = np.concatenate([field(seed, 3) for seed in range(5)], axis=1)
    smooth = np.stack([spectrum(number) for number in range(1, 6)])
    rough = smooth[:, np.random.default_rng(3).permutation(BANDS)]
    sigma = np.where(np.arange(BANDS) % 4 == 0, 8 * SIGMA, SIGMA / 4)
    noisy = sigma > SIGMA
    errors = []
    for spectra in (smooth, rough):
        clean = 0.5 + 3 * SIGMA * images @ spectra
        found = denoised(clean, sigma)
        errors.append(rms((found.values - clean)[:, noisy]))
    assert errors[0] < 0.75 * errors[1]


@pytest.mark.parametrize("sigma", [SIGMA, np.linspace(SIGMA / 20, SIGMA, BANDS)], ids=["even", "by band"])
def test_nine_of_ten_errors_lie_within_what_is_claimed(weak, sigma):
    found = denoised(weak[0], sigma)
    inside = np.abs(found.values - weak[0]) <= 1.645 * 1.4 * found.spread
    assert 0.86 < inside.mean() < 0.99
