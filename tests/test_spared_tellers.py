"""Ways of telling a lost band from a few pixels: each is what it says it is, and the better ones are believed."""

import json

import numpy as np
import pytest

from palimpsest.errors import ModelMissing
from palimpsest.restoration.judgement.spared_habits import Habits, believed, counted, load, products, stray
from palimpsest.restoration.judgement.spared_tellers import NAMES, REGRESSIONS, REGRESSIONS_BESIDE, strain, tellers
from palimpsest_pipelines.restoration_benchmark.rivals import ridge

BANDS, GAP, PIXELS = 40, 12, 300
CALM = np.zeros(REGRESSIONS)
HABITS = load()
HALF = 0.5  # of the squared error that all pixels share where bands show it


def scene(seed=0, factors=3):
    rng = np.random.default_rng(seed)
    spectra = rng.normal(size=(PIXELS, factors)) @ np.cumsum(rng.normal(size=(factors, BANDS + GAP)), 1) + 50
    observed, lost = spectra[:, :BANDS], spectra[:, BANDS:]
    mean = observed.mean(0)
    _, strength, directions = np.linalg.svd(observed - mean, full_matrices=False)
    places = (observed - mean) @ directions[:15].T * np.sqrt(PIXELS) / strength[0]
    return observed, lost, places


def dark_of(observed):
    """Where a spectrum of zeros stands, by the places of the scene's own pixels."""
    mean = observed.mean(0)
    _, strength, directions = np.linalg.svd(observed - mean, full_matrices=False)
    first = strength[0] / np.sqrt(PIXELS)
    dark = -mean @ directions[:15].T / first
    return np.append(dark, np.sqrt(max(np.square(mean).sum() / first**2 - np.square(dark).sum(), 0)))


DARK = np.append(np.zeros(15), 3.0)


def told(pixels, lost, judged, said, places, dark=DARK, beside=None, shared=HALF):
    apart, places = said - judged, np.hstack([places, places if beside is None else beside])
    ways = tellers(
        lost[pixels], judged[pixels], apart[:, pixels], judged.mean(0), places[pixels], places.std(0), dark,
        HABITS.kernels_at(shared),
    )
    return ways, ways.answers(places, judged, apart)


def off(answer, truth):
    return float(np.sqrt(np.square(answer - truth).mean()))


def test_one_way_is_the_ridge_that_the_benchmark_compares_with():
    observed, lost, places = scene()
    pixels = np.array([3, 40, 77, 150, 280])
    _, answers = told(pixels, lost, np.zeros_like(lost), np.zeros((1, *lost.shape)), places)
    values = np.concatenate([observed, lost], 1)[None]
    mask = np.ones(values.shape, bool)
    mask[:, :, BANDS:] = False
    mask[0, pixels] = True
    expected = ridge(values.astype(np.float32), mask)[0, :, BANDS:]
    assert np.abs(answers[NAMES.index("regressed")] - expected).max() < 1e-3


def test_a_source_that_is_right_where_pixels_show_it_is_followed_everywhere():
    _, lost, places = scene()
    rng = np.random.default_rng(1)
    judged = lost + 4 + rng.normal(size=lost.shape)
    said = np.stack([lost + rng.normal(scale=3, size=lost.shape), lost + rng.normal(scale=0.05, size=lost.shape)])
    ways, answers = told(np.array([5]), lost, judged, said, places)
    assert (ways.follows[NAMES.index("restacked"), 1] > 0.6).all()
    assert off(answers[NAMES.index("restacked")], lost) < 0.5 * off(answers[NAMES.index("carried")], lost)


def test_sources_are_never_followed_beyond_themselves():
    _, lost, places = scene(2)
    judged = np.zeros_like(lost)
    said = np.stack([0.3 * lost, -lost])
    ways, _ = told(np.array([1, 9, 100]), lost, judged, said, places)
    assert (ways.follows >= 0).all()
    unchanged = [way for way, name in enumerate(NAMES) if name != "gained restacked"]  # that one is multiplied as well
    assert (ways.follows[unchanged].sum(1) <= 1 + 1e-9).all()


