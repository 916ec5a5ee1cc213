"""Cubes restored together: better than alone where that is possible, recorded, made again, and never a trap."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from restoration_cubes import GRID, cube_of, error_db, knowledge, mixtures, with_dead_columns, with_gap

from palimpsest.commands import main
from palimpsest.errors import CubeRefused, EvidenceBroken, FormatError, UsageError
from palimpsest.formats import read, write
from palimpsest.provenance.explain import explain
from palimpsest.provenance.recompute import restore_again
from palimpsest.restoration import restore, restore_group
from palimpsest.restoration.companions.light import carried_gain
from palimpsest.restoration.group import content_sha256, restore_member
from palimpsest.restoration.view import Axis
from palimpsest.scenes import make_group
from palimpsest_pipelines.benchmark_groups import Plan, damaged_psnr, pile_mistakes, run

if TYPE_CHECKING:
    from palimpsest.cubes import Cube


def lit(truth: np.ndarray, level: float, tilt: float) -> np.ndarray:
    """Another date's light: a level, a slope along the spectrum, and a shade that grows across the scene."""
    along = np.linspace(-1, 1, len(truth))[:, None, None]
    across = np.linspace(0.9, 1.1, truth.shape[2])[None, None]
    return truth * level * (1 + tilt * along) * across


def test_two_made_cubes_with_different_defects_beat_each_alone_by_a_decibel():
    dates = make_group(2, 28, 28, sensor="hymap", seed=21, kind="vegetation")
    masks = [~made.damaged for made in dates]
    together = restore_group([made.observed for made in dates], knowledge=knowledge(), masks=masks)
    for made, mask, both in zip(dates, masks, together, strict=True):
        alone = restore(made.observed, knowledge=knowledge(), mask=mask)
        assert both.is_exact()
        assert damaged_psnr(made, both.restored.data) > damaged_psnr(made, alone.restored.data) + 1


def test_scattered_damage_is_better_repaired_together_too():
    truth = mixtures(24, 24)
    dates = [with_dead_columns(cube_of(lit(truth, *light), noise=60.0, seed=seed), seed)
             for seed, light in enumerate([(1.0, 0.0), (0.85, 0.05), (0.9, -0.05)])]
    together = restore_member(0, dates, knowledge=None)
    alone = restore(dates[0], knowledge=None)
    where, clean = dates[0].reasons > 0, lit(truth, 1.0, 0.0) * 10000
    assert error_db(together.restored.data, clean, where) > error_db(alone.restored.data, clean, where) + 0.5


def test_a_lost_run_comes_from_the_other_date_in_this_dates_light():
    truth = mixtures()
    mine, other = with_gap(cube_of(truth), 30, 45), cube_of(lit(truth, 0.8, 0.1), seed=7)
    done = restore_member(0, [mine, other], knowledge=knowledge())
    where = mine.reasons > 0
    assert error_db(done.restored.data, truth * 10000, where) > 45
    told = next(why for why in done.decisions if why.source == "correlation.group")
    assert content_sha256(other)[:16] in told.sentence
    assert done.report["companions"] == [other.name]


def test_another_sensor_over_the_same_place_speaks_where_it_has_bands():
    fine = np.arange(400.0, 1700.0, 15.0)
    truth, seen = mixtures(), mixtures(centre_nm=fine)
    mine, other = with_gap(cube_of(truth), 30, 40), cube_of(lit(seen, 0.9, 0.0), fine, seed=7)
    done = restore_member(0, [mine, other], knowledge=None)
    alone = restore(mine, knowledge=None)
    where = mine.reasons > 0
    assert error_db(done.restored.data, truth * 10000, where) > error_db(alone.restored.data, truth * 10000, where) + 3


def test_cubes_without_wavelengths_go_together_band_by_band():
    truth = mixtures()
    mine = with_gap(cube_of(truth, None), 30, 40)
    done = restore_member(0, [mine, cube_of(lit(truth, 0.8, 0.05), None, seed=7)], knowledge=None)
    assert error_db(done.restored.data, truth * 10000, mine.reasons > 0) > 40


def empty(cube: Cube) -> Cube:
    return replace(cube, data=np.full_like(cube.data, -9999), nodata=-9999)


@pytest.mark.parametrize(
    "other",
    [
        cube_of(mixtures(12, 12)), empty(cube_of(mixtures())), cube_of(mixtures(seed=5)[:2], GRID[:2]),
        cube_of(mixtures(1, 1)),
    ],
    ids=["another place", "nothing usable", "two bands", "one pixel"],
)
def test_a_companion_that_cannot_help_changes_nothing(other):
    mine = with_gap(cube_of(mixtures()), 30, 40)
    alone = restore(mine, knowledge=knowledge())
    done = restore_member(0, [mine, other], knowledge=knowledge())
    assert np.array_equal(done.restored.data, alone.restored.data)
    assert done.report["companions"] == []


