"""How errors went together in trials, and the weights that follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from restoration_cubes import gap_context as context
from scipy.optimize import minimize

from palimpsest.restoration.integrator.network import Integrator
from palimpsest.restoration.integrator.trial_stacking import LEAST_SCORE, TrialStacking, stacked
from palimpsest.restoration.study.sources import LINEAR, SOURCES, Run
from palimpsest.restoration.study.trials import CALM, deep
from palimpsest_pipelines.restoration_benchmark.judges import PerNode, StackedTrials


def test_the_steps_go_to_the_convex_weights_of_least_error():
    rng = np.random.default_rng(2)
    errors = rng.standard_normal((4, 200)) * np.array([[1.0], [1.2], [2.0], [3.0]])
    errors[2] += errors[0]  # two that err alike
    moment = errors @ errors.T / 200
    moment /= np.diag(moment).min()
    speaks = torch.ones(1, 4, dtype=torch.bool)
    found = torch.exp(stacked(torch.tensor(moment, dtype=torch.float32)[None], speaks))[0].numpy()
    best = minimize(
        lambda w: w @ moment @ w, np.full(4, 0.25), bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
    )
    assert found.sum() == pytest.approx(1.0, abs=0.02)
    assert found @ moment @ found < best.fun * 1.03
    assert found @ moment @ found < 0.9 * np.full(4, 0.25) @ moment @ np.full(4, 0.25)


def test_where_nothing_is_known_all_who_speak_count_alike_and_nobody_is_silenced():
    speaks = torch.tensor([[True, True, False]])
    even = torch.exp(stacked(torch.ones(1, 3, 3), speaks))[0]
    assert torch.allclose(even[:2], torch.full((2,), 0.5), atol=1e-5)
    hopeless = torch.diag(torch.tensor([1.0, 1e6, 1.0]))[None]
    assert stacked(hopeless, speaks)[0, 1] == LEAST_SCORE


def test_a_source_that_was_off_in_the_trials_loses_and_who_does_not_speak_gets_nothing():
    seen = context()
    torch.manual_seed(0)
    network = Integrator(members=1).eval()
    with torch.no_grad():
        before = network(seen).weights
    believed = int(before.mean(0).argmax())
    moment = seen.trials.moment.copy()
    moment[:, :, believed] *= 100
    moment[:, :, :, believed] *= 100
    with torch.no_grad():
        after = network(replace(seen, trials=replace(seen.trials, moment=moment))).weights
    assert (after[:, believed] < 0.2 * before[:, believed]).all()
    assert torch.allclose(after.sum(1), torch.ones(len(after)), atol=1e-5)
    assert (after[~torch.from_numpy(seen.speaks)] < 1e-6).all()


def test_attention_begins_at_the_plain_mean_of_the_trials_calm_ones_counting_more():
    seen = context()
    torch.manual_seed(0)
    moment, _, heard = TrialStacking(16)._attended(seen)
    sender, receiver = seen.trial_gap
    there = sender[receiver == 0]
    own, speaks = seen.trials.moment[there], seen.trials.speaks[there]
    best = np.where(speaks, np.diagonal(own, axis1=2, axis2=3).mean(1), np.inf).min(1)
    expected = (own / best[:, None, None, None] ** CALM).mean(0)
    both = speaks.all(0)
    expected = expected[:, both][:, :, both]
    expected /= np.diagonal(expected, axis1=1, axis2=2).min(1)[:, None, None]
    assert heard.all()
    assert np.allclose(moment[0].detach().numpy()[:, both][:, :, both], expected, rtol=1e-3)


def test_stacked_trials_are_a_judge_of_their_own():
    seen, judge = context(), StackedTrials()
    with torch.no_grad():
        weights = judge.verdict(seen).weights
        told = judge.stacking(seen)
    assert told.is_told.all()
    assert torch.allclose(weights, torch.softmax(told.score.masked_fill(~torch.from_numpy(seen.speaks), -1e9), -1))


def test_without_edges_no_trial_is_stacked():
    seen = context()
    moment = np.ascontiguousarray(seen.trials.moment[..., ::-1, ::-1])
    other = replace(seen, trials=replace(seen.trials, moment=moment))
    torch.manual_seed(0)
    network = PerNode(members=1).eval()
    with torch.no_grad():
        assert torch.equal(network(seen).weights, network(other).weights)


def test_deep_is_what_lies_far_from_every_rim():
    everywhere = np.zeros(40, bool)
    everywhere[10:18] = everywhere[32:] = True
    assert deep(Run(10, 18), everywhere).tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    assert deep(Run(32, 40), everywhere).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert deep(Run(10, 11), everywhere).tolist() == [1]


def test_moments_are_of_the_errors_that_the_trials_report():
    trials = context().trials
    own = np.diagonal(trials.moment, axis1=2, axis2=3).mean(1)
    assert (trials.moment.shape[2:]) == (len(SOURCES), len(SOURCES))
    reported = 10.0 ** (trials.error - 2.0)
    heard = trials.speaks[:, LINEAR]
    assert np.corrcoef(np.log(own[heard, LINEAR]), 2 * np.log(reported[heard, LINEAR]))[0, 1] > 0.9
