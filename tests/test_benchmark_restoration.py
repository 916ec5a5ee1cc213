"""The restoration benchmark scores as its rivals' scorer does, and its rivals do what they should."""

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest
from shared_data import RIVALS, needs_shared

from palimpsest.cubes import BandTable, Cube, Reason
from palimpsest.errors import UsageError
from palimpsest.knowledge.releases.release import load
from palimpsest.restoration.restorer import restore
from palimpsest.scenes import KINDS, SENSORS, degrade, make_scene
from palimpsest_pipelines import benchmark_restoration as bench
from palimpsest_pipelines.restoration_benchmark import cases as restoration_cases
from palimpsest_pipelines.restoration_benchmark import pictures as restoration_pictures
from palimpsest_pipelines.restoration_benchmark.cases import (
    DRAWS,
    MEASURED,
    Case,
    case_names,
    cases_of,
    clean_case,
    measured_scenes,
    scene_cases,
    whole_bands,
)
from palimpsest_pipelines.restoration_benchmark.rivals import cached, interpolated, rivals_for
from palimpsest_pipelines.restoration_benchmark.scores import (
    NOISELESS,
    Result,
    by_reason,
    intervals,
    pooled,
    ranking,
    score,
    total,
)


def result(scene, case, method, value):
    return Result(scene, case, method, value, 0.0, 0.0, 0.0)


def case_of(truth, struck, damaged):
    cube = Cube(struck, BandTable(count=len(struck)))
    return Case("s", "c", cube, truth, 4 * damaged.astype(np.uint8), ~damaged, 2.0)


def test_interpolation_recovers_straight_spectra_and_holds_the_ends():
    truth = np.broadcast_to(np.arange(5.0)[:, None, None], (5, 2, 3)).astype(np.float32).copy()
    usable = np.ones(truth.shape, bool)
    usable[2] = False
    usable[3, 0, 1] = False
    usable[0, 1, 1] = False
    struck = np.where(usable, truth, 0).astype(np.float32)
    cube = Cube(struck, BandTable(count=5))
    for kind in ("linear", "pchip"):
        answer = interpolated(cube, usable, kind)
        np.testing.assert_allclose(answer[1:], truth[1:], atol=1e-5)
        assert answer[0, 1, 1] == pytest.approx(1.0)
        np.testing.assert_array_equal(answer[usable], struck[usable])


@needs_shared
@pytest.mark.parametrize("kind", ["linear", "pchip"])
def test_interpolation_agrees_with_the_rivals_own(kind):
    pytest.importorskip("skimage")
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("restorers", RIVALS / "restorers.py")
    rival = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rival)
    struck = degrade(make_scene(6, 5, seed=3, sensor="enmap").observed, "f")
    usable = ~struck.damaged
    y, mask = (np.moveaxis(np.asarray(a), 0, 2) for a in (struck.cube.data, usable))
    theirs = np.moveaxis(rival.interp_spec(y.astype(np.float32), mask, kind), 2, 0)
    np.testing.assert_allclose(interpolated(struck.cube, usable, kind), theirs, rtol=1e-4, atol=0.1)


def test_the_score_counts_damaged_voxels_alone():
    truth = np.full((3, 4, 4), 2.0)
    damaged = np.zeros(truth.shape, bool)
    damaged[1, 2, :] = True
    restored = truth + np.where(damaged, 0.2, 7.0)
    damaged_db, _, _ = score(case_of(truth, restored, damaged), restored)
    assert damaged_db == pytest.approx(20.0)
    assert by_reason(case_of(truth, restored, damaged), restored) == {"dead": pytest.approx(20.0)}


