"""Who may propose values for a gap, and what they can and cannot say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from restoration_cubes import GRID, cube_of, error_db, knowledge, mixtures, with_gap
from scipy.interpolate import PchipInterpolator

from palimpsest.cubes import BandTable, Cube, Reason
from palimpsest.restoration import restore
from palimpsest.restoration.integrator.network import Integrator
from palimpsest.restoration.library.illumination import shapes
from palimpsest.restoration.library.semantic_mapper import dark_signal, library_for, read_scene
from palimpsest.restoration.spectrum.interpolation import linear, pchip
from palimpsest.restoration.spectrum.kriging import carry
from palimpsest.restoration.study.context import RUN_FEATURES, SOURCE_FEATURES
from palimpsest.restoration.study.sources import KNOWLEDGE, KRIGING, LIT, SOURCES
from palimpsest.restoration.study.study import study
from palimpsest.restoration.view import Axis, View
from palimpsest_pipelines.restoration_training import examples as restoration_examples
from palimpsest_pipelines.restoration_training.batches import merged
from palimpsest_pipelines.restoration_training.examples import is_for_learning, made_examples


def gap_of(first: int, last: int) -> np.ndarray:
    gap = np.zeros(len(GRID), bool)
    gap[first:last] = True
    return gap


def test_a_residual_is_kept_at_the_rim_and_gone_far_inside():
    axis, gap = Axis.of(BandTable(len(GRID), GRID)), gap_of(40, 84)
    carried = carry(axis, gap, np.ones((1, len(GRID))), 80.0)[0]
    assert np.all(carried[:40] == 0)
    assert carried[40] > 0.6
    assert np.all(np.diff(carried[40:]) < 0)
    assert carried[60] < 0.01


def test_between_close_rims_a_residual_goes_straight():
    axis, gap = Axis.of(BandTable(len(GRID), GRID)), gap_of(40, 42)
    left = np.where(np.arange(len(GRID)) < 41, 1.0, 2.0)[None]
    carried = carry(axis, gap, left, 2000.0)[0]
    assert carried[40] == pytest.approx(4 / 3, abs=0.05)
    assert carried[41] == pytest.approx(5 / 3, abs=0.05)


def test_nothing_observed_leaves_nothing_to_carry():
    axis = Axis.of(BandTable(len(GRID), GRID))
    assert not carry(axis, np.ones(len(GRID), bool), np.ones((2, len(GRID))), 80.0).any()


def raw_numbers(dark: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts under a sun and an atmosphere, ``(band, row, col)``, and the gain."""
    gain = np.exp(shapes(GRID, knowledge().windows) @ np.array([0.0, 0.8, 1.0, 0.0, 0.0]))
    gain /= gain.max()
    return mixtures() * gain[:, None, None] * 8000 + dark, gain


@pytest.mark.parametrize("dark", [0.0, 1000.0])
def test_what_is_stored_without_light_is_found_where_the_air_is_shut(dark: float):
    truth, _ = raw_numbers(dark)
    library = library_for(Axis.of(BandTable(len(GRID), GRID)), knowledge())
    means = truth.reshape(len(GRID), -1).T[::10]
    found = dark_signal(means, np.ones(len(GRID), bool), library.shut)
    assert abs(found - dark) < 150
    assert dark_signal(means, ~library.shut, library.shut) == 0.0
    assert read_scene(library, means, np.ones(len(GRID), bool), lit=False).dark == found


def test_reflectance_is_not_taken_for_a_dark_signal():
    library = library_for(Axis.of(BandTable(len(GRID), GRID)), knowledge())
    means = mixtures().reshape(len(GRID), -1).T[::10]
    assert dark_signal(means, np.ones(len(GRID), bool), library.shut) == 0.0


def test_an_end_of_the_range_of_raw_numbers_comes_back_and_the_dark_signal_is_named():
    truth, _ = raw_numbers(1000.0)
    truth = np.rint(truth)
    reasons = np.zeros(truth.shape, np.uint8)
    reasons[62:] = Reason.DEAD
    cube = Cube(np.where(reasons, 0, truth).astype(np.int16), BandTable(len(GRID), GRID), reasons=reasons, name="raw")
    result = restore(cube, knowledge=knowledge())
    held = np.broadcast_to(truth[61], truth[62:].shape)
    assert result.is_exact()
    where = reasons > 0
    assert error_db(result.restored.data, truth, where) > error_db(held, truth[62:], where[62:])
    assert any(decision.source == "library.dark" for decision in result.decisions)


