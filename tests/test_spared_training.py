"""The belief in ways of telling is fitted by a command: to examples that restoration's own functions give."""

import json
from dataclasses import replace

import numpy as np
import pytest

from palimpsest.commands import main
from palimpsest.errors import UsageError
from palimpsest.knowledge.release import load
from palimpsest.restoration import spared_habits
from palimpsest.restoration.integrator import load as load_integrator
from palimpsest.restoration.one_thread import one_thread
from palimpsest.restoration.spared_habits import believed
from palimpsest.restoration.spared_tellers import NAMES, USUAL, strain, tellers
from palimpsest_pipelines.spared_examples import DRAWS, JUDGED, RIDGE, Draws, draws, gaps_of, kernels
from palimpsest_pipelines.spared_training import SHIPPED, Constants, fit, fit_usual, loss, missed_by, scored

NUMBERS = (1, 3)


@pytest.fixture(scope="module")
def gaps():
    knowledge, network = load(None), load_integrator(None)
    with one_thread():
        return [gap for number in (0, 2) for gap in gaps_of(number, 3, knowledge, network, str, side=16, most=1)]


@pytest.fixture(scope="module")
def examples(gaps):
    return draws(gaps, USUAL, 3, NUMBERS)


def test_a_fit_lowers_its_loss_and_is_the_same_again(examples):
    fitted = fit(examples, USUAL, steps=40)
    equal = replace(SHIPPED, habits=np.zeros((len(NAMES), 3)), sharp=0.0)
    assert loss(examples, fitted) < loss(examples, equal) - 0.1
    again = fit(examples, USUAL, steps=40)
    assert fitted.written() == again.written()


def test_what_is_fitted_mixes_as_restoration_does(gaps, examples):
    # One draw told anew with what ships, by the functions that restoration calls.
    gap = gaps[0]
    order = np.random.default_rng([880_001, 3]).permutation(len(gap.shown))
    clean, others = order[:1], order[1:][:200]
    expected = 0.0
    for bands in gap.runs:
        here = np.ix_(clean, bands)
        speaking = gap.speaks[:, clean][:, :, bands].mean((1, 2)) > 0.5
        apart = gap.apart[speaking][:, :, bands].astype(float)
        ways = tellers(gap.shown[here], gap.judged[here], apart[:, clean], gap.level[bands], gap.places[clean],
                       gap.spread)
        strained = strain((gap.places[clean], gap.seen[clean]), gap.elsewhere, gap.spread)
        share = believed(ways.missed, float(gap.differing[bands].mean()), strained)
        answer = share @ ways.constant + gap.places[others] @ np.tensordot(share, ways.slope, 1)
        answer += (share @ ways.kept) * gap.judged[np.ix_(others, bands)]
        answer += np.tensordot(share @ ways.follows, apart[:, others], 1)
        missed = np.square(answer - gap.shown[np.ix_(others, bands)]).mean()
        expected += missed * bands.size / gap.shown.shape[1]
    assert missed_by(examples, SHIPPED)[0] == pytest.approx(expected, rel=1e-6)


def test_examples_are_every_draw_of_every_gap(gaps, examples):
    assert len(examples.numbers) == len(gaps) * len(NUMBERS) * DRAWS
    assert set(examples.numbers) == set(NUMBERS)
    assert sum(len(gap.runs) for gap in gaps) * len(NUMBERS) * DRAWS == len(examples.draw)
    assert np.bincount(examples.draw, examples.weight) == pytest.approx(1)
    assert all(np.array_equal(np.sort(np.concatenate(gap.runs)), np.arange(gap.shown.shape[1])) for gap in gaps)


def test_the_way_that_is_always_right_is_believed():
    rng = np.random.default_rng(0)
    count, right = 60, NAMES.index("carried half")
    size = np.ones(len(NAMES))
    size[right] = 1e-3
    errors = rng.normal(size=(count, 1, 50)) * size[:, None]  # nothing is won by a mean of the others
    product = errors @ errors.transpose(0, 2, 1) / 50
    number = np.repeat([1.0, 3.0], count // 2)
    about = np.stack([np.ones(count), np.log(number), rng.normal(size=count)], 1)
    same = np.zeros((count, len(NAMES)))
    one = Draws(number, np.arange(count), np.ones(count), about, same, same, product)
    fitted = fit(one, USUAL)
    assert fitted.habits[:, 0].argmax() == right
    card = scored(one, fitted)
    assert list(card) == ["1", "3"]
    assert card["1"]["least_db"] > 3
    assert card["1"]["share_below_limit"] == 0
    assert one.better == pytest.approx(np.minimum(product[:, JUDGED, JUDGED], product[:, RIDGE, RIDGE]))


def test_the_kernel_that_is_right_is_believed_and_none_is_ruled_out(gaps):
    products = kernels(gaps, 3)
    assert products.shape[1:] == (USUAL.size + 1, USUAL.size + 1)
    taught = fit_usual(products)
    assert taught.shape == USUAL.shape
    assert taught.sum() == pytest.approx(1)
    assert (taught > 0.005).all()
    right = products.copy()
    right[:, 5], right[:, :, 5] = 0, 0
    assert fit_usual(right).argmax() == 5


def test_constants_that_cannot_be_are_refused():
    assert set(SHIPPED.written()) == {"HABITS", "SHARP", "STRAINED", "USUAL"}
    lost = spared_habits.HABITS.copy()
    lost[2, 1] = np.nan
    for wrong in (
        {"habits": lost}, {"habits": spared_habits.HABITS[:7]}, {"sharp": -0.1}, {"sharp": np.inf},
        {"strained": spared_habits.STRAINED + 0.5}, {"usual": 2 * USUAL}, {"usual": USUAL - 0.01},
    ):
        with pytest.raises(UsageError):
            replace(SHIPPED, **wrong)


def test_the_command_writes_constants_and_a_card(tmp_path, monkeypatch, capsys, gaps):
    from palimpsest_pipelines import spared_training

    made = {0: gaps[0], 1: gaps[-1]}
    monkeypatch.setattr(
        spared_training, "gaps_of", lambda number, *_: iter([replace(made[number], scene=number)])
    )
    assert main(["train", "spared", "--seed", "0", "--out", str(tmp_path), "--scenes-count", "1", "--json"]) == 0
    told, written = json.loads(capsys.readouterr().out), json.loads((tmp_path / "spared.json").read_text())
    Constants(*(np.array(written[name]) for name in ("HABITS", "SHARP", "STRAINED", "USUAL")))
    assert written["card"]["loss"] < written["card"]["loss_of_equal_shares"]
    assert told["kept_back"] == written["card"]["kept_back"]
    assert set(written["card"]["kept_back"]) == {"1", "2", "3", "5", "10", "20"}
    assert main(["train", "spared", "--out", str(tmp_path), "--scenes-count", "0"]) == 2