@needs_shared
@pytest.mark.parametrize("case", ["e", "f", "wide:swir2"])
def test_the_score_agrees_with_the_rivals_scorer(case):
    pytest.importorskip("skimage")
    spec = importlib.util.spec_from_file_location("degradations", RIVALS / "degradations.py")
    scorer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scorer)
    truth = make_scene(12, 14, seed=3).observed
    struck = degrade(truth, case)
    ours = Case(
        "s", case, struck.cube, truth.data, struck.reasons, ~struck.damaged, struck.unit
    )
    guess = interpolated(struck.cube, ours.usable, "linear")
    x, z, d = (np.moveaxis(np.asarray(a), 0, 2) for a in (truth.data, guess, struck.damaged))
    theirs = scorer.metrics((x / struck.unit).astype(np.float32), (z / struck.unit).astype(np.float32), d)
    values = score(ours, guess)
    for mine, name in zip(values, ("dmg_psnr", "mpsnr", "sam"), strict=True):
        assert mine == pytest.approx(theirs[name], abs=0.02)


@needs_shared
def test_rivals_of_the_folder_restore_every_kind_of_case():
    cube = make_scene(12, 12, seed=3, sensor="hymap").observed
    for case, name in (("f", "gp12"), ("made", "fa20+pchip"), ("e", "fa20")):
        struck = degrade(cube, "mixed" if case == "made" else case)
        there = Case("s", case, struck.cube, cube.data, struck.reasons, ~struck.damaged, struck.unit)
        restored = rivals_for(RIVALS, there)[name]()
        assert restored.shape == cube.data.shape
        assert score(there, restored)[0] > score(there, np.asarray(struck.cube.data))[0] + 3


def test_a_folder_without_rivals_is_refused(tmp_path):
    cube = make_scene(3, 3).observed
    there = Case("s", "f", cube, cube.data, np.zeros(cube.data.shape, np.uint8), cube.usable(), 1.0)
    with pytest.raises(UsageError, match="no rivals there"):
        rivals_for(tmp_path, there)


def test_a_rivals_figure_is_found_again_until_its_code_changes(tmp_path):
    case = next(scene_cases("s", whole_bands(make_scene(6, 6, seed=1).observed), ("g",)))
    code, cache = tmp_path / "restorers.py", tmp_path / "cache.jsonl"
    code.write_text("one = 1\n")
    key, figures = cached(cache, tmp_path, case, "fa30")
    assert figures is None
    cache.write_text(json.dumps({"key": key, "figures": {"dmg_psnr": 31.0}}) + "\n")
    assert cached(cache, tmp_path, case, "fa30")[1] == {"dmg_psnr": 31.0}
    assert cached(cache, tmp_path, case, "other")[1] is None
    code.write_text("one = 2\n")
    assert cached(cache, tmp_path, case, "fa30")[1] is None
    cache.write_text("nonsense\n")
    with pytest.raises(UsageError, match="not a cache"):
        cached(cache, tmp_path, case, "fa30")


def test_a_blind_case_tells_nothing_and_a_clean_pixel_is_spared():
    cube = whole_bands(make_scene(12, 12, seed=1).observed)
    cases = {case.name: case for case in scene_cases("s", cube, ("c", "b", "wide:red_edge"))}
    assert set(cases) == {"b", "c", "c:blind", "wide:red_edge"}
    assert cases["b"].damaged.all()
    assert cases["c:blind"].usable.all()
    assert cases["c:blind"].struck.usable().all()
    np.testing.assert_array_equal(cases["c"].struck.data, cases["c:blind"].struck.data)
    spared = clean_case("s", cube, "clean:3:red_edge")
    lost = spared.damaged.any(axis=0)
    assert (~lost).sum() == 3
    np.testing.assert_array_equal(spared.struck.data[:, ~lost], np.asarray(cube.data)[:, ~lost])
    np.testing.assert_array_equal(spared.gap, cases["wide:red_edge"].damaged.all(axis=(1, 2)))


def test_few_clean_pixels_are_measured_against_the_better_of_ridge_and_library():
    rows = [result("s", "clean:3:red_edge", method, value) for method, value in
            (("linear", 20.0), (bench.RIDGE, 28.0), (bench.LIBRARY_ONLY, 31.0), (bench.OURS, 30.5))]
    table = bench.summary(rows)
    assert table["s clean:3:red_edge margin over the better of ridge and library alone"] == pytest.approx(-0.5)
    assert table["s clean:3:red_edge margin over ridge on the clean pixels"] == pytest.approx(2.5)
    # Without wavelengths the rivals have no library.
    assert table["s clean:3:red_edge margin over the better of ridge and nnls_residual"] == pytest.approx(2.5)
    again = bench.summary([*rows, result("s", "clean:3:red_edge", "nnls_residual", 30.75)])
    assert again["s clean:3:red_edge margin over the better of ridge and nnls_residual"] == pytest.approx(-0.25)
    assert again["s clean:3:red_edge margin over the better of ridge and library alone"] == pytest.approx(-0.5)


