"""Conformal factors: an example counts as one, recorded ones speak through witnesses, disagreement widens."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from palimpsest.restoration.confidence import (
    BAND_GROUPS,
    KINDS,
    OWN_TRIALS,
    Expectation,
    expected_scale,
    with_own_trials,
)
from palimpsest.restoration.integrator import Integrator, Judgement
from palimpsest_pipelines.restoration_intervals import FEWEST_EXAMPLES, NAMELESS, Witness, calibrate, coverage, judged


class Oracle(Integrator):
    """A judge that believes the first of two sources and expects an error of a hundredth."""

    def forward(self, context, *, edges=True, left_out=()):
        cells = len(context.error)
        return Judgement(torch.tensor([[1.0, 0.0]]).repeat(cells, 1), torch.zeros(cells))


def example(size, kind=1, voxels=50, seed=0, group=2):
    errors = np.zeros((3, 2, voxels), np.float32)
    errors[:, 0] = size * np.abs(np.random.default_rng(seed).standard_normal((3, voxels)))
    return SimpleNamespace(
        context=SimpleNamespace(
            error=np.zeros((3, 2), np.float32), cells=SimpleNamespace(everywhere=np.full(3, kind != 2))
        ),
        errors=errors, valid=np.ones((3, voxels), bool), kind=np.full(3, kind),
        band_group=np.full(3, group),
    )


def test_an_example_counts_as_one_however_many_voxels_it_has():
    network = Oracle()
    made = [example(0.01, seed=n) for n in range(20)] + [example(1.0, voxels=20_000, seed=99)]
    calibrate(network, made)
    assert float(network.conformal[0, 1]) < 5
    assert coverage(network, made[:20]) == pytest.approx(0.94, abs=0.05)


def test_recorded_scenes_weigh_as_much_as_made_ones_but_not_where_trials_are_in_the_band_itself():
    network, bare = Oracle(), Oracle()
    for kind in (1, 2):
        made = [example(0.01, kind, seed=n) for n in range(30)]
        calibrate(network, made)
        alone = float(network.conformal[0, kind])
        calibrate(network, made, [Witness(bare, [example(0.05, kind, seed=n) for n in range(10)])])
        together = float(network.conformal[0, kind])
        assert together == alone if kind == 2 else together > 2 * alone


def test_too_few_examples_of_nameless_scenes_borrow_from_all():
    network = Oracle()
    made = [example(0.01, seed=n) for n in range(FEWEST_EXAMPLES)]
    nameless = [example(0.04, seed=n, group=NAMELESS) for n in range(FEWEST_EXAMPLES)]
    calibrate(network, made + nameless[:2])
    assert float(network.conformal[NAMELESS, 1]) < 5
    calibrate(network, made + nameless)
    assert float(network.conformal[NAMELESS, 1]) > 2 * float(network.conformal[0, 1])


def test_disagreement_widens_shared_gaps_alone():
    error, apart = np.full(3, 0.01), np.full(3, 0.02)
    scale = expected_scale(error, apart, np.array([0, 1, 2]))
    assert scale[0] == scale[1] == pytest.approx(np.hypot(0.01, 0.04))
    assert scale[2] == pytest.approx(0.01)


def test_half_widths_are_looked_up_by_group_and_band():
    expected = Expectation(np.array([[0.0, 0.1], [0.2, 0.3]]), np.full((2, 2), 2.0), np.full((2, 2), 2))
    half = expected.half_width(np.array([1, 0]), np.array([0, 1]), np.zeros(2))
    assert half.tolist() == [0.4, 0.2]


def test_judging_an_example_measures_the_mixture():
    seen = judged(Oracle(), example(0.01))
    assert seen.error.shape == seen.scale.shape == (150,)
    assert not seen.nameless
    assert Oracle().conformal.shape == (BAND_GROUPS, KINDS)


def test_trials_in_the_band_itself_are_heard_beside_the_network():
    expected = with_own_trials(np.array([1.0, 1.0]), np.array([-1.0, -1.0]), np.array([True, False]))
    assert expected.tolist() == [1.0, pytest.approx(1.0 - 2 * OWN_TRIALS)]
