"""A step of knowledge that would have done harm beside the gap has a precedent against it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from restoration_cubes import GRID, cube_of, knowledge, mixtures, with_gap

from palimpsest.restoration.integrator.network import load
from palimpsest.restoration.judgement.verdict import judge
from palimpsest.restoration.study.precedents import share_beside
from palimpsest.restoration.study.sources import KNOWLEDGE, LINEAR, SOURCES
from palimpsest.restoration.study.study import study

RED_EDGE = tuple(int(np.argmin(np.abs(GRID - nm))) for nm in (680, 800))
LIBRARY = KNOWLEDGE[0]


@pytest.fixture(scope="module")
def seen():
    cube = with_gap(cube_of(mixtures()), *RED_EDGE)
    return study(cube, cube.voxel_reasons(), knowledge(), doubted=True)


def asked(context, library: float, line: float, correlation: float = 0.0) -> float:
    """Share of the step from the line to the library where every trial missed by these."""
    moment = np.zeros_like(context.trials.moment)
    moment[..., LIBRARY, LIBRARY], moment[..., LINEAR, LINEAR] = library**2, line**2
    moment[..., LIBRARY, LINEAR] = moment[..., LINEAR, LIBRARY] = correlation * library * line
    moved = replace(context, trials=replace(context.trials, moment=moment, speaks=np.ones_like(context.trials.speaks)))
    return share_of(moved)


def share_of(context) -> float:
    cells = len(context.speaks)
    weights = np.zeros((2, cells, len(SOURCES)))
    weights[0][:, LIBRARY], weights[1][:, LINEAR] = 1, 1
    return share_beside(context, np.ones(cells, bool), np.ones(cells), *weights)


def test_the_share_is_the_one_that_errs_least(seen):
    assert asked(seen.context, 1.0, 1.0) == pytest.approx(0.5)
    assert asked(seen.context, 1.0, 3.0) == pytest.approx(0.9)  # inverse variances
    assert asked(seen.context, 3.0, 1.0) == pytest.approx(0.1)
    assert asked(seen.context, 3.0, 1.0, correlation=0.9) == 0.0  # errs as the line does, only more
    assert asked(seen.context, 1.0, 3.0, correlation=0.9) == 1.0


def test_rehearsals_are_no_precedents_and_nothing_tried_is_none(seen):
    trials, gaps = seen.context.trials, seen.context.gaps
    inside = (trials.first == gaps.first[0]) & (trials.last == gaps.last[0])
    assert inside.any()
    assert not inside.all()
    moment = np.zeros_like(trials.moment)
    moment[..., LIBRARY, LIBRARY] = np.where(inside, 1.0, 9.0)[:, None]
    moment[..., LINEAR, LINEAR] = np.where(inside, 9.0, 1.0)[:, None]
    split = replace(seen.context, trials=replace(trials, moment=moment, speaks=np.ones_like(trials.speaks)))
    assert share_of(split) == pytest.approx(0.1)  # rehearsals would say 0.9
    kept = inside[split.trial_gap[0]]
    alone = replace(split, trial_gap=split.trial_gap[:, kept], trial_edge=split.trial_edge[kept])
    assert share_of(alone) == 1.0


def test_a_library_that_fails_beside_the_gap_is_not_followed_into_it(seen):
    network = load()
    (before,) = judge(seen, network).followed.values()
    moment = seen.context.trials.moment.copy()
    for source in KNOWLEDGE:
        moment[..., source, :] *= 30.0
        moment[..., :, source] *= 30.0
    # The network is asked as before: only the precedents change.
    inside = (seen.context.trials.first == seen.context.gaps.first[0]) & (
        seen.context.trials.last == seen.context.gaps.last[0]
    )
    moment[inside] = seen.context.trials.moment[inside]
    moved = replace(seen.context, trials=replace(seen.context.trials, moment=moment))
    asked_as_before = Answering(network, seen.context)
    (after,) = judge(replace(seen, context=moved), asked_as_before).followed.values()
    assert after < 0.3 * before


class Answering:
    """A network that is always asked about the same context when knowledge is there."""

    def __init__(self, network, context) -> None:
        self.network, self.context = network, context
        self.conformal, self.conformal_plain = network.conformal, network.conformal_plain

    def verdict(self, context, **how):
        return self.network.verdict(self.context if len(context.trials.first) == len(self.context.trials.first)
                                    and context.gap_speaks[:, LIBRARY].any() else context, **how)