def test_clean_pixels_are_drawn_several_times_and_a_cell_is_judged_by_its_means():
    cube = whole_bands(make_scene(12, 12, seed=1).observed)
    cases = list(scene_cases("s", cube, ("clean:3:red_edge",)))
    assert [case.name for case in cases] == ["clean:3:red_edge", *(f"clean:3:red_edge:{k}" for k in range(1, DRAWS))]
    assert [case.draw for case in cases] == list(range(DRAWS))
    assert len({case.damaged.any(axis=0).tobytes() for case in cases}) == DRAWS
    assert all((~case.damaged.any(axis=0)).sum() == 3 for case in cases)
    one = next(scene_cases("s", cube, ("clean:3:red_edge:2",)))
    assert np.array_equal(one.damaged, cases[2].damaged)
    rows = []
    for draw, figures in (("", (28.0, 31.0, 30.0)), (":1", (34.0, 31.0, 36.0))):
        methods = (bench.RIDGE, bench.LIBRARY_ONLY, bench.OURS)
        rows += [result("s", f"clean:3:red_edge{draw}", *pair) for pair in zip(methods, figures, strict=True)]
    table = bench.summary(rows)
    assert table["s clean:3:red_edge ours, mean of 2 draws"] == pytest.approx(33.0)
    assert table["s clean:3:red_edge ridge, mean of 2 draws"] == pytest.approx(31.0)
    assert table["s clean:3:red_edge margin over the better of ridge and library alone"] == pytest.approx(2.0)
    assert table["s clean:3:red_edge lowest margin of a draw"] == pytest.approx(-1.0)
    assert table["clean:3, 1 cells: at or above the better of ridge and library alone"] == 1
    assert table["clean:3, 1 cells: at or above the better of ridge and nnls_residual"] == 1
    assert table["clean:3, 1 cells: lowest cell against the better of ridge and nnls_residual"] == pytest.approx(2.0)
    assert table["clean:3, 1 cells: lowest draw"] == pytest.approx(-1.0)
    assert table["clean:3, 1 cells: share of draws below"] == pytest.approx(0.5)
    assert not any("clean:3:red_edge:1" in name for name in table)


@needs_shared
def test_what_hides_the_clean_pixels_is_restored_once_for_all_draws(tmp_path):
    cube = make_scene(12, 12, seed=1, sensor="enmap").observed
    plan, hidden, found = bench.Plan(scenes=(tmp_path,), rivals=RIVALS), {}, {}
    for case in scene_cases("s", whole_bands(cube), ("clean:1:three_runs_of_15",)):
        if case.draw > 1:
            continue
        for row in bench._results(case, plan, str, hidden):
            found[case.draw, row.method] = row
    first = {method for draw, method in found if draw == 0}
    assert {method for draw, method in found if draw == 1} == {bench.OURS, bench.LIBRARY_ONLY, bench.RIDGE}
    assert first > {bench.OURS, bench.LIBRARY_ONLY, bench.RIDGE, "linear", bench.NO_KNOWLEDGE}
    assert found[1, bench.LIBRARY_ONLY].seconds == 0
    assert abs(found[1, bench.LIBRARY_ONLY].figure - found[0, bench.LIBRARY_ONLY].figure) < 0.5


def test_a_shuffled_graph_keeps_its_form_and_loses_its_sense():
    knowledge = load(None)
    wrong = bench.shuffled(knowledge)
    assert [m.iri for m in wrong.materials] == [m.iri for m in knowledge.materials]
    kept = sum(a.spectrum is b.spectrum for a, b in zip(wrong.materials, knowledge.materials, strict=True))
    assert kept < 0.1 * len(knowledge.materials)
    assert 0 < len(bench.minerals(knowledge).materials) < len(knowledge.materials)


