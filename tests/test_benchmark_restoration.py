"""The restoration benchmark scores as its rivals' scorer does, and its rivals do what they should."""

import importlib.util

import numpy as np
import pytest
from shared_data import RIVALS, needs_shared

from palimpsest.cubes import BandTable, Cube
from palimpsest.errors import UsageError
from palimpsest.scenes import degrade, make_scene
from palimpsest_pipelines import benchmark_restoration as bench
from palimpsest_pipelines.restoration_rivals import interpolated, rivals_for


def result(scene, case, method, value):
    return bench.Result(scene, case, method, value, 0.0, 0.0, 0.0)


def case_of(truth, struck, damaged):
    cube = Cube(struck, BandTable(count=len(struck)))
    return bench.Case("s", "c", cube, truth, 4 * damaged.astype(np.uint8), ~damaged, 2.0)


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
    damaged_db, _, _ = bench.score(case_of(truth, restored, damaged), restored)
    assert damaged_db == pytest.approx(20.0)
    assert bench.by_reason(case_of(truth, restored, damaged), restored) == {"dead": pytest.approx(20.0)}


@needs_shared
@pytest.mark.parametrize("case", ["e", "f", "wide:swir2"])
def test_the_score_agrees_with_the_rivals_scorer(case):
    pytest.importorskip("skimage")
    spec = importlib.util.spec_from_file_location("degradations", RIVALS / "degradations.py")
    scorer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scorer)
    truth = make_scene(12, 14, seed=3).observed
    struck = degrade(truth, case)
    ours = bench.Case(
        "s", case, struck.cube, truth.data, struck.reasons, ~struck.damaged, struck.unit
    )
    guess = interpolated(struck.cube, ours.usable, "linear")
    x, z, d = (np.moveaxis(np.asarray(a), 0, 2) for a in (truth.data, guess, struck.damaged))
    theirs = scorer.metrics((x / struck.unit).astype(np.float32), (z / struck.unit).astype(np.float32), d)
    values = bench.score(ours, guess)
    for mine, name in zip(values, ("dmg_psnr", "mpsnr", "sam"), strict=True):
        assert mine == pytest.approx(theirs[name], abs=0.02)


@needs_shared
def test_rivals_of_the_folder_restore_every_kind_of_case():
    cube = make_scene(12, 12, seed=3, sensor="hymap").observed
    for case, name in (("f", "gp12"), ("made", "fa20+pchip")):
        struck = degrade(cube, "mixed" if case == "made" else case)
        usable = ~struck.damaged
        restored = rivals_for(RIVALS, case, struck.cube, usable, struck.unit)[name]()
        assert restored.shape == cube.data.shape
        there = bench.Case("s", case, struck.cube, cube.data, struck.reasons, usable, struck.unit)
        assert bench.score(there, restored)[0] > bench.score(there, np.asarray(struck.cube.data))[0] + 3


def test_a_folder_without_rivals_is_refused(tmp_path):
    cube = make_scene(3, 3).observed
    with pytest.raises(UsageError, match="no rivals there"):
        rivals_for(tmp_path, "f", cube, cube.usable(), 1.0)


def test_cases_are_those_that_the_bands_allow():
    full = make_scene(4, 4).observed
    assert "wide:swir2" in bench.case_names(full)
    near = bench.case_names(make_scene(4, 4, sensor="vnir").observed)
    assert "wide:swir2" not in near
    assert "wide:red_edge" in near
    blind = bench.case_names(Cube(full.data, BandTable(count=224)))
    assert blind == ("e", "f", "g", "wide:three_runs_of_15")


def test_only_whole_bands_serve_as_truth():
    made = make_scene(5, 5).observed
    whole = bench.whole_bands(made)
    assert whole.shape.bands == int(made.bands.good.sum())
    assert whole.usable().all()
    with pytest.raises(UsageError, match="too few whole bands"):
        bench.whole_bands(Cube(made.data[:4], made.bands.select(slice(0, 4))))


def test_the_summary_gives_margins_over_the_better_interpolation():
    results = [
        result("a", "f", "linear", 30.0), result("a", "f", "pchip", 32.0), result("a", "f", "palimpsest", 33.0),
        result("b", "g", "linear", 40.0), result("b", "g", "pchip", 39.0), result("b", "g", "palimpsest", 47.0),
    ]
    table = bench.summary(results)
    assert table["a f margin over linear and pchip"] == pytest.approx(1.0)
    assert table["b g margin over linear and pchip"] == pytest.approx(7.0)
    assert table["mean margin palimpsest (2 cases)"] == pytest.approx(4.0)
    assert table["least margin palimpsest"] == pytest.approx(1.0)


def test_no_scene_of_that_name_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no such scene or case"):
        bench.run(scenes=tmp_path, only=("nowhere",), note=print)
