"""A restoration is the decoded cube plus an exact sum of named contributions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from palimpsest.cubes import BandTable, Cube, Window
from palimpsest.errors import CubeRefused
from palimpsest.restoration.result import Contribution, Decision, Restoration, on_grid


def small_restoration(dtype: str = "int16") -> Restoration:
    rng = np.random.default_rng(5)
    data = rng.integers(0, 1000, (4, 5, 6)).astype(dtype)
    restored = data.copy()
    voxels = np.sort(rng.choice(data.size, 30, replace=False)).astype(np.int64)
    first, second = rng.integers(-40, 40, 30) * 4 + 1, rng.integers(1, 40, 30) * 4 - 1
    restored.ravel()[voxels] += ((first + second) // 4).astype(dtype)
    full = np.full(30, 255, np.uint8)
    cube = Cube(data, BandTable(4))
    return Restoration(
        cube, cube.with_data(restored, "restored"), 0.25,
        (Decision("correlation.low_rank", "others say"), Decision("rule", "bounds", rule="urn:r")),
        (
            Contribution(0, voxels[:10], first[:10], full[:10]), Contribution(0, voxels[10:], first[10:], full[10:]),
            Contribution(1, voxels, second, full),
        ),
        voxels, np.ones(30, np.float32), np.zeros(data.shape, np.uint8), np.zeros(data.shape, np.uint8),
    )


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_contributions_of_a_pixel_sum_to_restored_minus_decoded(dtype: str):
    result = small_restoration(dtype)
    assert result.is_exact()
    for row in range(5):
        for col in range(6):
            moved = np.zeros(4)
            for point in result.contributions_at(row, col):
                moved[point.band] += point.value
            difference = result.restored.data[:, row, col].astype(float) - result.decoded.data[:, row, col]
            assert np.array_equal(moved, difference)


def test_one_quantum_too_many_is_noticed():
    result = small_restoration()
    values = result.contributions[2].values.copy()
    values[3] += 1
    wrong = replace(result, contributions=(*result.contributions[:2], replace(result.contributions[2], values=values)))
    assert not wrong.is_exact()


def test_windows_split_the_sum_and_keep_its_order():
    result = small_restoration()
    total = result.summed()
    for window in (Window(0, 2, 0, 6), Window(2, 5, 1, 4)):
        part = np.zeros((4, window.rows, window.cols), np.int64)
        decisions = []
        for contribution in result.within(window):
            decisions.append(contribution.decision)
            assert np.all(np.diff(contribution.voxels) > 0)
            part.ravel()[contribution.voxels] += contribution.values
        assert decisions == sorted(set(decisions))
        assert np.array_equal(part, total[(slice(None), *window.slices)])


def test_the_hash_of_a_window_sees_every_quantum():
    result = small_restoration()
    values = result.contributions[2].values.copy()
    values[0] += 1
    other = replace(result, contributions=(*result.contributions[:2], replace(result.contributions[2], values=values)))
    whole = Window(0, 5, 0, 6)
    assert result.hash_within(whole) == small_restoration().hash_within(whole) != other.hash_within(whole)


def test_large_integers_are_exact_on_the_grid_and_no_number_is_zero():
    assert on_grid(np.array([4294967295], np.uint32), 2.0**-10)[0] == 4294967295 * 1024
    assert on_grid(np.array([np.nan, np.inf, 0.5], np.float32), 0.25).tolist() == [0, 0, 2]


def test_a_pixel_outside_is_refused():
    with pytest.raises(CubeRefused, match="no such pixel"):
        small_restoration().contributions_at(5, 0)