def test_intervals_are_counted_by_band_group_and_kind():
    case = next(scene_cases("s", whole_bands(make_scene(14, 14, seed=1).observed), ("wide:red_edge",)))
    done = restore(case.struck, knowledge=None, mask=case.usable)
    found = intervals(case, done)
    assert set(found) == {"visible, wide gap", "near infrared, wide gap"}
    assert sum(number for number, _, _ in found.values()) == int(case.damaged.sum())
    assert all(0 <= covered <= number and width > 0 for number, covered, width in found.values())


def test_single_voxels_are_held_against_what_was_measured_and_counted_once(monkeypatch):
    monkeypatch.setattr(restoration_cases, "MADE_SIDE", 20)
    monkeypatch.setattr(restoration_cases, "MADE_KINDS", ("mixed",))
    case = next(cases_of([], ("made",), ("made",)))
    shown = case.usable & case.struck.usable()
    assert np.array_equal(case.measured[shown], case.struck.data[shown])
    assert not np.array_equal(case.measured, case.truth)
    done = restore(case.struck, knowledge=None, mask=case.usable)
    found, clean = intervals(case, done), intervals(replace(case, measured=None), done)
    beside = {name: row for name, row in found.items() if name.endswith(NOISELESS)}
    assert beside
    for name, row in beside.items():
        kind = name.replace(NOISELESS, "single voxels")
        assert row == clean[kind]
        assert row[1] >= found[kind][1]  # a measurement is farther away
    assert sum(row[1] for row in beside.values()) > 1.02 * sum(
        found[name.replace(NOISELESS, "single voxels")][1] for name in beside
    )
    assert total(found)[0] == total(clean)[0] == sum(row[0] for row in clean.values())
    result = bench.Result("made-mixed", "made", bench.OURS, 0, 0, 0, 0, groups=found)
    assert pooled([result])["overall"] == total(found)


def test_a_map_of_confidence_is_asked_whether_it_ranks_the_errors():
    case = next(scene_cases("s", whole_bands(make_scene(14, 14, seed=1).observed), ("wide:red_edge",)))
    done = restore(case.struck, knowledge=None, mask=case.usable)
    truth = np.asarray(case.truth).reshape(-1)[done.changed].astype(float)
    missed = np.abs(np.asarray(done.restored.data).reshape(-1)[done.changed] - truth).astype(np.float32)
    assert ranking(case, replace(done, half_width=3 * missed**2)) == pytest.approx(1)
    assert ranking(case, replace(done, half_width=1 / (1 + missed))) == pytest.approx(-1, abs=1e-3)
    chance = np.random.default_rng(0).random(missed.size).astype(np.float32)
    assert abs(ranking(case, replace(done, half_width=chance))) < 0.1
    assert ranking(case, replace(done, half_width=np.ones_like(missed))) is None
    rows = [bench.Result("s", "f", bench.OURS, 0, 0, 0, 0, ranking=value) for value in (0.2, 0.6)]
    rows[1] = replace(rows[1], scene="t")
    told = bench.summary(rows)
    assert told[f"mean rank correlation of interval and error {bench.OURS} (2 cases)"] == pytest.approx(0.4)
    assert told[f"least rank correlation of interval and error {bench.OURS}"] == 0.2


def test_cases_are_those_that_the_bands_allow():
    full = make_scene(4, 4).observed
    assert "wide:swir2" in case_names(full)
    near = case_names(make_scene(4, 4, sensor="vnir").observed)
    assert "wide:swir2" not in near
    assert "wide:red_edge" in near
    blind = case_names(Cube(full.data, BandTable(count=224)))
    again = ("", *(f":{draw}" for draw in range(1, DRAWS)))
    clean = tuple(f"clean:{n}:three_runs_of_15{draw}" for n in (1, 3, 10) for draw in again)
    assert blind[-1 - len(clean) :] == ("wide:three_runs_of_15", *clean)