def test_a_judgement_that_is_wrong_by_a_factor_in_each_band_is_mended_by_one_pixel():
    observed, _, places = scene(10)
    lost = 40 + 0.8 * observed[:, :GAP]
    judged = lost * np.linspace(0.5, 1.6, GAP)
    _, answers = told(np.array([12]), lost, judged, judged[None], places)
    assert off(answers[NAMES.index("gained")], lost) < 0.05 * off(judged, lost)
    assert off(answers[NAMES.index("gained")], lost) < 0.2 * off(answers[NAMES.index("carried")], lost)


def test_what_follows_the_light_is_told_in_proportion_by_one_pixel():
    rng = np.random.default_rng(11)
    brightness = rng.uniform(0.3, 1.5, size=(PIXELS, 1))
    spectra = brightness * rng.uniform(20, 60, size=BANDS + GAP) + rng.normal(scale=0.05, size=(PIXELS, BANDS + GAP))
    observed, lost = spectra[:, :BANDS], spectra[:, BANDS:]
    mean = observed.mean(0)
    _, strength, directions = np.linalg.svd(observed - mean, full_matrices=False)
    places = (observed - mean) @ directions[:15].T * np.sqrt(PIXELS) / strength[0]
    none = np.zeros_like(lost)
    _, answers = told(np.array([7]), lost, none, none[None], places, dark_of(observed))
    assert off(answers[NAMES.index("proportional")], lost) < 0.05 * off(answers[NAMES.index("regressed")], lost)


def test_what_goes_with_the_bands_beside_it_is_told_by_few_pixels():
    rng = np.random.default_rng(13)
    strong, weak = rng.normal(size=(PIXELS, 12)), rng.normal(size=(PIXELS, 1))
    lost = 20 + 3 * weak * np.linspace(0.5, 1, GAP)
    places, beside = np.hstack([strong, 0.5 * weak]), np.hstack([weak, 0.1 * strong])
    none = np.zeros_like(lost)
    _, answers = told(np.array([7, 60, 200]), lost, none, none[None], places, np.append(np.zeros(13), 3.0), beside)
    assert off(answers[NAMES.index("regressed beside")], lost) < 0.3 * off(answers[NAMES.index("regressed")], lost)


def test_what_is_missed_is_told_by_the_others_alone():
    _, lost, places = scene(3)
    rng = np.random.default_rng(4)
    judged, pixels = lost + rng.normal(size=lost.shape), np.array([2, 60, 110, 200])
    lying = lost.copy()
    lying[pixels[0]] += 20
    plain = told(pixels, lost, judged, judged[None], places)[0].missed
    moved = told(pixels, lying, judged, judged[None], places)[0].missed
    # What the others foretell of the first does not depend on what it shows.
    for name in ("regressed", "regressed evenly", "regressed beside"):
        way = NAMES.index(name)
        assert np.allclose(moved[way, 0] - plain[way, 0], 20, atol=1e-3)
    assert np.allclose(plain[NAMES.index("judged")], lost[pixels] - judged[pixels])


