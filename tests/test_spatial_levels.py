"""Spatial levels come back integer for integer, at every size, and tell how far errors spread."""

import numpy as np
import pytest

from palimpsest.codec.space.spatial import LARGEST_SAMPLE, LevelTransform
from palimpsest.errors import CubeRefused, UsageError

SIZES = [(1, 1), (1, 7), (7, 1), (2, 2), (2, 3), (3, 5), (16, 16), (17, 31), (64, 33)]


def noise(shape, seed=0, top=1 << 20):
    return np.random.default_rng(seed).integers(-top, top, shape).astype(np.int32)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("levels", [0, 1, 3, 5])
def test_every_size_comes_back_integer_for_integer(shape, levels):
    plane = noise(shape)
    transform = LevelTransform()
    pyramid = transform.analyse(plane, levels)
    assert pyramid.levels == levels
    assert pyramid.coarse.size + sum(part.size for level in pyramid.details for part in level) == plane.size
    np.testing.assert_array_equal(transform.synthesise(pyramid), plane)


def test_a_pyramid_stops_at_the_level_asked_for():
    transform = LevelTransform()
    plane = noise((40, 30))
    np.testing.assert_array_equal(
        transform.synthesise(transform.analyse(plane, 4), down_to_level=2), transform.analyse(plane, 2).coarse
    )


def test_a_ramp_leaves_no_detail():
    ramp = (np.arange(64)[:, None] * 256 + np.arange(64)[None] * 512).astype(np.int32)
    hl, lh, hh = LevelTransform().analyse(ramp, 1).details[0]
    for part in (hl, lh, hh):
        assert np.abs(part[4:-4, 4:-4]).max() <= 4  # rounding of four lifting steps


def test_gains_predict_the_error_that_quantisation_causes():
    transform = LevelTransform()
    plane = noise((128, 128), top=1 << 18)
    gains = transform.synthesis_gains(3)
    pyramid = transform.analyse(plane, 3)
    for level in range(3):
        for orientation in range(3):
            details = [list(parts) for parts in pyramid.details]
            error = noise(details[level][orientation].shape, seed=level, top=4000)
            details[level][orientation] = details[level][orientation] + error
            spread = transform.synthesise(type(pyramid)(pyramid.coarse, tuple(map(tuple, details)))) - plane
            measured = np.sqrt((spread.astype(float) ** 2).sum() / (error.astype(float) ** 2).sum())
            assert measured == pytest.approx(gains.details[level][orientation], rel=0.1)


def test_the_largest_samples_survive_and_larger_ones_are_refused():
    plane = np.where(np.indices((32, 32)).sum(0) % 2, LARGEST_SAMPLE, -LARGEST_SAMPLE).astype(np.int32)
    transform = LevelTransform()
    np.testing.assert_array_equal(transform.synthesise(transform.analyse(plane, 3)), plane)
    with pytest.raises(CubeRefused, match="too large"):
        transform.analyse(plane * 2, 1)
    with pytest.raises(CubeRefused):
        transform.analyse(np.zeros((0, 4), np.int32), 1)
    with pytest.raises(UsageError):
        LevelTransform("haar")


@pytest.mark.parametrize("variant", ["cdf97", "trained"])
@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 21, 35), (2, 1, 9), (1, 5, 1)])
def test_many_planes_at_a_time_are_those_of_one_after_the_other(variant, shape):
    transform = LevelTransform(variant)
    planes = np.random.default_rng(4).integers(-40_000, 40_000, shape).astype(np.int32)
    pyramids = [transform.analyse(plane, 3) for plane in planes]
    coarse = np.stack([pyramid.coarse for pyramid in pyramids])
    details = [tuple(np.stack([p.details[n][o] for p in pyramids]) for o in range(3)) for n in range(3)]
    assert np.array_equal(transform.synthesise_stack(coarse, details), planes)
    half = np.stack([transform.synthesise(pyramid, 1) for pyramid in pyramids])
    assert np.array_equal(transform.synthesise_stack(coarse, details, 1), half)
