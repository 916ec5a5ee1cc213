"""The belief in ways of telling is fitted by a command: to examples that restoration's own functions give."""

import json
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from palimpsest.commands import main
from palimpsest.errors import UsageError
from palimpsest.knowledge.releases.release import load
from palimpsest.restoration.computing.one_thread import one_thread
from palimpsest.restoration.integrator.network import load as load_integrator
from palimpsest.restoration.judgement.spared_habits import LEAST_SHARED, SIGNS, believed
from palimpsest.restoration.judgement.spared_habits import load as load_habits
from palimpsest.restoration.judgement.spared_tellers import DOUBTS, KERNELS, NAMES, strain, tellers
from palimpsest_pipelines.restoration_training.spared_bending import bent
from palimpsest_pipelines.restoration_training.spared_examples import (
    DRAWS,
    JUDGED,
    RIDGE,
    Draws,
    draws,
    gaps_of,
    kernels,
)
from palimpsest_pipelines.restoration_training.spared_training import SCENES, fit, fit_kernels, loss, missed_by, scored

NUMBERS = (1, 3)
SHIPPED = load_habits()


@pytest.fixture(scope="module")
def gaps():
    knowledge, network = load(None), load_integrator(None)
    with one_thread():
        return [gap for number in (0, 14) for gap in gaps_of(number, 3, knowledge, network, str, side=16, most=1)]


@pytest.fixture(scope="module")
def examples(gaps):
    return draws(gaps, SHIPPED.kernels, 3, NUMBERS)


def test_a_fit_lowers_its_loss_and_is_the_same_again(examples):
    fitted = fit(examples, SHIPPED.kernels, steps=40)
    equal = replace(SHIPPED, usual=np.zeros((len(NAMES), SIGNS)), sharp=0.0)
    assert loss(examples, fitted) < loss(examples, equal) - 0.1
    again = fit(examples, SHIPPED.kernels, steps=40)
    assert fitted.digest == again.digest


@pytest.mark.parametrize("number", NUMBERS)
def test_what_is_fitted_mixes_as_restoration_does(gaps, examples, number):
    # One draw told anew with what ships, by the functions that restoration calls.
    gap = gaps[0]
    rng = np.random.default_rng([880_001, 3])
    which = NUMBERS.index(number) * DRAWS
    for _ in range(which + 1):
        order = rng.permutation(len(gap.shown))
    clean, others = order[:number], order[number:][:200]
    expected = 0.0
    for run, bands in zip(gap.beside, gap.runs, strict=True):
        here = np.ix_(clean, bands)
        places, spread = np.hstack(gap.places[[0, 1 + run]]), np.concatenate(gap.spread[[0, 1 + run]])
        speaking = gap.speaks[:, clean][:, :, bands].mean((1, 2)) > 0.5
        apart = gap.apart[speaking][:, :, bands].astype(float)
        ways = tellers(gap.shown[here], gap.judged[here], apart[:, clean], gap.level[bands], places[clean],
                       spread, gap.dark, SHIPPED.kernels_at(gap.shared))
        strained = strain((gap.places[0, clean], gap.seen[clean]), gap.elsewhere, gap.spread[0], gap.dark)
        answers = ways.answers(places[others], gap.judged[np.ix_(others, bands)], apart[:, others])
        share = believed(SHIPPED, ways.missed, float(gap.differing[bands].mean()), strained, answers,
                         gap.shared)
        answer = share @ ways.constant + places[others] @ np.tensordot(share, ways.slope, 1)
        answer += (share @ ways.kept) * gap.judged[np.ix_(others, bands)]
        answer += np.einsum("sb,spb->pb", np.tensordot(share, ways.follows, 1), apart[:, others])
        missed = np.square(answer - gap.truth[np.ix_(others, bands)]).mean()
        expected += missed * bands.size / gap.shown.shape[1]
    assert missed_by(examples, SHIPPED)[which] == pytest.approx(expected, rel=1e-6)


def test_examples_are_every_draw_of_every_gap(gaps, examples):
    assert len(examples.numbers) == len(gaps) * len(NUMBERS) * DRAWS
    assert set(examples.numbers) == set(NUMBERS)
    assert sum(len(gap.runs) for gap in gaps) * len(NUMBERS) * DRAWS == len(examples.draw)
    assert np.bincount(examples.draw, examples.weight) == pytest.approx(1)
    assert all(np.array_equal(np.sort(np.concatenate(gap.runs)), np.arange(gap.shown.shape[1])) for gap in gaps)


def test_clean_pixels_show_noise_and_what_they_tell_is_measured_without(gaps):
    for gap in gaps:
        noise = gap.shown - gap.truth
        assert 0 < np.abs(noise).mean() < 0.2 * gap.truth.mean()
        assert 0 < gap.shared <= 1
    assert gaps[0].shared < gaps[1].shared  # as measured, and with faults that all pixels share


def test_an_only_pixel_is_drawn_once_from_a_gap_that_was_bent(gaps):
    drawn = draws([gaps[0], bent(gaps[0], 3, 0)], SHIPPED.kernels, 3, NUMBERS)
    assert dict(zip(*np.unique(drawn.numbers, return_counts=True), strict=True)) == {1: DRAWS + 1, 3: 2 * DRAWS}


