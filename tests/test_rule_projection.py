"""Rules as array operations: violations, linear forms, exact projections that touch nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from palimpsest.errors import KnowledgeError
from palimpsest.knowledge.hard_rules.rule_forms import co_occurrence_violation, compile_rules, mixing_violation
from palimpsest.knowledge.hard_rules.rule_projection import project, project_fractions
from palimpsest.knowledge.releases.release import load
from palimpsest.knowledge.rules import KnowledgeBase, Material, Rule

CENTRE = np.concatenate([np.arange(400.0, 1000, 10), np.arange(985.0, 2490, 10)])  # two detectors that overlap
WIDTH = np.full(CENTRE.size, 12.0)
CONTINUUM = {"left_from_nm": 2100.0, "left_to_nm": 2130.0, "right_from_nm": 2270.0, "right_to_nm": 2300.0}


def base(*rules):
    plant = Material("m:plant", "plant", (), None)
    leaf = Material("m:leaf", "leaf", ("m:plant",), None)
    stone = Material("m:stone", "stone", (), None)
    return KnowledgeBase("0" * 64, "test", np.arange(350.0, 2501), (plant, leaf, stone), rules)


def rule(kind, scope=(), hard=True, **parameters):
    return Rule(f"r:{kind}", kind, parameters, scope, hard, 1.0, "a sentence", partners=("m:stone",))


def spectra(n=40, seed=1):
    rng = np.random.default_rng(seed)
    smooth = 0.3 + 0.1 * np.sin(CENTRE / 300 + rng.uniform(0, 6, (n, 1)))
    return smooth + rng.normal(0, 0.02, (n, CENTRE.size))


HARD = {
    "bounds": rule("bounds", low=0.25, high=0.38),
    "monotone": rule("monotone", from_nm=690, to_nm=760, direction=1.0),
    "band_order": rule("band_order", first_nm=860, second_nm=670, ratio=1.2),
    "feature_depth": rule("feature_depth", low=0.05, high=0.2, **CONTINUUM),
    "feature_presence": rule("feature_presence", low=0.1, **CONTINUUM),
    "smoothness": rule("smoothness", width_fwhm=1.0, from_nm=500, to_nm=700),
}


@pytest.mark.parametrize("kind", HARD)
def test_after_projection_the_rule_holds_and_spectra_that_obeyed_are_untouched(kind):
    compiled = compile_rules(base(HARD[kind]), CENTRE, WIDTH)
    given = spectra()
    one = compiled.rules[0]
    broken = one.violation(given[:, compiled.order]) > 1e-9
    assert broken.any()
    result = project(compiled, given, np.zeros(len(given), int))
    assert not result.broken
    assert (one.violation(result.spectra[:, compiled.order]) <= 1e-9).all()
    np.testing.assert_array_equal(result.spectra[~broken], given[~broken])
    changed = (result.spectra != given).any(axis=0)
    assert set(np.flatnonzero(changed)) <= set(compiled.order[one.bands]) | (
        set(range(CENTRE.size)) if kind == "smoothness" else set()
    )


@pytest.mark.parametrize("kind", HARD)
def test_changes_add_up_and_values_that_are_not_free_stay(kind):
    compiled = compile_rules(base(HARD[kind]), CENTRE, WIDTH)
    given = spectra(seed=2)
    free = np.random.default_rng(3).random(given.shape) < 0.5
    result = project(compiled, given, np.zeros(len(given), int), free)
    np.testing.assert_array_equal(result.spectra[~free], given[~free])
    np.testing.assert_allclose(given + sum(result.changes.values()), result.spectra, atol=1e-12)


@pytest.mark.parametrize("kind", ["bounds", "monotone", "band_order"])
def test_no_obedient_spectrum_is_nearer_than_the_projection(kind):
    compiled = compile_rules(base(HARD[kind]), CENTRE, WIDTH)
    given = spectra(seed=4)
    result = project(compiled, given, np.zeros(len(given), int)).spectra
    others = project(compiled, spectra(seed=5), np.zeros(len(given), int)).spectra
    bands = compiled.order[compiled.rules[0].bands]
    # The projection on a convex set: the step makes an obtuse angle with every way on into the set.
    angle = ((given - result)[:, bands] * (others - result)[:, bands]).sum(axis=1)
    assert (angle <= 1e-9).all()


def test_the_linear_form_says_the_same_as_the_violation():
    for kind in ("bounds", "band_order"):
        compiled = compile_rules(base(HARD[kind]), CENTRE, WIDTH)
        one = compiled.rules[0]
        ascending = spectra(seed=6)[:, compiled.order]
        np.testing.assert_allclose(
            np.maximum(ascending @ one.form.matrix.T - one.form.bound, 0).max(axis=1), one.violation(ascending)
        )
    rising = compile_rules(base(HARD["monotone"]), CENTRE, WIDTH).rules[0]
    steps = np.maximum(ascending @ rising.form.matrix.T - rising.form.bound, 0)
    turned = rising.violation(ascending)  # the whole way back may be longer than its longest step, never shorter
    assert (turned >= steps.max(axis=1) - 1e-12).all()
    assert (turned <= steps.sum(axis=1) + 1e-12).all()
    deep = compile_rules(base(rule("feature_depth", high=0.02, **CONTINUUM)), CENTRE, WIDTH)
    ascending = spectra(seed=7)[:, deep.order]
    np.testing.assert_array_equal(
        deep.rules[0].form.excess(ascending).max(axis=1) > 1e-12, deep.rules[0].violation(ascending) > 1e-12
    )


def test_a_rule_holds_for_its_materials_and_what_is_narrower_alone():
    compiled = compile_rules(base(replace(HARD["bounds"], scope=("m:plant",))), CENTRE, WIDTH)
    labels = np.array([0, 1, 2, 3])
    np.testing.assert_array_equal(compiled.rules[0].applies(labels), [False, True, True, False])
    given = spectra(4)
    result = project(compiled, given, labels).spectra
    np.testing.assert_array_equal(result[[0, 3]], given[[0, 3]])
    assert (result[[1, 2]] != given[[1, 2]]).any()


def test_fixed_values_that_break_a_rule_are_reported_and_left():
    compiled = compile_rules(base(HARD["bounds"]), CENTRE, WIDTH)
    given = np.full((2, CENTRE.size), 0.3)
    given[1, 7] = 0.9
    result = project(compiled, given, np.zeros(2, int), np.zeros(given.shape, bool))
    np.testing.assert_array_equal(result.spectra, given)
    np.testing.assert_array_equal(result.broken["r:bounds"], [False, True])


def test_missing_values_stay_missing_and_break_nothing():
    compiled = compile_rules(base(*HARD.values()), CENTRE, WIDTH)
    given = spectra(6, seed=8)
    given[2] = np.nan
    given[3, 30:60] = np.nan
    result = project(compiled, given, np.zeros(6, int))
    np.testing.assert_array_equal(np.isnan(result.spectra), np.isnan(given))


def test_the_hard_rules_of_the_release_hold_together():
    knowledge = load()
    compiled = compile_rules(knowledge, CENTRE, WIDTH)
    assert compiled.hard
    green = next(i for i, m in enumerate(knowledge.materials, 1) if m.extra.get("notation") == "vegetation_green")
    given = spectra(60, seed=9) * np.random.default_rng(9).uniform(-0.5, 5, (60, 1))
    labels = np.where(np.arange(60) % 2, green, 0)
    result = project(compiled, given, labels)
    assert not result.broken
    assert len(result.changes) >= 3
    for one in compiled.rules:
        assert np.isfinite(one.violation(result.spectra[:, compiled.order])).all()


def test_rules_that_the_bands_cannot_show_are_named():
    short = CENTRE[CENTRE < 1500]
    compiled = compile_rules(base(HARD["feature_depth"], HARD["bounds"]), short, np.full(short.size, 12.0))
    assert compiled.unseen == ("r:feature_depth",)
    assert len(compiled.rules) == 1


def test_an_unknown_kind_or_a_missing_number_is_refused_by_name():
    with pytest.raises(KnowledgeError, match="unknown kind"):
        compile_rules(base(rule("astrology")), CENTRE, WIDTH)
    with pytest.raises(KnowledgeError, match="without direction"):
        compile_rules(base(rule("monotone", from_nm=700, to_nm=740)), CENTRE, WIDTH)


def test_fractions_are_projected_onto_the_simplex():
    rng = np.random.default_rng(10)
    given = rng.normal(0.3, 0.5, (50, 4))
    result = project_fractions(given)
    mixing = rule("mixing", low=0.0, high=1.0)
    assert (mixing_violation(given, mixing) > 0).all()
    assert (mixing_violation(result, mixing) < 1e-9).all()
    np.testing.assert_allclose(project_fractions(result), result, atol=1e-12)
    other = rng.dirichlet(np.ones(4), 50)
    assert (((given - result) * (other - result)).sum(axis=1) <= 1e-9).all()


def test_neighbours_that_contradict_a_rule_are_counted():
    together = rule("co_occurrence", scope=("m:leaf",), hard=False, ratio=2.0)
    apart = np.zeros((30, 30), int)
    apart[:3, :3], apart[25:, 25:] = 2, 3
    side = np.zeros((30, 30), int)
    side[:3, :3], side[:3, 3:6] = 2, 3
    assert co_occurrence_violation(apart, base(), together) > 1
    assert co_occurrence_violation(side, base(), together) == 0
