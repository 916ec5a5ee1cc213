"""A few pixels that show a lost band tell the others how far the judgement is off."""

from dataclasses import replace

import numpy as np
import pytest

from palimpsest.knowledge.releases.release import load
from palimpsest.restoration.integrator.network import load as load_integrator
from palimpsest.restoration.judgement.spared import likeness_of, shut_in, spared_of
from palimpsest.restoration.judgement.verdict import judge
from palimpsest.restoration.restorer import damage_of, restore
from palimpsest.restoration.study.sources import runs_of
from palimpsest.restoration.study.study import study
from palimpsest.scenes import make_scene
from palimpsest_pipelines.restoration_benchmark.cases import clean_case, scene_cases, whole_bands
from palimpsest_pipelines.restoration_benchmark.scores import score


def scene():
    return whole_bands(make_scene(24, 24, seed=5, sensor="enmap", kind="vegetation").observed)


@pytest.fixture(scope="module")
def figures():
    cube, found = scene(), {}
    for number in (0, 1, 3, 10):
        name = "wide:three_runs_of_15" if number == 0 else f"clean:{number}:three_runs_of_15"
        case = next(scene_cases("s", cube, (name,)))
        done = restore(case.struck, knowledge=None, mask=case.usable)
        found[number] = done, score(case, done.restored.data)[0]
    return found


def test_more_clean_pixels_tell_more(figures):
    assert figures[10][1] > figures[0][1] + 3
    assert figures[3][1] > figures[0][1]
    # One pixel may be an odd one: a mean of three draws.
    several = [figures[1][1]]
    for draw in (1, 2):
        case = clean_case("s", scene(), f"clean:1:three_runs_of_15:{draw}")
        several.append(score(case, restore(case.struck, knowledge=None, mask=case.usable).restored.data)[0])
    assert np.mean(several) > figures[0][1]


def test_the_nearer_a_band_is_to_a_lost_run_the_more_it_counts_beside_it():
    case = clean_case("s", scene(), "clean:3:three_runs_of_15")
    seen = study(case.struck, damage_of(case.struck, case.usable), None)
    found = likeness_of(seen, judge(seen, load_integrator(None)).weights)
    runs, nm = runs_of(seen.sources.everywhere), seen.axis.along[found.told]
    assert found.turned.shape[0] == found.spread.shape[0] == 1 + len(runs)
    everywhere = np.sqrt(np.square(found.turned[0]).sum(1))
    for number, run in enumerate(runs):
        assert (found.run[run.first : run.last] == number).all()
        first, last = seen.axis.along[[run.first, run.last - 1]]
        away = np.maximum(np.maximum(first - nm, nm - last), 0)
        beside = np.sqrt(np.square(found.turned[1 + number]).sum(1)) / everywhere
        assert np.median(beside[away < 50]) > 3 * np.median(beside[away > 400])
    values = found.elsewhere
    assert np.allclose(found.places(values, 1).mean(0), (values.mean(0) - found.mean) @ found.turned[1])


def test_what_they_tell_is_a_contribution_of_its_own_and_the_sum_stays_exact(figures):
    done = figures[10][0]
    assert done.is_exact()
    assert "correlation.spared" in {decision.source for decision in done.decisions}
    assert "correlation.spared" not in {decision.source for decision in figures[0][0].decisions}


def test_intervals_narrow_by_what_the_clean_pixels_confirm(figures):
    assert np.median(figures[10][0].half_width) < 0.8 * np.median(figures[0][0].half_width)


def test_a_clean_pixel_that_lies_leaves_no_less_than_none_at_all(figures):
    case = clean_case("s", scene(), "clean:10:three_runs_of_15")
    data = np.array(case.struck.data)
    row, col = np.argwhere(~case.damaged.any(axis=0))[0]
    lost = case.damaged.any(axis=(1, 2))
    data[lost, row, col] = 0
    lying = replace(case, struck=replace(case.struck, data=data))
    restored = restore(lying.struck, knowledge=None, mask=case.usable).restored.data
    assert score(lying, restored)[0] > figures[0][1] - 1


def test_noise_where_the_air_is_shut_moves_no_open_band():
    case = clean_case("s", scene(), "clean:3:swir_1450_1800")
    reasons = damage_of(case.struck, case.usable)
    seen = study(case.struck, reasons, load(None))
    lost, shut = seen.sources.everywhere, shut_in(seen)
    assert (lost & shut).any()
    assert (lost & ~shut).any()
    data = np.array(case.struck.data)
    row, col = np.nonzero(~case.damaged.any(axis=0))
    noise = np.random.default_rng(1).integers(-3000, 3000, (int((lost & shut).sum()), row.size))
    data[np.flatnonzero(lost & shut)[:, None], row, col] += noise.astype(data.dtype)
    table = judge(seen, load_integrator(None)).weights
    quiet, noisy = (spared_of(cube, reasons, seen, table) for cube in (case.struck, replace(case.struck, data=data)))
    assert (quiet.constant[~shut] == noisy.constant[~shut]).all()
    assert (quiet.slope[:, ~shut] == noisy.slope[:, ~shut]).all()
    assert (quiet.constant[lost & shut] != noisy.constant[lost & shut]).all()


def test_where_the_judgement_is_far_off_the_pixels_alone_are_carried_on():
    seen = scene()
    case = clean_case("s", seen, "clean:3:three_runs_of_15")
    lost = case.damaged.any(axis=(1, 2))
    # What no source can foretell: three times as bright in the lost bands, and nowhere else.
    truth = np.where(lost[:, None, None], 3 * np.asarray(case.truth, np.int32), case.truth)
    data = np.where(case.damaged, case.struck.data, truth).astype(np.int16)
    odd = replace(case, struck=replace(case.struck, data=data), truth=truth)
    mean = truth.reshape(len(truth), -1)[:, ~case.damaged.any(axis=0).reshape(-1)].mean(1)
    level = np.where(case.damaged, mean[:, None, None], data)
    done = restore(odd.struck, knowledge=None, mask=case.usable)
    assert score(odd, done.restored.data)[0] > score(odd, level)[0]
    assert done.is_exact()