def test_the_way_that_is_always_right_is_believed():
    rng = np.random.default_rng(0)
    count, right = 60, NAMES.index("carried half")
    size = np.ones(len(NAMES))
    size[right] = 1e-3
    errors = rng.normal(size=(count, 1, 50)) * size[:, None]  # nothing is won by a mean of the others
    product = errors @ errors.transpose(0, 2, 1) / 50
    number = np.repeat([1.0, 3.0], count // 2)
    about = np.concatenate([np.ones((count, 1)), rng.normal(size=(count, SIGNS - 1))], 1)
    same = np.zeros((count, len(NAMES)))
    one = Draws(number, np.arange(count), np.ones(count), about, same, product, same, product)
    fitted = fit(one, SHIPPED.kernels)
    assert fitted.usual[:, 0].argmax() == right
    card = scored(one, fitted)
    assert list(card) == ["1", "3"]
    assert card["1"]["least_db"] > 3
    assert card["1"]["share_below_limit"] == 0
    assert one.better == pytest.approx(np.minimum(product[:, JUDGED, JUDGED], product[:, RIDGE, RIDGE]))


def test_the_kernel_that_is_right_is_believed_and_none_is_ruled_out(gaps):
    products, shared = kernels(gaps, 3)
    count = np.prod(KERNELS)
    assert products.shape[1:] == (count + 1, count + 1)
    taught = fit_kernels(products, shared)
    assert taught.shape == (2, *KERNELS)
    for part in (0.01, 0.3, 1.0):
        believed_there = replace(SHIPPED, kernels=taught).kernels_at(part)
        assert believed_there.shape == KERNELS
        assert believed_there.sum() == pytest.approx(1)
        assert (believed_there > 0.005).all()
    right = products.copy()
    right[:, 5], right[:, :, 5] = 0, 0
    assert replace(SHIPPED, kernels=fit_kernels(right, shared)).kernels_at(0.3).argmax() == 5


def test_where_pixels_err_each_in_its_own_way_an_only_one_is_believed_less():
    apart, alike = (SHIPPED.kernels_at(part).sum(0) for part in (0.05, 1.0))
    assert apart @ DOUBTS > 4 * (alike @ DOUBTS)
    # Scenes of many pixels share less than any that was learned from: no more is made of it than of the least.
    assert np.array_equal(SHIPPED.kernels_at(1e-6), SHIPPED.kernels_at(LEAST_SHARED))


def test_a_bent_gap_has_a_worse_judgement_of_the_same_truth(gaps):
    gap = gaps[0]
    several = [bent(gap, 3, number) for number in range(8)]
    for number, wrong in enumerate(several):
        assert np.array_equal(wrong.shown, gap.shown)
        assert np.array_equal(wrong.judged, bent(gap, 3, number).judged)
        assert wrong.apart.shape == gap.apart.shape
        assert np.allclose(wrong.level, wrong.judged.mean(0))
    off = [float(np.square(wrong.judged - gap.shown).mean()) for wrong in several]
    assert np.median(off) > 1.5 * np.square(gap.judged - gap.shown).mean()


def test_habits_that_cannot_be_are_refused():
    lost = SHIPPED.usual.copy()
    lost[2, 1] = np.nan
    for wrong in (
        {"usual": lost}, {"usual": SHIPPED.usual[:7]}, {"sharp": -0.1}, {"sharp": np.inf}, {"most": 0.0},
        {"strained": SHIPPED.strained + 1}, {"strayed": SHIPPED.strayed - 1}, {"kernels": SHIPPED.kernels[0]},
        {"kernels": SHIPPED.kernels * np.nan},
    ):
        with pytest.raises(UsageError):
            replace(SHIPPED, **wrong)


def test_the_command_writes_habits_that_can_ship_and_a_card(tmp_path, monkeypatch, capsys, gaps):
    from palimpsest_pipelines.restoration_training import spared_training

    made = {0: gaps[0], 1: gaps[-1]}
    monkeypatch.setattr(
        spared_training, "gaps_of", lambda number, *_: iter([replace(made[number], scene=number)])
    )
    assert main(["train", "spared", "--seed", "0", "--out", str(tmp_path), "--scenes-count", "1", "--json"]) == 0
    told, written = json.loads(capsys.readouterr().out), json.loads((tmp_path / "spared.json").read_text())
    assert load_habits(tmp_path / "spared.json").digest == written["card"]["model"]
    assert written["card"]["loss"] < written["card"]["loss_of_equal_shares"]
    assert told["kept_back"] == written["card"]["kept_back"]
    assert set(written["card"]["kept_back"]) == {"1", "2", "3", "5", "10", "20"}
    assert main(["train", "spared", "--out", str(tmp_path), "--scenes-count", "0"]) == 2


def test_what_ships_is_what_the_command_wrote():
    shipped = json.loads((files("palimpsest.restoration") / "weights" / "spared.json").read_text())
    assert shipped["card"]["model"] == SHIPPED.digest
    assert shipped["card"]["seed"] == 0
    assert shipped["card"]["scenes"] == SCENES
    assert set(shipped["card"]["kept_back"]) == {"1", "2", "3", "5", "10", "20"}


def test_what_is_not_there_to_learn_from_is_told_before_anything_is_learnt(tmp_path, capsys):
    assert main(["train", "restoration", "--scenes", str(tmp_path / "none"), "--out", str(tmp_path / "o")]) == 2
    assert "no scenes to learn from" in capsys.readouterr().err
    assert main(["train", "restoration", "--scenes", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    assert "--without gatorsense" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["train", "spared", "--out", str(tmp_path / "file" / "o")]) == 3