@pytest.mark.parametrize(("level", "shared", "most"), [(0, 0.05, 1.1), (0, 0.5, 1.25), (30, 0.95, 0.6)])
def test_one_pixel_moves_a_good_judgement_little_and_takes_off_much_of_a_bad_level(level, shared, most):
    _, lost, places = scene(5)
    rng = np.random.default_rng(6)
    good = lost + rng.normal(scale=0.3, size=lost.shape)
    usual = np.argsort(np.square(places).sum(1))[PIXELS // 2 : PIXELS // 2 + 1]
    judged = good + level
    ways, answers = told(usual, lost, judged, judged[None], places, shared=shared)
    share = believed(HABITS, ways.missed, float(judged.var(0).mean()), CALM, answers, shared)
    assert share.sum() == pytest.approx(1)
    assert off(np.tensordot(share, answers, 1), lost) < most * off(judged, lost)


def test_many_pixels_against_a_worthless_judgement_are_believed_alone():
    _, lost, places = scene(7)
    rng = np.random.default_rng(8)
    judged = np.broadcast_to(rng.normal(50, 20, size=lost.shape[1]), lost.shape) + rng.normal(size=lost.shape) * 20
    ways, answers = told(np.arange(0, PIXELS, 20), lost, judged, judged[None], places)
    share = believed(HABITS, ways.missed, float(judged.var(0).mean()), CALM, answers, HALF)
    assert share[-REGRESSIONS - REGRESSIONS_BESIDE :].sum() > 0.9
    assert off(np.tensordot(share, answers, 1), lost) < 0.05 * off(judged, lost)


def test_pixels_that_stand_apart_strain_a_regression_less_than_they_say():
    observed, _, places = scene(9)
    far = np.argsort(np.square(places).sum(1))[-5:]
    near = np.argsort(np.square(places).sum(1))[:5]
    rest = places, observed
    spread = places.std(0)
    apart = strain((places[far], observed[far]), rest, spread, DARK)
    alike = strain((places[near], observed[near]), rest, spread, DARK)
    assert apart[-1] < alike[-1]
    assert (strain((places[:1], observed[:1]), rest, spread, DARK) == 0).all()


def test_a_way_that_goes_far_from_the_rest_where_no_pixel_tests_it_strays():
    rng = np.random.default_rng(12)
    same = rng.normal(size=(1, 30, GAP)) + 0.01 * rng.normal(size=(len(NAMES), 30, GAP))
    missed = 0.01 * rng.normal(size=(len(NAMES), 5, GAP))
    far = NAMES.index("restacked")
    same[far, :6] += 2
    share = np.full(len(NAMES), 1 / len(NAMES))
    strays = stray(share, products(missed), products(same))
    assert strays.argmax() == far
    again = stray(share, products(missed), products(same - same[0] + rng.normal(size=same[0].shape)))
    assert np.allclose(strays, again, atol=1e-6)  # what they all have in common is no matter


def test_ten_pixels_count_for_more_than_three_and_one_for_nothing():
    assert counted(1, 4.0) == 0
    assert counted(3, 4.0) < counted(10, 4.0) < counted(1000, 4.0) < 4


def test_habits_are_those_that_the_command_wrote_and_no_others(tmp_path):
    assert load() is load()
    where = tmp_path / "spared.json"
    where.write_text(json.dumps(HABITS.to_dict()))
    assert load(where).digest == HABITS.digest
    moved = {**HABITS.to_dict(), "sharp": HABITS.sharp + 0.1}
    where.write_text(json.dumps(moved))
    assert load(where).digest != HABITS.digest
    for wrong in ("torn", "[]", "{}", json.dumps({**moved, "sharp": None}), json.dumps({**moved, "ways": ["one"]}),
                  json.dumps({**moved, "sharp": -1}), json.dumps({**moved, "usual": [[1, 2]]})):
        where.write_text(wrong)
        with pytest.raises(ModelMissing, match="habits"):
            load(where)
    with pytest.raises(ModelMissing, match="not installed"):
        load(tmp_path / "none.json")
    assert isinstance(HABITS, Habits)


def test_a_flat_scene_and_no_source_are_no_trouble():
    flat = np.full((4, GAP), 7.0)
    nowhere, dark = np.zeros((4, 6)), np.zeros(4)
    ways = tellers(flat, flat, np.zeros((0, 4, GAP)), flat[0], nowhere, np.zeros(6), dark, HABITS.kernels_at(HALF))
    strained = strain((nowhere[:, :3], flat), (np.zeros((9, 3)), np.full((9, GAP), 7.0)), np.zeros(3), dark)
    share = believed(HABITS, ways.missed, 0.0, strained, ways.answers(nowhere, flat, np.zeros((0, 4, GAP))), HALF)
    assert np.isfinite(share).all()
    assert np.allclose(share @ ways.constant + (share @ ways.kept) * flat, 7.0, atol=0.1)


@pytest.mark.parametrize("far", [1e6, 4e9, -1e12])
def test_a_pixel_beyond_all_measure_of_the_scene_is_no_trouble(far):
    places = np.zeros((10, 10))
    places[3] = far
    shown, dark = np.full((10, GAP), 0.9), np.append(np.zeros(5), 3.0)
    shown[0] = 0.7
    ways = tellers(
        shown, shown + 0.1, np.zeros((0, 10, GAP)), shown[0], places, np.zeros(10), dark, HABITS.kernels_at(HALF),
    )
    assert all(np.isfinite(part).all() for part in (ways.constant, ways.slope, ways.missed))
    pixels = places[:, :5], shown
    assert np.isfinite(strain(pixels, pixels, np.zeros(5), dark)).all()