def test_every_source_that_uses_the_library_is_silent_without_it():
    cube = with_gap(cube_of(mixtures()), 30, 40)
    seen = study(cube, cube.voxel_reasons(), None)
    assert not seen.context.speaks[:, list(KNOWLEDGE)].any()
    assert seen.context.speaks[:, KRIGING].all()
    assert all(residual is None for residual in seen.proposals.residuals)


def test_what_concerns_a_gap_stands_at_its_run_and_what_concerns_a_reading_at_its_source():
    cube = with_gap(cube_of(mixtures()), 30, 40)
    context = study(cube, cube.voxel_reasons(), knowledge()).context
    assert context.run.shape == (1, RUN_FEATURES)
    assert context.source.shape == (len(SOURCES), SOURCE_FEATURES)
    assert np.isfinite(context.run).all()
    assert np.isfinite(context.source).all()
    nameless = replace(cube, bands=BandTable(len(GRID)))
    blind = study(nameless, nameless.voxel_reasons(), knowledge()).context
    assert not blind.speaks[:, LIT].any()


def test_the_same_seed_makes_the_same_examples():
    first, second = (
        next(iter(made_examples(knowledge(), 3, 5, lambda _: None, first=2))) for _ in range(2)
    )
    assert np.array_equal(first.errors, second.errors)
    assert np.array_equal(first.context.run, second.context.run)
    assert (first.scene, first.case, first.knowledge) == (second.scene, second.case, second.knowledge)
    assert first.share.sum() == pytest.approx(1.0, abs=1e-4)


def test_examples_kept_back_are_looked_at_as_scenes_that_are_to_be_restored():
    def one(number, **how):
        return next(iter(made_examples(knowledge(), number + 1, 5, lambda _: None, first=number, **how)))

    assert not is_for_learning(14)
    kept_back = one(14)
    assert (kept_back.case, kept_back.knowledge) == ("wide:swir2", "held out")
    assert kept_back.is_spoken.any()
    assert kept_back.unaided.cells.band.tolist() == kept_back.context.cells.band.tolist()
    assert not kept_back.unaided.speaks[:, list(KNOWLEDGE)].any()


def test_an_example_to_learn_from_is_looked_at_once_unless_all_are_kept_back(monkeypatch):
    asked = []
    monkeypatch.setattr(restoration_examples, "example_of", lambda *_, **how: asked.append(how))
    for all_kept_back in (False, True):
        for number in (2, 14):
            list(made_examples(
                knowledge(), number + 1, 5, lambda _: None, first=number, all_kept_back=all_kept_back
            ))
    assert [how["doubted"] for how in asked] == [False, True, True, True]
    assert all(how["modelled"] for how in asked[1:])


def test_scenes_learnt_from_together_stay_strangers():
    contexts = []
    for gap in ((30, 40), (50, 60)):
        cube = with_gap(cube_of(mixtures(12, 12)), *gap)
        contexts.append(study(cube, cube.voxel_reasons(), knowledge()).context)
    torch.manual_seed(0)
    network = Integrator().eval()
    with torch.no_grad():
        alone = torch.cat([network(context).log_error for context in contexts])
        together = network(merged(contexts)).log_error
    assert torch.allclose(alone, together, atol=1e-4)


@pytest.mark.parametrize("bands", [2, 3, 9, 60])
def test_lines_and_cubics_are_the_known_ones_under_any_mask(bands):
    rng = np.random.default_rng(bands)
    x = np.cumsum(rng.uniform(4, 15, bands))
    usable = rng.random((80, bands)) < rng.random((80, 1))
    usable[0], usable[1] = False, True
    values = rng.normal(size=(80, bands)).cumsum(1).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = 0.0  # plateaus
    values[~usable] = 0.0
    view = View(Axis(np.arange(bands), x, x, None), np.arange(80), values, usable, 1.0)
    straight, curved = linear(view), pchip(view)
    for answer in (straight, curved):
        np.testing.assert_array_equal(answer[usable], values[usable])
        np.testing.assert_array_equal(answer[0], 0.0)
    for pixel in np.flatnonzero(usable.sum(1) >= 2):
        seen = usable[pixel]
        inside = np.clip(x, x[seen][0], x[seen][-1])
        known = values[pixel, seen].astype(float)
        np.testing.assert_allclose(straight[pixel], np.interp(inside, x[seen], known), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(curved[pixel], PchipInterpolator(x[seen], known)(inside), rtol=1e-6, atol=1e-7)