def test_small_and_hopeless_piles_are_answered_or_refused():
    tiny = with_gap(cube_of(mixtures(1, 1)), 3, 5)
    done = restore_group([tiny, replace(tiny, name="again")], knowledge=None)
    assert [one.is_exact() for one in done] == [True, True]
    with pytest.raises(CubeRefused, match="no voxel is usable"):
        restore_group([cube_of(mixtures()), empty(cube_of(mixtures()))], knowledge=None)
    with pytest.raises(UsageError, match="one of each"):
        restore_group([tiny], knowledge=None, masks=[None, None])
    assert restore_group([], knowledge=None) == []


def test_carried_gains_are_not_led_by_a_badly_calibrated_edge():
    axis = Axis.of(cube_of(mixtures(2, 2)).bands)
    smooth = np.exp(0.1 + 0.05 * np.linspace(-1, 1, axis.count))
    learned = np.ones(axis.count, bool)
    learned[40:52] = False
    measured = smooth * np.exp(0.002 * np.random.default_rng(0).standard_normal(axis.count))
    measured[52] *= 1.2
    zeros = np.zeros(axis.count)
    gain, doubt = carried_gain(axis, measured, learned, zeros, zeros)
    assert np.abs(gain[40:52] / smooth[40:52] - 1).max() < 0.01
    assert np.array_equal(gain[learned], np.exp(np.log(measured[learned])))
    assert (doubt[learned] == 0).all()
    assert 0 < doubt[45] < 0.1


def test_a_group_is_recorded_in_one_file_and_made_again_bit_by_bit(tmp_path, capsys):
    truth = mixtures(14, 14)
    pair = {"a": with_gap(cube_of(truth), 30, 40), "b": cube_of(lit(truth, 0.9, 0.05), seed=4)}
    for name, cube in pair.items():
        write(replace(cube, name=name), tmp_path / f"{name}.hdr")
    mask = np.ones((len(GRID), 14, 14), np.uint8)
    mask[50:60] = 0
    np.save(tmp_path / "mask.npy", mask)
    inputs = [str(tmp_path / "a.hdr"), str(tmp_path / "b.hdr")]
    given = ["restore", *inputs, str(tmp_path / "out"), "--group", "--provenance", str(tmp_path / "p.db"), "--json"]
    assert main([*given, "--mask", str(tmp_path / "mask.npy")]) == 2
    assert main(["restore", *inputs, str(tmp_path), "--group"]) == 2
    capsys.readouterr()
    assert main([*given, "--mask", "none", "--mask", str(tmp_path / "mask.npy")]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["restorations"]) == 2
    assert answer["cubes"][0]["companions"] == ["b"]
    told = explain(tmp_path / "p.db", 3, 4, recompute=restore_again, which="a").to_dict()
    assert told["agreement"] == "recomputed, bit-identical"
    assert told["restored"] == read(tmp_path / "out" / "a.hdr").data[:, 3, 4].tolist()
    sentences = [one["sentence"] for one in told["contributions"] if one["source"] == "correlation.group"]
    assert content_sha256(pair["b"])[:16] in sentences[0]
    again = explain(tmp_path / "p.db", 3, 4, recompute=restore_again, which="b")
    assert again.agreement == "recomputed, bit-identical"
    write(replace(pair["b"], data=pair["b"].data + np.int16(1), name="b"), tmp_path / "b.hdr")
    with pytest.raises(EvidenceBroken, match="other values now"):
        explain(tmp_path / "p.db", 3, 4, recompute=restore_again, which="a")
    for path in tmp_path.glob("b.*"):
        path.unlink()
    with pytest.raises(FormatError, match="not there now"):
        explain(tmp_path / "p.db", 3, 4, recompute=restore_again, which="a")


def test_the_dates_of_a_place_are_made_by_the_verb(tmp_path, capsys):
    given = ["--rows", "6", "--cols", "6", "--sensor", "vnir", "--defects", "e", "--json"]
    assert main(["scene", str(tmp_path / "in"), "--dates", "2", "--truth", str(tmp_path / "true"), *given]) == 0
    assert len(json.loads(capsys.readouterr().out)["dates"]) == 2
    assert main(["scene", str(tmp_path / "one.hdr"), "--date", "1", *given]) == 0
    one, second = read(tmp_path / "one.hdr"), read(tmp_path / "in" / "date-1.hdr")
    assert np.array_equal(one.data, second.data)
    assert not np.array_equal(second.data, read(tmp_path / "in" / "date-0.hdr").data)
    assert (tmp_path / "true" / "date-1" / "mask.npy").exists()
    assert main(["scene", str(tmp_path / "in"), "--dates", "2", "--date", "1"]) == 2


def test_a_shuffled_pile_is_organised_without_a_mistake_and_the_benchmark_says_so():
    assert pile_mistakes(6, 3) == 0
    said = []
    plan = Plan(kinds=("vegetation",), sensors=("vnir",), side=16, defects="e", piles=0)
    table = run(plan, said.append)
    assert len(said) == 2
    assert table["least gain (2 cubes)"] == pytest.approx(
        min(table[f"vegetation 880001 vnir date {date} together"] - table[f"vegetation 880001 vnir date {date} alone"]
            for date in (0, 1)), abs=0.01)
    with pytest.raises(UsageError, match="nothing to measure"):
        run(Plan(kinds=()), said.append)