def test_mixed_defects_blind_tell_what_the_sensor_lost_and_nothing_of_stripes_and_impulses():
    told, blind = scene_cases("s", whole_bands(make_scene(14, 14, seed=1).observed), ("mixed",))
    assert (told.name, blind.name) == ("mixed", "mixed:blind")
    assert not told.usable[told.damaged].any()
    unflagged = np.isin(blind.reasons, [Reason.IMPULSE, Reason.STRIPE])
    assert unflagged.any()
    assert np.array_equal(blind.usable, ~(blind.damaged & ~unflagged))
    assert np.array_equal(told.reasons, blind.reasons)
    assert blind.is_blind
    assert not blind.is_noisy


def test_only_whole_bands_serve_as_truth():
    made = make_scene(5, 5).observed
    whole = whole_bands(made)
    assert whole.shape.bands == int(made.bands.good.sum())
    assert whole.usable().all()
    with pytest.raises(UsageError, match="too few whole bands"):
        whole_bands(Cube(made.data[:4], made.bands.select(slice(0, 4))))


def test_the_summary_gives_margins_over_the_better_interpolation():
    results = [
        result("a", "f", "linear", 30.0), result("a", "f", "pchip", 32.0), result("a", "f", "palimpsest", 33.0),
        result("b", "g", "linear", 40.0), result("b", "g", "pchip", 39.0), result("b", "g", "palimpsest", 47.0),
    ]
    table = bench.summary(results)
    assert table["a f margin over pchip"] == pytest.approx(1.0)
    assert table["b g margin over linear"] == pytest.approx(7.0)
    assert table["mean margin over interpolation palimpsest (2 cases)"] == pytest.approx(4.0)
    assert table["least margin over interpolation palimpsest"] == pytest.approx(1.0)


def test_no_scene_of_that_name_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no such scene or case"):
        bench.run(bench.Plan(scenes=(tmp_path,), only=("nowhere",)), print)


def test_a_single_made_scene_is_run_by_its_name():
    every = list(cases_of((), ("made",), ("wide:red_edge",)))
    for name, alike in (("made-snow-emit", False), ("made-urban-aviris", True)):
        (found,) = cases_of((), (name,), ("wide:red_edge",))
        assert found.scene == name
        assert any(np.array_equal(found.truth, one.truth) for one in every) == alike
    assert list(measured_scenes())[: len(MEASURED)] == [case.scene for case in every]
    assert len(measured_scenes()) == len(KINDS) * len(SENSORS)
    assert len({seed for *_, seed in measured_scenes().values()}) == len(measured_scenes())


def test_made_scenes_lose_bands_as_a_sensor_measured_them_and_are_judged_without_its_noise():
    found = list(cases_of((), ("made",), ("wide:red_edge",)))
    assert [case.scene for case in found] == [f"made-{kind}-{sensor}" for kind, sensor in MEASURED]
    for case in found:
        lost = case.gap
        assert 0 < lost.sum() < lost.size / 2
        noise = np.asarray(case.struck.data, np.float64)[~lost] - np.asarray(case.truth)[~lost]
        assert 0 < np.abs(noise).mean() < 0.05 * case.unit


def test_pictures_are_written_for_what_was_measured(tmp_path):
    found = [
        result("s", case, method, value)
        for case in ("wide:red_edge", "wide:swir2")
        for method, value in (("linear", 20.0), ("pchip", 21.0), (bench.OURS, 30.0), ("nnls_residual", 28.0),
                              (bench.NO_KNOWLEDGE, 22.0))
    ]
    written = restoration_pictures.draw(found, tmp_path)
    assert {path.name for path in written} == {"restoration_gain.png", "restoration_methods.png"}
    found[2].groups["visible, wide gap"] = (10, 9, 1.0)
    written = restoration_pictures.draw(found, tmp_path / "again")
    assert {path.name for path in written} >= {"restoration_coverage.png"}
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in written)
    assert restoration_pictures.draw([result("s", "c", "linear", 1.0)], tmp_path / "nothing") == []
