"""How far knowledge is followed: steps within their own error are shrunk, and silence changes nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from restoration_cubes import GRID, cube_of, knowledge, mixtures, with_gap

from palimpsest.errors import UsageError
from palimpsest.restoration.integrator.network import load
from palimpsest.restoration.judgement import opinion
from palimpsest.restoration.judgement.opinion import share_of_step
from palimpsest.restoration.judgement.verdict import judge
from palimpsest.restoration.restorer import restore
from palimpsest.restoration.study.sources import KNOWLEDGE, KRIGING
from palimpsest.restoration.study.study import study

RED_EDGE = tuple(int(np.argmin(np.abs(GRID - nm))) for nm in (680, 800))
VAPOUR = tuple(int(np.argmin(np.abs(GRID - nm))) for nm in (1100, 1175))


@pytest.fixture(scope="module")
def network():
    return load()


@pytest.fixture(scope="module")
def seen():
    cube = with_gap(cube_of(mixtures()), *RED_EDGE)
    return study(cube, cube.voxel_reasons(), knowledge(), doubted=True)


def test_a_step_well_beyond_its_error_is_taken_nearly_whole_and_one_within_it_is_shrunk(seen, network):
    (far,) = judge(seen, network).followed.values()
    taken = {}
    for factor in (0.02, 10.0):  # knowledge that says nearly what the scene says, and far from it
        values = seen.proposals.values.copy()
        own = values[KRIGING]
        for source in KNOWLEDGE:
            values[source] = own + factor * (values[source] - own)
        moved = replace(seen, proposals=replace(seen.proposals, values=values))
        (taken[factor],) = judge(moved, network).followed.values()
    assert taken[0.02] < far < taken[10.0]
    assert taken[0.02] < 0.2
    assert taken[10.0] > 0.7


def test_a_step_counts_for_more_the_larger_it_is_and_has_to_be_larger_where_no_rim_holds_it():
    for is_end in (False, True):
        surely = partial(share_of_step, without=0.0, is_end=is_end)  # the scene's own answer is expected to be right
        even = surely(1.0, 1.0)
        assert even == pytest.approx(1 / (1 + (opinion.EVEN_AT_END if is_end else opinion.EVEN_INSIDE)))
        assert surely(0.0, 1.0) == 0.0
        assert surely(1e-4, 1.0) < 1e-6
        assert surely(100.0, 1.0) > 0.99
        assert surely(9.0, 1.0) > even > surely(1.0, 9.0)
        assert 0.99 < surely(1.0, 0.0) <= 1.0
        assert surely(0.0, 0.0) == 0.0
    # At an end the scene has the benefit of the doubt.
    assert share_of_step(1.0, 1.0, 0.0, is_end=True) < 0.5 < share_of_step(1.0, 1.0, 0.0, is_end=False)


def test_at_an_end_the_answer_of_knowledge_counts_at_least_half_as_much_as_by_inverse_variances():
    for without, wanted in ((0.0, 0.0), (1.0, 0.25), (9.0, 0.45), (1e9, 0.5)):
        assert share_of_step(0.0, 1.0, without, is_end=True) == pytest.approx(wanted)
        assert share_of_step(0.0, 1.0, without, is_end=False) == 0.0
    far = share_of_step(9.0, 1.0, 0.0, is_end=True)
    assert share_of_step(9.0, 1.0, 1.0, is_end=True) == far > 0.9  # a large step is taken as before


def test_an_end_of_the_range_is_told_from_a_gap_inside(monkeypatch, network):
    asked = []
    monkeypatch.setattr(opinion, "share_of_step", lambda *sizes, is_end: asked.append(is_end) or 0.5)
    for first, last in ((30, 42), (len(GRID) - 12, len(GRID)), (0, 12), (2, 14), (4, 16)):
        cube = with_gap(cube_of(mixtures()), first, last)
        judge(study(cube, cube.voxel_reasons(), knowledge(), doubted=True), network)
    assert asked == [False, True, True, True, False]  # two bands hold nothing


def test_weights_lie_between_those_with_and_without_knowledge(seen, network):
    aided = judge(replace(seen, unaided=None), network)
    plain = judge(replace(seen, context=seen.unaided, unaided=None), network)
    mixed = judge(seen, network)
    (share,) = mixed.followed.values()
    cells = seen.context.cells
    expected = share * aided.weights + (1 - share) * plain.weights
    assert np.allclose(mixed.weights[cells.group, cells.band], expected[cells.group, cells.band], atol=1e-4)
    assert np.allclose(mixed.weights[cells.group, cells.band].sum(-1), 1)
    assert aided.followed == plain.followed == {}


def test_where_the_library_is_silent_the_cube_is_restored_as_without_knowledge():
    cube = with_gap(cube_of(mixtures()), *VAPOUR)
    with_library, without = (restore(cube, knowledge=known) for known in (knowledge(), None))
    assert np.array_equal(with_library.restored.data, without.restored.data)
    assert "knowledge_followed" not in with_library.report


def test_the_report_tells_how_far_knowledge_was_followed_in_each_gap():
    cube = with_gap(cube_of(mixtures()), *RED_EDGE)
    followed = restore(cube, knowledge=knowledge()).report["knowledge_followed"]
    assert list(followed) == [f"{RED_EDGE[0]}-{RED_EDGE[1] - 1}"]
    assert 0 < followed[f"{RED_EDGE[0]}-{RED_EDGE[1] - 1}"] <= 1


def test_a_scene_without_damage_is_not_judged(network):
    cube = cube_of(mixtures())
    with pytest.raises(UsageError, match="nothing to judge"):
        judge(study(cube, cube.voxel_reasons(), knowledge()), network)
