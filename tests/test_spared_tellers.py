"""Ways of telling a lost band from a few pixels: each is what it says it is, and the better ones are believed."""

import numpy as np
import pytest

from palimpsest.restoration.spared_habits import believed
from palimpsest.restoration.spared_tellers import NAMES, strain, tellers
from palimpsest_pipelines.restoration_rivals import ridge

BANDS, GAP, PIXELS = 40, 12, 300
CALM = (0.0, 0.0)


def scene(seed=0, factors=3):
    rng = np.random.default_rng(seed)
    spectra = rng.normal(size=(PIXELS, factors)) @ np.cumsum(rng.normal(size=(factors, BANDS + GAP)), 1) + 50
    observed, lost = spectra[:, :BANDS], spectra[:, BANDS:]
    mean = observed.mean(0)
    _, strength, directions = np.linalg.svd(observed - mean, full_matrices=False)
    places = (observed - mean) @ directions[:15].T * np.sqrt(PIXELS) / strength[0]
    return observed, lost, places


def told(pixels, lost, judged, said, places):
    apart = said - judged
    ways = tellers(
        lost[pixels], judged[pixels], apart[:, pixels], judged.mean(0), places[pixels], places.std(0)
    )
    answers = ways.constant[:, None] + np.einsum("pk,wkb->wpb", places, ways.slope)
    answers += ways.kept[:, None, None] * judged + np.einsum("ws,spb->wpb", ways.follows, apart)
    return ways, answers


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
    assert ways.follows[NAMES.index("restacked"), 1] > 0.6
    assert off(answers[NAMES.index("restacked")], lost) < 0.5 * off(answers[NAMES.index("carried")], lost)


def test_sources_are_never_followed_beyond_themselves():
    _, lost, places = scene(2)
    judged = np.zeros_like(lost)
    said = np.stack([0.3 * lost, -lost])
    ways, _ = told(np.array([1, 9, 100]), lost, judged, said, places)
    assert (ways.follows >= 0).all()
    assert (ways.follows.sum(1) <= 1 + 1e-9).all()


def test_what_is_missed_is_told_by_the_others_alone():
    _, lost, places = scene(3)
    rng = np.random.default_rng(4)
    judged, pixels = lost + rng.normal(size=lost.shape), np.array([2, 60, 110, 200])
    lying = lost.copy()
    lying[pixels[0]] += 20
    plain = told(pixels, lost, judged, judged[None], places)[0].missed
    moved = told(pixels, lying, judged, judged[None], places)[0].missed
    # What the others foretell of the first does not depend on what it shows.
    for name in ("regressed", "regressed evenly"):
        way = NAMES.index(name)
        assert np.allclose(moved[way, 0] - plain[way, 0], 20, atol=1e-3)
    assert np.allclose(plain[NAMES.index("judged")], lost[pixels] - judged[pixels])


def test_one_pixel_moves_a_good_judgement_little_and_takes_off_much_of_a_bad_level():
    _, lost, places = scene(5)
    rng = np.random.default_rng(6)
    good = lost + rng.normal(scale=0.3, size=lost.shape)
    bad = good + 30
    usual = np.argsort(np.square(places).sum(1))[PIXELS // 2 : PIXELS // 2 + 1]
    for judged, most in ((good, 1.25 * off(good, lost)), (bad, 0.6 * off(bad, lost))):
        ways, answers = told(usual, lost, judged, judged[None], places)
        share = believed(ways.missed, float(judged.var(0).mean()), CALM)
        assert share.sum() == pytest.approx(1)
        assert off(np.tensordot(share, answers, 1), lost) < most


def test_many_pixels_against_a_worthless_judgement_are_believed_alone():
    _, lost, places = scene(7)
    rng = np.random.default_rng(8)
    judged = np.broadcast_to(rng.normal(50, 20, size=lost.shape[1]), lost.shape) + rng.normal(size=lost.shape) * 20
    ways, answers = told(np.arange(0, PIXELS, 20), lost, judged, judged[None], places)
    share = believed(ways.missed, float(judged.var(0).mean()), CALM)
    assert share[[NAMES.index("regressed"), NAMES.index("regressed evenly")]].sum() > 0.9
    assert off(np.tensordot(share, answers, 1), lost) < 0.05 * off(judged, lost)


def test_pixels_that_stand_apart_strain_a_regression_less_than_they_say():
    observed, _, places = scene(9)
    far = np.argsort(np.square(places).sum(1))[-5:]
    near = np.argsort(np.square(places).sum(1))[:5]
    rest = places, observed
    spread = places.std(0)
    apart = strain((places[far], observed[far]), rest, spread)
    alike = strain((places[near], observed[near]), rest, spread)
    assert apart[1] < alike[1]
    assert strain((places[:1], observed[:1]), rest, spread) == (0.0, 0.0)


def test_a_flat_scene_and_no_source_are_no_trouble():
    flat = np.full((4, GAP), 7.0)
    ways = tellers(flat, flat, np.zeros((0, 4, GAP)), flat[0], np.zeros((4, 3)), np.zeros(3))
    share = believed(ways.missed, 0.0, strain((np.zeros((4, 3)), flat), (np.zeros((9, 3)), np.full((9, GAP), 7.0)),
                                              np.zeros(3)))
    assert np.isfinite(share).all()
    assert np.allclose(share @ ways.constant + (share @ ways.kept) * flat, 7.0)
