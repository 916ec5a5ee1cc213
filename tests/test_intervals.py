"""Conformal factors: of the answer that is given; gaps count by bands, recorded scenes speak through witnesses."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from restoration_cubes import GRID, cube_of, knowledge, mixtures, with_dead_columns, with_gap

from palimpsest.cubes import Reason
from palimpsest.restoration.integrator.confidence import (
    BAND_GROUPS,
    CLAIM,
    KINDS,
    NOISE_CLAIMED,
    NOISE_TOO,
    OWN_TRIALS,
    SINGLE,
    Expectation,
    expected_scale,
    with_own_doubt,
    with_own_trials,
)
from palimpsest.restoration.integrator.network import Integrator, Judgement, load
from palimpsest.restoration.judgement.opinion import opinion_of
from palimpsest.restoration.judgement.verdict import judge
from palimpsest.restoration.restorer import restore
from palimpsest.restoration.study.context import CELL_DOUBT, CELL_FEATURES, CELL_NOISE
from palimpsest.restoration.study.sources import KNOWLEDGE, KRIGING, LOW_RANK, SOURCES
from palimpsest.restoration.study.study import study
from palimpsest.restoration.study.trials import log, unlog
from palimpsest_pipelines.restoration_training.examples import example_of
from palimpsest_pipelines.restoration_training.intervals import (
    FEWEST_EXAMPLES,
    NAMELESS,
    Witness,
    calibrate,
    coverage,
    grounds_of,
    judged,
)


class Oracle(Integrator):
    """A judge that believes the first of two sources and expects an error of a hundredth."""

    def forward(self, context, *, edges=True, left_out=()):
        cells = len(context.error)
        return Judgement(torch.tensor([[1.0, 0.0]]).repeat(cells, 1), torch.zeros(cells))

    def verdict(self, context, *, edges=True, left_out=()):
        return self(context)


def example(size, kind=1, voxels=50, seed=0, group=2, bands=3, scene="made-0", noise=0.0):
    errors = np.zeros((3, 2, voxels), np.float32)
    errors[:, 0] = size * np.abs(np.random.default_rng(seed).standard_normal((3, voxels)))
    cell = np.zeros((3, CELL_FEATURES), np.float32)
    cell[:, CELL_DOUBT], cell[:, CELL_NOISE] = log(np.array([0.01])), log(np.array([noise]))
    return SimpleNamespace(
        scene=scene, case="mixed",
        context=SimpleNamespace(
            error=np.zeros((3, 2), np.float32), cell=cell, speaks=np.ones((3, len(SOURCES)), bool),
            cells=SimpleNamespace(everywhere=np.full(3, kind != 2), band=np.arange(3) % bands),
        ),
        errors=errors, valid=np.ones((3, voxels), bool), kind=np.full(3, kind),
        band_group=np.full(3, group), share=np.full(3, 1 / 3, np.float32), axis=None, unaided=None,
        is_spoken=np.zeros(3, bool),
    )


def test_a_gap_counts_by_its_bands_and_of_single_voxels_an_example_as_one():
    for kind in (1, 2):
        network = Oracle()
        narrow = [example(0.05, kind, seed=n, bands=1) for n in range(10)]
        calibrate(network, narrow + [example(0.01, kind, seed=n, bands=1) for n in range(20)])
        alike = float(network.conformal[0, kind])
        calibrate(network, narrow + [example(0.01, kind, seed=n, bands=3) for n in range(20)])
        wider = float(network.conformal[0, kind])
        assert wider == alike if kind == 2 else wider < 0.8 * alike


def test_an_example_counts_as_one_however_many_voxels_it_has():
    network = Oracle()
    made = [example(0.01, seed=n) for n in range(20)] + [example(1.0, voxels=20_000, seed=99)]
    calibrate(network, made)
    assert float(network.conformal[0, 1]) < 5
    assert coverage(network, made[:20]) == pytest.approx(0.94, abs=0.05)


def test_recorded_scenes_weigh_as_much_as_made_ones():
    network, bare = Oracle(), Oracle()
    for kind in (1, 2):
        made = [example(0.01, kind, seed=n) for n in range(30)]
        calibrate(network, made)
        alone = float(network.conformal[0, kind])
        calibrate(network, made, [Witness(bare, [example(0.05, kind, seed=n) for n in range(10)])])
        together = float(network.conformal[0, kind])
        assert together > 2 * alone


def test_too_few_examples_of_nameless_scenes_borrow_from_all():
    network = Oracle()
    made = [example(0.01, seed=n) for n in range(FEWEST_EXAMPLES)]
    nameless = [example(0.04, seed=n, group=NAMELESS) for n in range(FEWEST_EXAMPLES)]
    calibrate(network, made + nameless[:2])
    assert float(network.conformal[NAMELESS, 1]) < 5
    calibrate(network, made + nameless)
    assert float(network.conformal[NAMELESS, 1]) > 2 * float(network.conformal[0, 1])


def test_a_band_group_has_a_factor_of_its_own_as_far_as_it_was_heard():
    loud = [example(0.04, seed=n, group=0) for n in range(30)]
    quiet = [example(0.01, seed=n, group=1) for n in range(30)]
    few = [example(0.08, seed=n, group=2) for n in range(FEWEST_EXAMPLES - 1)]
    network = Oracle()
    calibrate(network, loud + quiet + few)
    first, second, third, *others = network.conformal[:NAMELESS, 1].tolist()
    assert first > 1.5 * second
    assert second < third < 1.5 * first  # too few for a factor of their own: that of all groups
    assert others == [pytest.approx(third)] * len(others)
    calibrate(network, loud[:FEWEST_EXAMPLES] + quiet)
    assert second < float(network.conformal[0, 1]) < first
    assert coverage(network, quiet) == pytest.approx(0.95, abs=0.05)


def test_disagreement_widens_shared_gaps_alone():
    error, apart = np.full(3, 0.01), np.full(3, 0.02)
    scale = expected_scale(error, apart, np.full(3, 0.03), np.array([0, 1, 2]))
    assert scale[0] == scale[1] == pytest.approx(np.hypot(0.01, 0.04))
    assert scale[2] == pytest.approx(np.hypot(0.01, 0.03))


def test_half_widths_are_looked_up_by_group_and_band():
    expected = Expectation(
        np.array([[0.0, 0.1], [0.2, 0.3]]), np.full((2, 2), 2.0), np.full((2, 2), 2), np.zeros(2)
    )
    half = expected.half_width(np.array([1, 0]), np.array([0, 1]), np.zeros(2))
    assert half.tolist() == [0.4, 0.2]


def test_a_single_voxel_holds_the_noise_that_its_measurement_would_have_had():
    tables = np.full((1, 2), 0.1), np.full((1, 2), 2.0)
    group, band, apart = np.zeros(2, int), np.array([0, 1]), np.zeros(2)
    for kind in range(KINDS):
        half = Expectation(*tables, np.full((1, 2), kind), np.array([0.0, 0.3])).half_width(group, band, apart)
        assert half[0] == pytest.approx(0.2)
        assert half[1] == pytest.approx(2 * np.hypot(0.1, 0.3 * NOISE_TOO) if kind == SINGLE else 0.2)


def test_judging_an_example_measures_the_mixture():
    seen = judged(Oracle(), example(0.01))
    assert seen.error.shape == seen.scale.shape == (150,)
    assert not seen.nameless
    assert Oracle().conformal.shape == (BAND_GROUPS, KINDS)


def test_what_is_calibrated_is_the_answer_that_is_given():
    whole = cube_of(mixtures())
    cube = with_gap(whole, *(int(np.argmin(np.abs(GRID - nm))) for nm in (680, 800)))
    truth, network = np.asarray(whole.data, np.float32), load()
    told = example_of(cube, truth, knowledge(), ("made-0", "wide", "full"), 0, doubted=True)
    found = opinion_of(network, grounds_of(told))
    given = judge(study(cube, cube.voxel_reasons(), knowledge(), doubted=True), network)
    # The example has some voxels of each cell, the scene all of them.
    (sampled,), (followed,) = found.followed.values(), given.followed.values()
    assert 0 < sampled < 1
    assert sampled == pytest.approx(followed, abs=0.02)
    cells = told.context.cells
    assert np.allclose(found.weights, given.weights[cells.group, cells.band], atol=0.02)
    restored = restore(cube, knowledge=knowledge())
    lost = ~cube.usable()
    error = np.abs(np.asarray(restored.restored.data) - truth)[lost] / study(cube, cube.voxel_reasons(), None).unit
    assert np.median(judged(network, told).error) == pytest.approx(np.median(error), rel=0.15)
    # Knowledge that says nearly what the scene says is not followed here either.
    errors, sources = told.errors.copy(), list(KNOWLEDGE)
    errors[:, sources] = errors[:, [KRIGING]] + 0.02 * (errors[:, sources] - errors[:, [KRIGING]])
    (hardly,) = opinion_of(network, grounds_of(replace(told, errors=errors))).followed.values()
    assert hardly < 0.2


def test_what_the_scene_itself_doubts_is_expected_where_other_pixels_show_the_band():
    cell = np.zeros((3, CELL_FEATURES), np.float32)
    cell[:, CELL_DOUBT] = log(np.array([0.002, 0.002, 0.0]))
    speaks = np.ones((3, len(SOURCES)), bool)
    speaks[2, LOW_RANK] = False
    cells = SimpleNamespace(everywhere=np.array([True, False, False]))
    context = SimpleNamespace(cell=cell, speaks=speaks, cells=cells)
    expected = with_own_doubt(np.full(3, 1.0), context)
    assert expected.tolist() == [1.0, pytest.approx(np.log10(0.2)), 1.0]  # no pixel shows it; own doubt; silent
    assert unlog(log(np.array([0.0, 1e-6, 0.5]))) == pytest.approx([0, 1e-6, 0.5], rel=1e-3)


def test_towards_a_denoiser_single_voxels_claim_what_network_and_trials_expect():
    expected = with_own_trials(np.array([1.0, 1.0]), np.array([-1.0, -1.0]), np.array([True, False]))
    assert expected.tolist() == [1.0, pytest.approx(1.0 - 2 * OWN_TRIALS)]
    cube = with_dead_columns(cube_of(mixtures()))
    seen, network = study(cube, cube.voxel_reasons(), None), load()
    promised, claimed = (judge(seen, network, is_claimed=one) for one in (False, True))
    assert np.array_equal(promised.weights, claimed.weights)
    cells, found = seen.context.cells, network.verdict(seen.context)
    tried = (found.weights.detach().numpy() * seen.context.error).sum(-1)
    said = (1 - OWN_TRIALS) * found.log_error.detach().numpy() + OWN_TRIALS * tried
    assert np.log10(claimed.expected.error[cells.group, cells.band]) + 2 == pytest.approx(said, abs=1e-4)
    assert not np.allclose(promised.expected.error, claimed.expected.error)
    quiet = np.zeros(len(cells.band))
    half = claimed.expected.half_width(cells.group, cells.band, quiet)
    error = claimed.expected.error[cells.group, cells.band]
    assert half == pytest.approx(np.hypot(CLAIM * error, NOISE_CLAIMED * seen.noise[cells.band]))


def test_single_voxels_are_held_against_measurements_and_gaps_against_what_is_there():
    for scene, kind, expected in (("made-0", 2, 0.05), ("made-0", 1, 0.0), ("gatorsense", 2, 0.0)):
        seen = judged(Oracle(), example(0.0, kind, voxels=4000, scene=scene, noise=0.05))
        assert np.sqrt((seen.error**2).mean()) == pytest.approx(expected, rel=0.05)
        assert seen.scale == pytest.approx(np.hypot(0.01, 0.05) if kind == SINGLE else 0.01, rel=1e-3)


@pytest.mark.parametrize("noise", [20.0, 200.0])
def test_intervals_of_single_voxels_follow_the_noise_of_the_scene(noise):
    whole = cube_of(mixtures(), noise=noise)
    struck = np.random.default_rng(5).random(whole.data.shape) < 0.02
    cube = replace(whole, reasons=np.where(struck, np.uint8(Reason.USER), np.uint8(0)))
    found = restore(cube, knowledge=None)
    told = found.restored.data.reshape(-1)[found.changed].astype(float)
    inside = np.abs(told - whole.data.reshape(-1)[found.changed]) <= found.half_width
    assert 0.75 < inside.mean() < 0.97  # of measurements, three quarters of whose noise counts
    assert 1.2 * NOISE_TOO * noise < np.median(found.half_width) < 4 * NOISE_TOO * noise


def test_what_is_doubted_stands_where_its_name_says():
    cube = with_dead_columns(cube_of(mixtures()))
    seen = study(cube, cube.voxel_reasons(), None)
    context, member, dead = seen.context, seen.groups.of(seen.judged), ~seen.judged.usable
    cells, doubt = context.cells, unlog(context.cell[:, CELL_DOUBT])
    assert not cells.everywhere.any()
    for number, (group, band) in enumerate(zip(cells.group, cells.band, strict=True)):
        inside = dead[:, band] & (member == group)
        if inside.sum() >= 3:
            spread = seen.proposals.spread[inside, band].astype(float)
            assert doubt[number] == pytest.approx(np.sqrt((spread**2).mean()), rel=1e-3)
