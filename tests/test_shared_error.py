"""How much of the error all pixels share is told by the bands that show: alike for light, apart for mixtures."""

from dataclasses import replace

import numpy as np
import pytest

from palimpsest.knowledge.releases.release import load
from palimpsest.restoration.restorer import damage_of
from palimpsest.restoration.study.shared_error import shared_error
from palimpsest.restoration.study.study import study
from palimpsest.scenes import make_scene
from palimpsest_pipelines.restoration_benchmark.cases import scene_cases, whole_bands


@pytest.fixture(scope="module")
def scene():
    return whole_bands(make_scene(24, 24, seed=9, sensor="enmap", kind="urban").observed)


def part_of(cube, knowledge):
    case = next(scene_cases("s", cube, ("wide:three_runs_of_15",)))
    return shared_error(study(case.struck, damage_of(case.struck, case.usable), knowledge))


def test_a_scene_of_the_library_errs_in_each_pixel_and_one_of_another_calibration_in_all_alike(scene):
    knowledge = load(None)
    own = part_of(scene, knowledge)
    rng = np.random.default_rng(1)
    gain = np.exp(0.1 * rng.normal(size=(scene.shape.bands, 1, 1)))  # no smooth light explains it
    wrong = replace(scene, data=np.rint(scene.data * gain).astype(scene.data.dtype))
    alike = part_of(wrong, knowledge)
    assert 0 < own < 0.4
    assert own + 0.3 < alike <= 1


def test_without_knowledge_lines_tell_it(scene):
    rng = np.random.default_rng(2)
    apart = part_of(scene, None)
    assert 0 < apart < 1
    # Pixels that are one spectrum under more or less light, and a spectrum that no line is: all are off alike.
    spectrum = 2000 + 500 * np.sin(np.arange(scene.shape.bands) / 3)
    light = 1 + 0.01 * rng.normal(size=scene.data.shape[1:])
    one = replace(scene, data=np.rint(spectrum[:, None, None] * light).astype(scene.data.dtype))
    assert part_of(one, None) > 0.95
    # Each its own spectrum about a mean without curvature: hardly anything is shared.
    own = 3000 + 300 * rng.normal(size=scene.data.shape)
    assert part_of(replace(scene, data=np.rint(own).astype(scene.data.dtype)), None) < 0.05


def test_a_scene_in_which_nothing_is_left_over_is_one_and_finite(scene):
    flat = replace(scene, data=np.full_like(scene.data, 700))
    assert part_of(flat, None) == pytest.approx(1)
