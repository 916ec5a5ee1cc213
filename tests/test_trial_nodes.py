"""Trials as nodes of the graph, and what edges make of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from restoration_cubes import cube_of, knowledge, mixtures, with_gap
from restoration_cubes import gap_context as context

from palimpsest.restoration.integrator.network import Integrator, Judgement
from palimpsest.restoration.study.sources import LIBRARY, LINEAR
from palimpsest.restoration.study.study import study
from palimpsest.restoration.study.trials import EVERYONE
from palimpsest_pipelines.restoration_benchmark.judges import PerNode, alone
from palimpsest_pipelines.restoration_training.batches import merged


def seeded(kind: type[Integrator] = Integrator, members: int = 1) -> Integrator:
    torch.manual_seed(5)
    network = kind(members=members)
    for member in network.members:
        for layer in (member.aligner.key, member.aligner.bias, member.processor.stacking.score[-1]):
            torch.nn.init.normal_(layer.weight, std=0.5)
    return network.eval()


def test_every_trial_lies_beside_the_gap_or_rehearses_it_and_knows_its_errors():
    told = context().trials
    is_beside = (told.last <= 30) | (told.first >= 40)
    assert is_beside.sum() > 4
    assert ((told.first[~is_beside] == 30) & (told.last[~is_beside] == 40)).all()
    assert (~is_beside).any()
    told = told.some(np.flatnonzero(is_beside))
    assert told.speaks[:, LIBRARY].all()
    assert np.isfinite(told.error[told.speaks]).all()
    assert np.ptp(told.error[:, LINEAR]) > 0.1
    # The ground is the library's: a mixture that is solved to the end is nearer to it than any line.
    assert (told.error[:, LIBRARY] < told.error[:, LINEAR]).mean() > 0.7


def test_a_gap_hears_the_trials_of_its_group_and_of_everyone():
    seen = context()
    sender, receiver = seen.trial_gap
    groups = seen.trials.group[sender]
    assert ((groups == seen.gaps.group[receiver]) | (groups == EVERYONE)).all()
    assert set(seen.gap_of.tolist()) <= set(range(len(seen.gaps.first)))


def test_a_trial_is_heard_along_its_edges_alone():
    seen, heard = context(), seeded().members[0].processor.stacking
    gap = int(seen.gap_of[0])
    sender, receiver = seen.trial_gap
    other = np.setdiff1d(np.arange(len(seen.trials.first)), sender[receiver == gap])
    moment = seen.trials.moment.copy()
    moment[other] = moment[other][..., ::-1, ::-1]
    moved = replace(seen, trials=replace(seen.trials, moment=moment))
    with torch.no_grad():
        before, after = heard(seen).score, heard(moved).score
    same = seen.gap_of == gap
    assert torch.equal(before[same], after[same])
    assert not torch.equal(before[~same], after[~same])


def test_scenes_of_one_batch_stay_strangers():
    cube = with_gap(cube_of(mixtures(seed=4)), 12, 20)
    second, network = study(cube, cube.voxel_reasons(), knowledge()).context, seeded()
    with torch.no_grad():
        both = network(merged([context(), second])).weights
        each = torch.cat([network(context()).weights, network(second).weights])
    assert torch.allclose(both, each, atol=1e-4)


def test_a_per_node_network_hears_no_trial():
    torn = replace(context(), trial_gap=np.zeros((2, 0), np.int64), trial_edge=context().trial_edge[:0])
    network, whole = seeded(PerNode), seeded()
    with torch.no_grad():
        assert torch.equal(network(context(), edges=True).weights, network(torn, edges=True).weights)
        assert not torch.equal(whole(context()).weights, whole(torn).weights)


class Says(torch.nn.Module):
    """A member that gives the library the same share everywhere."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, seen, *, edges, left_out):
        del edges, left_out
        speaks = torch.from_numpy(seen.speaks).float()
        rest = speaks.clone()
        rest[:, LIBRARY] = 0
        weights = (1 - self.share) * rest / rest.sum(1, keepdim=True)
        weights[:, LIBRARY] = self.share
        return Judgement(weights, torch.zeros(len(weights)))


def test_a_source_that_one_member_alone_believes_gets_little_of_its_weight():
    network, seen = Integrator(), context()
    assert seen.speaks[:, LIBRARY].all()
    network.members = torch.nn.ModuleList([Says(0.9), Says(0.02), Says(0.02)])
    plain, verdict = network(seen).weights, network.verdict(seen).weights
    assert torch.allclose(verdict.sum(1), torch.ones(len(verdict)), atol=1e-5)
    assert (verdict[~torch.from_numpy(seen.speaks)] < 1e-6).all()
    assert torch.allclose(plain[:, LIBRARY], torch.tensor(0.94 / 3))
    assert (verdict[:, LIBRARY] < 0.5 * plain[:, LIBRARY]).all()


def test_one_member_asked_alone_is_heard_as_it_is():
    network, seen = seeded(members=3), context()
    with torch.no_grad():
        single = network.members[0](seen, edges=True, left_out=()).weights
        assert torch.allclose(alone(network, 0).verdict(seen).weights, single, atol=1e-5)
