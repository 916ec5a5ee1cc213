"""Made scenes for the judge have the faults of recorded ones."""

from __future__ import annotations

import numpy as np
import pytest

from palimpsest_pipelines.restoration_training import faults

CENTRES = np.linspace(420.0, 2450.0, 180)


def test_gains_differ_in_stretches_and_by_place_and_stay_bounded():
    drawn = [faults.gains(np.random.default_rng(seed), CENTRES, 12, 10) for seed in range(12)]
    for gain in drawn:
        assert gain.shape == (180, 12, 10)
        assert (np.abs(np.log(gain)) <= faults._LARGEST + 1e-9).all()
    assert any(np.ptp(gain, axis=(1, 2)).max() > 0.01 for gain in drawn)
    logs = np.stack([np.log(gain).mean((1, 2)) for gain in drawn])
    assert np.abs(np.diff(logs)).mean() < 0.5 * np.abs(logs).mean()  # neighbours err alike
    assert np.allclose(drawn[3], faults.gains(np.random.default_rng(3), CENTRES, 12, 10))


def test_rims_of_opaque_windows_err_most():
    near = ((CENTRES > 1340) & (CENTRES < 1450)) | ((CENTRES > 1800) & (CENTRES < 1960))
    far = (CENTRES > 1500) & (CENTRES < 1700)
    logs = np.stack([np.log(faults.gains(np.random.default_rng(s), CENTRES, 4, 4)).mean((1, 2)) for s in range(30)])
    assert np.abs(logs[:, near]).mean() > 1.5 * np.abs(logs[:, far]).mean()


def test_a_polished_product_is_smoother_and_a_bridged_one_straight():
    rough = np.random.default_rng(0).random((180, 3, 2))
    made = [faults.polished(np.random.default_rng(seed), CENTRES)(rough) for seed in range(60)]
    bends = np.array([np.abs(np.diff(values, 2, axis=0)).mean() for values in made])
    untouched = np.abs(np.diff(rough, 2, axis=0)).mean()
    assert (bends <= untouched + 1e-12).all()
    assert (bends < 0.7 * untouched).any()
    assert np.isclose(bends, untouched).any()
    inside = (CENTRES > 900) & (CENTRES < 985)
    assert any(np.abs(np.diff(values[inside], 2, axis=0)).max() < 1e-9 for values in made)


@pytest.mark.parametrize("seed", range(4))
def test_centres_are_shifted_smoothly_and_stray_light_is_never_dark(seed):
    rng = np.random.default_rng(seed)
    shift = faults.shift_of(rng, CENTRES)
    assert np.abs(shift).max() < 15
    assert np.abs(np.diff(shift)).max() < 1.0
    assert (faults.stray(rng, 0.3, 180) >= 0).all()
